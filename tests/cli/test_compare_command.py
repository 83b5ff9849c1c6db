"""`bpsta compare` and `bpsta report RUN...`: any runs, without a params.yaml."""

import json
import shutil

import pandas as pd
import pytest

from bpsta_cli.cli.main import run
from bpsta_cli.reading import sha256
from bpsta_cli.reporting import any_runs
from bpsta_cli.reporting.any_runs import as_results, read_runs

TINY = ["--dataset", "digits", "--T", "2", "--network", "4C3-AP8-10Voting", "--epochs", "2", "--threads", "1"]
RUNS = {
    "low-0": ["--method", "bpsta"],
    "low-1": ["--method", "bpsta", "--seed", "1"],
    "alpha": ["--method", "bpsta", "--alpha", "0.5"],
    "base": ["--method", "stbp"],
    "fast": ["--method", "stbp", "--lr", "0.02"],
}


@pytest.fixture(scope="module")
def runs(data):
    folder = data / "runs"
    for name, options in RUNS.items():
        assert run(["train", *TINY, *options, "--data-dir", str(data), "--out", str(folder / name)]) == 0
    return folder


@pytest.fixture(scope="module")
def unfinished(runs, tmp_path_factory):
    """One of them as it is after its first epoch."""
    half = shutil.copytree(runs / "base", tmp_path_factory.mktemp("runs") / "half")
    for name in ("metrics.json", "model.safetensors"):
        (half / name).unlink()
    lines = (half / "history.csv").read_text().splitlines(keepends=True)
    (half / "history.csv").write_text("".join(lines[:2]))
    return half


def paths(folder, *names):
    return [str(folder / name) for name in names or RUNS]


def refused(capsys, arguments):
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err


