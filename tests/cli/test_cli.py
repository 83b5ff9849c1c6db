"""The command line as a user meets it: what it prints, what it leaves behind, how it refuses."""

import dataclasses
import gzip
import json
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from bpsta_cli import checksums, files, reading
from bpsta_cli.cli.main import run
from bpsta_cli.data import catalogue
from bpsta_cli.data.presets import preset

TINY = ["--dataset", "digits", "--T", "2", "--network", "4C3-AP8-10Voting", "--epochs", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def trained(data):
    out = data / "runs" / "tiny"
    assert run(["train", *TINY, "--data-dir", str(data), "--out", str(out)]) == 0
    return out


def json_of(capsys, arguments):
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys, arguments, lines=2):
    """The error of a command that must refuse: exit code 2, nothing on standard output, no traceback."""
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: ")
    assert "Traceback" not in printed.err
    assert len(printed.err.strip().splitlines()) <= lines
    return printed.err


def test_help_of_every_command_loads_no_torch():
    script = (
        "import sys; from bpsta_cli.cli.main import run\n"
        "for command in ('', 'prepare', 'train', 'eval', 'energy', 'latency', 'compare', 'report', 'share', 'rules'):\n"
        "    assert run([*command.split(), '--help']) == 0\n"
        "heavy = {'torch', 'tonic', 'dvc', 'pandas', 'matplotlib', 'sklearn', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_without_a_command_the_help_is_shown_and_no_error_without_words(capsys):
    assert run([]) == 2
    printed = capsys.readouterr()
    assert "Usage: bpsta" in printed.out
    assert printed.err == ""


def test_every_option_is_explained_with_its_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for command in ("prepare", "train", "eval", "energy", "latency", "compare", "report", "share", "rules"):
        assert run([command, "--help"]) == 0
        text = capsys.readouterr().out
        options = re.findall(r"^│ (?:\*  )?(?:-\S, )?(--\S+).*", text, flags=re.MULTILINE)
        assert options
        for line in re.findall(r"^│ +--\S+.*$", text, flags=re.MULTILINE):
            assert re.search(r"[a-z]{3,}.*[a-z]{3,}", line.split("  ", 3)[-1]), line


def test_the_keys_of_train_are_the_promised_ones(capsys, data, tmp_path):
    found = json_of(capsys, ["train", *TINY, "--data-dir", str(data), "--out", str(tmp_path / "run")])
    assert {"run", "dataset", "method", "T", "seed", "accuracy", "epochs", "selection"} <= set(found)
    assert (found["dataset"], found["method"], found["T"], found["epochs"]) == ("digits", "bpsta", 2, 2)
    assert 0 <= found["accuracy"] <= 1
    written = {file.name for file in Path(found["run"]).iterdir()}
    results = {"model.safetensors", "settings.json", "metrics.json", "history.csv"}
    assert written == results | {"timings.json", "provenance.json"}


def test_augmentation_is_an_option_and_kept_with_the_settings(capsys, data, tmp_path):
    arguments = ["train", *TINY, "--data-dir", str(data), "--out", str(tmp_path / "run"), "--augmentation"]
    assert "'none' or 'standard'" in refusal(capsys, [*arguments, "flip"])
    assert run([*arguments, "standard"]) == 0
    kept = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert kept["settings"]["data"]["augmentation"] == "standard"


def test_the_recipe_of_a_data_set_names_its_augmentation(monkeypatch):
    row = catalogue.get("digits")
    recipe = dataclasses.replace(row.recipe, augmentation="standard")
    monkeypatch.setattr(catalogue, "get", lambda _name: dataclasses.replace(row, recipe=recipe))
    assert preset("digits").augmentation == "standard"


def test_the_keys_of_eval_energy_and_latency_are_the_promised_ones(capsys, data, trained):
    common = [str(trained), "--data-dir", str(data), "--samples", "40"]
    found = json_of(capsys, ["eval", *common])
    assert {"accuracy", "loss", "samples", "firing_rate", "firing_rates", "confusion"} <= set(found)
    assert found["samples"] == 40 == sum(map(sum, found["confusion"]))
    energy = json_of(capsys, ["energy", *common])
    assert {"ratio", "e_ann_pj", "e_snn_pj"} <= set(energy["paper"])
    assert {"macs", "acs"} <= set(energy["counted"])
    assert [layer["layer"] for layer in energy["layers"]] == ["conv1", "linear1"]
    latency = json_of(capsys, ["latency", *common])
    assert latency["accuracy_at"].keys() == {"1", "2"}
    assert latency["accuracy_at"]["2"] == found["accuracy"] == energy["accuracy"]


def test_eval_says_which_convolutions_skipped_zeros_where_that_was_asked_for(capsys, data, trained):
    common = ["eval", str(trained), "--data-dir", str(data), "--samples", "40"]
    plain, sparse = json_of(capsys, common), json_of(capsys, [*common, "--convolution", "sparse"])
    assert (sparse.pop("convolution"), sparse.pop("sparse_shares")) == ("sparse", {"conv1": 0})
    assert sparse == plain  # conv1 sees an image, and no spikes
    assert run([*common, "--convolution", "sparse"]) == 0
    assert "sparse convolutions: conv1 0 %" in capsys.readouterr().out
    for command in ("eval", "latency"):
        assert "one of auto, dense, sparse" in refusal(capsys, [command, trained, "--convolution", "loose"])


def test_several_runs_come_as_a_list(capsys, data, trained):
    found = json_of(capsys, ["eval", str(trained), str(trained), "--data-dir", str(data), "--samples", "9"])
    assert [row["samples"] for row in found["runs"]] == [9, 9]


def test_an_unprepared_data_set_is_prepared_first(tmp_path):
    arguments = ["train", *TINY[:6], "--epochs", "1", "--data-dir", str(tmp_path), "--out", str(tmp_path / "run")]
    assert run(arguments) == 0
    assert (tmp_path / "prepared" / "digits").is_dir()


def test_without_out_a_second_run_gets_a_directory_of_its_own(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run(["train", *TINY[:6], "--epochs", "1", "--data-dir", str(data)]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["digits-bpsta-T2-s0", "digits-bpsta-T2-s0-2"]


def test_params_yaml_gives_the_settings_and_options_override_it(capsys, data, tmp_path):
    params = Path(__file__).parents[2] / "params.yaml"
    places = ["--params", str(params), "--data-dir", str(data), "--out", str(tmp_path / "run")]
    found = json_of(capsys, ["train", *TINY, "--warmup-epochs", "0", "--alpha", "0.3", *places])
    settings = json.loads((Path(found["run"]) / "settings.json").read_text())["settings"]
    assert settings["rule"]["alpha"] == 0.3
    assert settings["data"]["network"] == TINY[5]
    assert settings["training"]["weight_decay"] == 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "--dataset NAME"),
        (["train", "--dataset", "digit"], "Did you mean digits?"),
        (["train", "--dataset", "digits", "--method", "bptt"], "expected one of"),
        (["train", "--dataset", "digits", "--method", "nowhere.py"], "nowhere.py"),
        (["train", "--dataset", "digits", "--T", "0"], "greater than or equal to 1, got 0"),
        (["train", "--dataset", "digits", "--T", "many"], "valid integer"),
        (["train", "--dataset", "digits", "--network", "16X3-10Voting"], "'16X3' (token 1, character 1)"),
        (["train", "--dataset", "digits", "--network", "16C3-MP9-10Voting"], "'MP9' (token 2, character 6)"),
        (["train", "--dataset", "digits", "--lr", "0"], "greater than 0"),
        (["train", "--dataset", "digits", "--epochs", "0"], "greater than or equal to 1"),
        (["train", "--dataset", "digits", "--epochs", "3", "--warmup-epochs", "3"], "must be less than epochs"),
        (["train", "--dataset", "digits", "--norm", "layer"], "'folded', 'tdbn', 'per-step' or 'none'"),
        (["train", "--dataset", "digits", "--device", "tpu9"], "unusable device"),
        (["train", "--dataset", "digits", "--threads", "0"], "--threads of at least 1"),
        (["train", "--dataset", "digits", "--resume"], "--out RUN beside --resume"),
        (["train", "--dataset", "digits", "--init-from", "nowhere"], "not a run"),
        (["train", "--dataset", "digits", "--params", "nowhere.yaml"], "no such settings file"),
        (["train", "--dataset", "digits", "--alhpa", "1"], "--alhpa"),
        (["prepare", "--dataset", "digits", "--T", "0"], "greater than or equal to 1, got 0"),
        (["prepare"], "--dataset NAME, or --list"),
        (["prepare", "digits"], "Write bpsta prepare --dataset digits."),
        (["prepare", "--list", "digit"], "Did you mean digits?"),
        (["prepare", "--dataset", "mnist", "--source", "nowhere"], "nowhere"),
        (["eval"], "RUN"),
        (["eval", "nowhere"], "not a run"),
        (["energy", "."], "not a run"),
        (["latency", "nowhere", "--samples", "0"], "--samples of at least 1"),
        (["report", "--params", "nowhere.yaml"], "no such settings file"),
        (["report"], "Write bpsta report RUN..."),
        (["tune"], "expected --dataset NAME, or --run NAME of --params, got none of them"),
        (["fly"], "fly"),
        (["trian"], "Did you mean 'train'?\n"),
    ],
)
def test_a_mistake_is_explained_in_two_lines_and_leaves_nothing_behind(
    arguments, message, capsys, tmp_path, monkeypatch, data
):
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "train":
        arguments = [*arguments, "--data-dir", str(data)]
    assert message in refusal(capsys, arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_key_of_params_yaml_is_named_with_the_likely_one(capsys, data, tmp_path):
    text = (Path(__file__).parents[2] / "params.yaml").read_text()
    params = tmp_path / "params.yaml"
    params.write_text(text.replace("weight_decay:", "weigth_decay:"))
    arguments = ["train", "--dataset", "digits", "--params", params, "--data-dir", data]
    error = refusal(capsys, arguments, lines=3)  # it lists the keys
    assert "training.weigth_decay" in error
    assert "Did you mean weight_decay?" in error


def test_a_truncated_idx_file_is_named_with_its_sizes_and_leaves_no_store(capsys, tmp_path):
    for part, count in (("train", 3), ("t10k", 2)):
        images = struct.pack(">IIII", 0x803, count, 28, 28) + bytes(count * 28 * 28)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(images[: -10 if part == "t10k" else None])
        labels = struct.pack(">II", 0x801, count) + bytes(count)
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    out = tmp_path / "data"
    error = refusal(capsys, ["prepare", "--dataset", "mnist", "--source", tmp_path, "--data-dir", out])
    assert "t10k-images-idx3-ubyte" in error
    assert "1,584" in error or "1584" in error or "1,568" in error
    assert not list(out.glob("prepared/mnist/[!.]*"))


@pytest.mark.parametrize("damage", ["truncated", "text", "missing"])
def test_a_checkpoint_that_is_none_is_refused_by_every_command(damage, capsys, data, trained, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in trained.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = broken / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-40] if damage == "truncated" else b"hello")
    for command in ("eval", "energy", "latency"):
        assert "model.safetensors" in refusal(capsys, [command, broken, "--data-dir", data])


