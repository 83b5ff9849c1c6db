"""A run that came from elsewhere: its rule file is run only at the user's word, and only unchanged."""

import hashlib
import json
import py_compile
import shutil
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from bpsta_cli import reading, rules
from bpsta_cli.cli.main import run
from bpsta_cli.errors import SettingsError
from bpsta_cli.files import write_checked_json
from bpsta_cli.reading import documents
from bpsta_cli.reporting.any_runs import as_results, read_runs
from bpsta_cli.rules import registry

EXAMPLE = (Path(__file__).parents[2] / "examples" / "leaky_gradient.py").read_text()
TRACE = "from pathlib import Path\nPath(__file__).with_name('was-run').touch()\n"
TINY = ["train", "--dataset", "digits", "--T", "1", "--network", "4C3-AP8-10Voting", "--epochs", "1", "--threads", "1"]
COMMANDS = {
    "eval": ["--samples", "4"],
    "energy": ["--samples", "4"],
    "latency": ["--samples", "4", "--no-clock"],
    "verify": [],
}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """What a test registers is forgotten after it."""
    for name in ("_rules", "_files", "_hashes"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))


def forget():
    """As a new process begins."""
    for name in registry._files.values():
        registry._rules.pop(name, None)
    registry._files.clear()
    registry._hashes.clear()


@pytest.fixture(scope="module")
def mailed(data, tmp_path_factory):
    """A run and its rule file, as a colleague would send them."""
    folder = tmp_path_factory.mktemp("mailed")
    file = folder / "leaky.py"
    file.write_text(EXAMPLE + TRACE)
    out = folder / "run"
    arguments = [*TINY, "--method", str(file), "--data-dir", str(data), "--out", str(out)]
    assert run(arguments) == 0
    forget()
    (folder / "was-run").unlink()
    return folder


@pytest.fixture
def foreign(mailed, tmp_path):
    """The same at another place, and its settings changed to name the file there."""
    shutil.copytree(mailed, tmp_path / "foreign")
    rename(tmp_path / "foreign" / "run", str(tmp_path / "foreign" / "leaky.py"))
    return tmp_path / "foreign"


def rename(path, method, **other):
    """Have the run name another rule file; whoever sends a run can make its checksums fit."""
    file = path / "settings.json"
    info = documents.json_object(file) | other
    info["settings"]["method"] = method
    write_checked_json(file, info)
    metrics = documents.json_object(path / "metrics.json")
    metrics["files"]["settings.json"] = reading.sha256(file)
    write_checked_json(path / "metrics.json", metrics)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_the_file_that_a_run_names_and_each_says_how_to(command, foreign, data, capsys):
    arguments = [command, str(foreign / "run"), *COMMANDS[command], "--data-dir", str(data)]
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert "expected --trust-rule FILE" in told
    digest = hashlib.sha256((foreign / "leaky.py").read_bytes()).hexdigest()
    assert digest in told
    assert not (foreign / "was-run").exists()
    assert run([*arguments, "--trust-rule", str(foreign / "leaky.py")]) == 0
    assert (foreign / "was-run").exists()