def test_more_settings_than_runs_stand_in_rows_and_drawn_numbers_in_few_digits(runs, data, capsys):
    drawn = data / "drawn"
    options = ["--lr", "0.0070769071818131", "--T", "3", "--epochs", "1", "--out", str(drawn)]
    assert run(["train", *TINY, *options, "--data-dir", str(data)]) == 0
    capsys.readouterr()
    assert run(["compare", *paths(runs, "low-0"), str(drawn)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["setting", "low-0", "drawn"] in lines
    assert ["training.lr", "0.006", "0.00707691"] in lines


def test_only_settings_that_differ_are_named_with_each_runs_value(runs, capsys):
    capsys.readouterr()
    assert run(["compare", *paths(runs, "low-0", "low-1", "alpha"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["settings"] for each in found["runs"]] == [
        {"seed": 0, "rule.alpha": 0.2},
        {"seed": 1, "rule.alpha": 0.2},
        {"seed": 0, "rule.alpha": 0.5},
    ]
    metrics = json.loads((runs / "alpha" / "metrics.json").read_text())
    assert found["runs"][2]["metrics"]["accuracy"] == metrics["accuracy"]
    assert found["same"] > 40


def test_a_setting_that_a_run_does_not_have_is_a_dash(runs, capsys):
    assert run(["compare", *paths(runs, "low-0", "base")]) == 0
    printed = capsys.readouterr().out
    assert "rule.alpha" in printed
    assert "rectangular" in printed
    assert "other settings are the same" in printed


def test_where_more_settings_differ_than_runs_each_has_a_row_with_its_whole_name(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    for names, rows in ((("low-0", "base"), True), (("low-0", "low-1"), False)):
        assert run(["compare", *paths(runs, *names)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.split()[:1] == ["setting"] for line in lines) is rows
        assert any(line.split() == ["rule.surrogate_width", "-", "1.0"] for line in lines) is rows


def test_picture_and_table_are_written_by_their_ending_and_again_the_same(runs, tmp_path):
    files = [tmp_path / f"{stem}.{ending}" for ending in ("png", "svg", "csv", "md", "json") for stem in ("one", "two")]
    arguments = [part for file in files for part in ("--out", str(file))]
    assert run(["compare", *paths(runs), *arguments]) == 0
    for one, two in zip(files[::2], files[1::2], strict=True):
        assert one.read_bytes() == two.read_bytes()
    table = pd.read_csv(tmp_path / "one.csv").set_index("run")
    assert list(table.index) == list(RUNS)
    assert table.loc["fast", "training.lr"] == 0.02
    assert table.loc["fast", "epochs_done"] == 2
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn.startswith("<?xml")
    assert "| fast |" in (tmp_path / "one.md").read_text()


def test_a_run_that_is_not_finished_stands_with_its_epochs(runs, unfinished, capsys, tmp_path):
    arguments = ["compare", str(unfinished), str(runs / "base"), "--out", str(tmp_path / "curves.png")]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "1 of 2" in printed
    assert "Not finished: half." in printed
    (unfinished / "history.csv").rename(tmp_path / "history.csv")
    assert run(arguments) == 0
    assert "0 of 2" in capsys.readouterr().out
    (tmp_path / "history.csv").rename(unfinished / "history.csv")


def test_runs_of_one_name_are_told_apart_by_their_paths(runs, tmp_path, capsys):
    other = shutil.copytree(runs / "base", tmp_path / "base")
    assert run(["compare", str(runs / "base"), str(other), "--out", str(tmp_path / "table.csv")]) == 0
    assert list(pd.read_csv(tmp_path / "table.csv")["run"]) == [str(runs / "base"), str(other)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "low-0"], "two runs or more"),
        (["compare", "low-0", "low-0"], "two runs or more"),
        (["compare", "low-0", "none"], "not a run"),
        (["compare", "low-0", "base", "--out", "curves.pdf"], "a picture (.png, .svg) or a table (.csv, .md, .json)"),
        (["report", "none"], "not a run"),
        (["report", "low-0", "--params", "params.yaml"], "--params beside RUN"),
        (["report", "--out", "somewhere"], "--out without RUN"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, message, runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    before = sorted(runs.iterdir())
    assert message in refused(capsys, arguments)
    assert sorted(runs.iterdir()) == before


@pytest.mark.parametrize("name", ["settings.json", "metrics.json", "history.csv"])
def test_a_damaged_file_is_named_with_what_to_do_of_a_run(runs, tmp_path, capsys, name):
    broken = shutil.copytree(runs / "base", tmp_path / "broken")
    (broken / name).write_bytes((broken / name).read_bytes()[:-30])
    told = refused(capsys, ["compare", broken, runs / "low-0"])
    assert name in told
    assert "train the run anew" in told
    assert "dvc" not in told


def test_only_runs_that_differ_in_nothing_but_the_seed_are_averaged(runs):
    found = as_results(read_runs(runs / name for name in RUNS))
    named = {run.name: (run.recipe, run.train["method"]) for run in found}
    assert named == {
        "low-0": ("lr 0.006", "bpsta (alpha 0.2)"),
        "low-1": ("lr 0.006", "bpsta (alpha 0.2)"),
        "alpha": ("lr 0.006", "bpsta (alpha 0.5)"),
        "base": ("lr 0.006", "stbp"),
        "fast": ("lr 0.02", "stbp"),
    }


def test_methods_with_a_learning_rate_of_their_own_are_compared_with_each_other(runs):
    found = as_results(read_runs(runs / name for name in ("low-0", "low-1", "fast")))
    named = [(run.recipe, run.train["method"]) for run in found]
    assert named == [("digits", "bpsta"), ("digits", "bpsta"), ("digits", "stbp")]


def test_a_report_of_any_runs_is_tables_curves_and_a_page(runs, unfinished, data, tmp_path, capsys):
    measured = shutil.copytree(runs / "low-0", tmp_path / "low-0")
    for kind in ("energy", "latency"):
        more = ["--no-clock"] if kind == "latency" else []
        options = ["--samples", "20", "--data-dir", str(data), "--out", str(measured / f"{kind}.json"), *more]
        assert run([kind, str(measured), *options]) == 0
    capsys.readouterr()
    out = tmp_path / "out"
    arguments = [
        "report",
        str(measured),
        *paths(runs, "low-1", "base"),
        str(unfinished),
        "--out",
        str(tmp_path / "out"),
    ]
    assert run([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["missing"][:2] == ["half", "low-1 (energy)"]
    assert not [name for name in found["missing"] if name.startswith("low-0")]
    accuracy = pd.read_csv(out / "tables" / "accuracy.csv")
    assert list(zip(accuracy["method"], accuracy["seeds"], strict=True)) == [("bpsta", 2), ("stbp", 1)]
    page = (out / "report.html").read_text()
    for text in (
        "Test accuracy over epochs",
        "Energy against the ReLU twin",
        "Settings that differ",
        "not there: half",
    ):
        assert text in page
    assert "dvc repro" not in page
    assert "figures/curves.png" in (out / "README.md").read_text()
    again = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert run(arguments) == 0
    assert {file: file.read_bytes() for file in again} == again
    printed = capsys.readouterr().out
    assert "The methods side by side" in printed
    assert "Energy against the ReLU twin" not in printed
    assert f"all on one page: {out / 'report.html'}" in printed


def test_a_measurement_of_other_weights_is_left_out(runs, data, tmp_path, capsys):
    measured = shutil.copytree(runs / "low-0", tmp_path / "low-0")
    options = ["--samples", "20", "--data-dir", str(data), "--out", str(measured / "energy.json")]
    assert run(["energy", str(runs / "low-1"), *options]) == 0
    capsys.readouterr()
    assert run(["report", str(measured), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == ["low-0 (energy)", "low-0 (latency)"]


def test_weights_are_hashed_once_for_all_that_was_measured_of_them(runs, data, tmp_path, monkeypatch):
    measured = shutil.copytree(runs / "low-0", tmp_path / "low-0")
    for kind, more in (("energy", []), ("latency", ["--no-clock"])):
        options = ["--samples", "20", "--data-dir", str(data), "--out", str(measured / f"{kind}.json"), *more]
        assert run([kind, str(measured), *options]) == 0
    hashed = []
    monkeypatch.setattr(any_runs, "sha256", lambda file: hashed.append(file.name) or sha256(file))
    (found,) = as_results(read_runs([measured]))
    assert found.energy["samples"] == 20
    assert found.latency["accuracy_at"]
    assert hashed == ["model.safetensors"]


def test_a_report_of_nothing_says_how_runs_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "bpsta report RUN..." in refused(capsys, ["report"])
    assert not list(tmp_path.iterdir())


def test_a_report_of_runs_that_are_not_finished_is_refused(unfinished, tmp_path, capsys):
    told = refused(capsys, ["report", unfinished, "--out", tmp_path / "out"])
    assert "bpsta train --resume --out RUN" in told
    assert not (tmp_path / "out").exists()