def test_other_data_than_the_run_was_trained_on_are_refused(capsys, data, trained, tmp_path):
    for file in trained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    info, _ = checksums.parse((tmp_path / "settings.json").read_bytes())
    files.write_checked_json(tmp_path / "settings.json", {**info, "data_hash": "0" * 64})
    metrics, _ = checksums.parse((tmp_path / "metrics.json").read_bytes())
    metrics["files"]["settings.json"] = reading.sha256(tmp_path / "settings.json")
    files.write_checked_json(tmp_path / "metrics.json", metrics)
    assert "content hash 000000000000" in refusal(capsys, ["eval", tmp_path, "--data-dir", data])


def test_debug_shows_the_traceback(tmp_path):
    command = [sys.executable, "-m", "bpsta_cli", "eval", str(tmp_path), "--debug"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "not a run" in done.stderr


def test_a_taken_directory_is_refused_and_overwrite_replaces_it(capsys, data, trained):
    again = ["train", *TINY, "--data-dir", str(data), "--out", str(trained)]
    for resume in ([], ["--resume"]):
        assert run([*again, *resume]) == 0
        assert "nothing was trained" in capsys.readouterr().out
        assert "setting of seed" in refusal(capsys, [*again, *resume, "--seed", "1"])
    assert run([*again, "--overwrite"]) == 0
    assert "epoch   2/2" in capsys.readouterr().out


def test_a_run_without_checksums_is_measured_with_a_note_and_a_damaged_one_is_refused(capsys, data, trained, tmp_path):
    old = shutil.copytree(trained, tmp_path / "old")
    for name in ("settings.json", "metrics.json"):
        values, _ = checksums.parse((old / name).read_bytes())
        files.write_json(old / name, {key: each for key, each in values.items() if key != "files"})
    assert run(["eval", str(old), "--data-dir", str(data), "--samples", "9"]) == 0
    assert "model.safetensors cannot be checked" in " ".join(capsys.readouterr().err.split())
    weights = bytearray((trained / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    damaged = shutil.copytree(trained, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(weights)
    for command in ("eval", "energy", "latency"):
        assert "another checksum than was recorded" in refusal(capsys, [command, damaged, "--data-dir", data])


def test_a_measurement_is_written_with_its_checksum(data, trained, tmp_path):
    out = tmp_path / "eval.json"
    assert run(["eval", str(trained), "--data-dir", str(data), "--samples", "9", "--out", str(out)]) == 0
    assert checksums.parse(out.read_bytes())[1]


def test_an_interrupted_training_says_how_to_go_on_and_goes_on(capsys, data, tmp_path, monkeypatch):
    from bpsta_cli.training import loop

    arguments = ["train", *TINY, "--data-dir", str(data), "--out", str(tmp_path / "run")]
    measure, calls = loop._evaluate, []

    def interrupted(*values):
        calls.append(values)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*values)

    monkeypatch.setattr(loop, "_evaluate", interrupted)
    capsys.readouterr()
    assert run(arguments) == 130
    assert "the same command again goes on" in capsys.readouterr().err
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert run([*arguments, "--resume"]) == 0
    assert "epoch   1/2" not in capsys.readouterr().out


def test_a_file_in_the_place_of_the_run_directory_is_refused_and_kept(capsys, data, tmp_path):
    (tmp_path / "notes").write_text("mine")
    arguments = ["train", *TINY, "--data-dir", data, "--out", tmp_path / "notes"]
    assert "a directory" in refusal(capsys, arguments)
    assert (tmp_path / "notes").read_text() == "mine"


def test_the_twin_has_no_latency_and_no_firing_rate(capsys, data, tmp_path):
    twin = tmp_path / "twin"
    assert run(["train", *TINY, "--method", "ann", "--data-dir", str(data), "--out", str(twin)]) == 0
    assert "ReLU twin" in refusal(capsys, ["latency", twin, "--data-dir", data])
    assert json_of(capsys, ["energy", str(twin), "--data-dir", str(data)])["paper"]["ratio"] is None
    assert json_of(capsys, ["eval", str(twin), "--data-dir", str(data)])["firing_rate"] is None


def test_the_catalogue_lists_what_is_prepared(capsys, data):
    found = json_of(capsys, ["prepare", "--list", "--data-dir", str(data)])
    prepared = {row["name"]: row["prepared"] for row in found["datasets"]}
    assert prepared["digits"]
    assert not prepared["mnist"]


def test_the_list_breaks_no_name_in_80_columns_and_tells_all_of_a_data_set_by_its_name(capsys, data, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["prepare", "--list", "--data-dir", str(data)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split()[0] for line in lines[4 : 4 + len(catalogue.names())]]
    assert rows == list(catalogue.names())
    assert max(map(len, lines[1:])) <= 80
    assert run(["prepare", "--list", "dvs-gesture", "--data-dir", str(data)]) == 0
    told = capsys.readouterr().out
    for text in ("licence: CC BY 4.0", "split: official: subjects 1-23", "doi:10.1109/CVPR.2017.781"):
        assert text in told
    assert run(["prepare", "--list", "--dataset", "dvs-gesture", "--data-dir", str(data)]) == 0
    assert capsys.readouterr().out == told


def test_with_json_an_error_is_one_object_on_standard_output_and_nothing_on_the_other(capsys, data):
    assert run(["eval", "nowhere", "--json"]) == 2
    printed = capsys.readouterr()
    error = json.loads(printed.out)["error"]
    assert printed.err == ""
    assert (error["kind"], error["problem"], error["details"]) == ("RunError", "not a run", None)
    assert error["message"].endswith(error["todo"])
    assert run(["eval", "--json", "--no-such-option"]) == 2
    printed = capsys.readouterr()
    assert "--no-such-option" in json.loads(printed.out)["error"]["message"]
    assert printed.err == ""


def test_with_json_a_training_says_nothing_but_its_object_and_warnings_stand_in_it(capsys, data, tmp_path):
    capsys.readouterr()
    silent = ["--threshold", "50", "--warmup", "none"]
    assert run(["train", *TINY, *silent, "--json", "--data-dir", str(data), "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert printed.err == ""
    assert found["run"] == str(tmp_path / "run")
    assert any("silent" in warning for warning in found["warnings"])


def test_what_a_logger_of_ones_own_prints_does_not_spoil_the_object(data, tmp_path, capsys):
    bell = tmp_path / "bell.py"
    bell.write_text(
        "from bpsta_cli import tracking\n\n\n@tracking.register\nclass Bell:\n    name = 'bell'\n\n"
        "    def start(self, run):\n        print('started')\n\n    def epoch(self, row):\n        pass\n\n"
        "    def finish(self, end):\n        pass\n"
    )
    line = ["train", *TINY, "--data-dir", str(data), "--out", str(tmp_path / "run"), "--log", str(bell)]
    capsys.readouterr()
    assert run([*line, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["run"] == str(tmp_path / "run")
    assert printed.err == "started\n"