def test_beside_other_runs_its_rule_has_its_registered_name_and_no_path_of_it_is_shown(foreign, data, tmp_path, capsys):
    assert run(["share", str(foreign / "run")]) == 0
    assert "| learning rule | leaky-gradient" in (foreign / "run" / "README.md").read_text()
    other = tmp_path / "other"
    assert run([*TINY, "--data-dir", str(data), "--out", str(other)]) == 0
    capsys.readouterr()
    assert run(["compare", str(foreign / "run"), str(other), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["settings"]["method"] for each in found["runs"]] == ["leaky-gradient", "bpsta"]
    assert not (foreign / "was-run").exists()


def test_a_file_is_known_by_its_content_wherever_it_lies(mailed, foreign, data, capsys):
    rename(foreign / "run", "nowhere/that/is/there.py")
    named = ["--data-dir", str(data), "--trust-rule", str(mailed / "leaky.py")]
    assert run(["eval", str(foreign / "run"), *named]) == 0
    capsys.readouterr()
    assert run(["verify", str(foreign / "run"), *named]) == 0
    assert "run: the same bytes (weights, history.csv, metrics.json)" in capsys.readouterr().out
    (mailed / "was-run").unlink()


def test_a_changed_file_is_not_run_though_it_is_named(foreign, data, capsys):
    with (foreign / "leaky.py").open("a") as file:
        file.write("# another byte\n")
    arguments = ["eval", str(foreign / "run"), "--data-dir", str(data), "--trust-rule", str(foreign / "leaky.py")]
    assert run(arguments) == 2
    assert "another rule file than the run's: expected --trust-rule FILE" in capsys.readouterr().err
    assert not (foreign / "was-run").exists()


def test_a_run_without_a_recorded_hash_has_no_file_run_for_it(foreign, data, capsys):
    rename(foreign / "run", str(foreign / "leaky.py"), rule_sha256="")
    arguments = ["eval", str(foreign / "run"), "--data-dir", str(data), "--trust-rule", str(foreign / "leaky.py")]
    assert run(arguments) == 2
    assert "a run without the hash of its rule file" in capsys.readouterr().err
    assert not (foreign / "was-run").exists()


def test_a_trusted_file_that_is_not_there_is_told(foreign, data, capsys):
    arguments = ["eval", str(foreign / "run"), "--data-dir", str(data), "--trust-rule", str(foreign / "none.py")]
    assert run(arguments) == 2
    assert "missing rule file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--resume", "--out", "RUN"], ["--overwrite", "--out", "RUN"], ["--init-from", "RUN", "--out", "NEW"]]
)
def test_training_runs_no_file_that_another_run_names(options, foreign, data):
    places = {"RUN": str(foreign / "run"), "NEW": str(foreign / "new")}
    run([*TINY, *(places.get(word, word) for word in options), "--data-dir", str(data)])
    assert not (foreign / "was-run").exists()


def test_a_run_of_a_rule_file_is_resumed_by_its_own_settings_where_the_file_is_named(foreign, data, capsys):
    arguments = ["train", "--resume", "--out", str(foreign / "run"), "--data-dir", str(data)]
    assert run(arguments) == 2
    assert "a rule file that was not named" in capsys.readouterr().err
    assert not (foreign / "was-run").exists()
    assert run([*arguments, "--method", str(foreign / "leaky.py")]) == 0
    assert "nothing was trained" in capsys.readouterr().out


def test_a_run_of_a_changed_rule_file_is_not_resumed(foreign, data, capsys):
    (foreign / "run" / "metrics.json").unlink()
    with (foreign / "leaky.py").open("a") as file:
        file.write("# another byte\n")
    arguments = [*TINY, "--method", str(foreign / "leaky.py"), "--data-dir", str(data), "--out", str(foreign / "run")]
    assert run([*arguments, "--resume"]) == 2
    assert "with another version of the rule's file" in capsys.readouterr().err


def test_compiled_code_beside_a_file_is_not_run_in_its_place(tmp_path):
    """Python's own loader would take it, unchecked, for the file whose hash was checked."""
    file, evil = tmp_path / "leaky.py", tmp_path / "evil.py"
    file.write_text(EXAMPLE)
    evil.write_text(EXAMPLE + TRACE)
    cached = Path(py_compile.compile(str(evil), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH))
    cached.rename(cached.with_name(cached.name.replace("evil", "leaky")))
    assert "was-run" in str(SourceFileLoader("leaky", str(file)).get_code("leaky").co_consts)  # the trap is set
    assert rules.find(str(file)).name == "leaky-gradient"
    assert not (tmp_path / "was-run").exists()


def test_a_hash_is_held_before_the_file_is_run(tmp_path):
    (tmp_path / "leaky.py").write_text(EXAMPLE + TRACE)
    with pytest.raises(SettingsError, match=f"another rule file: expected the one with SHA-256 {'0' * 64}"):
        rules.find(str(tmp_path / "leaky.py"), sha256="0" * 64)
    assert not (tmp_path / "was-run").exists()


def test_a_report_calls_a_rule_as_its_training_did_and_does_not_run_its_file(foreign):
    (found,) = as_results(read_runs([foreign / "run"]))
    assert found.train["method"] == "leaky-gradient"
    assert not (foreign / "was-run").exists()
