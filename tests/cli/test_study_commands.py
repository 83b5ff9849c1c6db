"""`bpsta train --run` and `bpsta prepare --recipe`: the pipeline's commands, from a params.yaml that names runs."""

import json

import pytest
import yaml

from bpsta_cli.cli.main import run

ENTRY = {"network": "4C3-AP8-10Voting", "epochs": 2, "warmup_epochs": 1, "batch_size": 64, "train_samples": 100}
SMALL = {"dataset": "digits", "recipe": "digits-small", "method": "stbp", "T": 2, "seed": 3}


@pytest.fixture
def params(tmp_path):
    file = tmp_path / "params.yaml"
    measured = {"digits-small-stbp-T2-s3": SMALL, "digits-small-stbp-T3-s3": SMALL | {"T": 3}}
    methods = {"stbp": {"surrogate_width": 0.5}, "bpsta": {"alpha": 0.7}}
    unused = {"mnist": ENTRY | {"source": "/nowhere"}}
    datasets = {"digits-small": ENTRY, **unused}
    file.write_text(yaml.safe_dump({"measured": measured, "methods": methods, "datasets": datasets}))
    return str(file)


@pytest.fixture
def places(tmp_path):
    return ["--data-dir", str(tmp_path / "data"), "--threads", "1"]


def settings_in(folder):
    return json.loads((folder / "settings.json").read_text())["settings"]


def test_a_run_is_trained_as_its_line_says(params, places, tmp_path):
    out = tmp_path / "out"
    assert run(["train", "--params", params, "--run", "digits-small-stbp-T2-s3", "--out", str(out), *places]) == 0
    found = settings_in(out)
    assert [found[key] for key in ("dataset", "method", "T", "seed")] == ["digits", "stbp", 2, 3]
    assert found["data"]["network"] == ENTRY["network"]
    assert found["rule"]["surrogate_width"] == 0.5


def test_an_option_overrides_the_line(params, places, tmp_path):
    out = tmp_path / "out"
    named = ["train", "--params", params, "--run", "digits-small-stbp-T2-s3", "--out", str(out)]
    assert run([*named, "--method", "bpsta", "--seed", "9", "--epochs", "3", *places]) == 0
    found = settings_in(out)
    assert (found["method"], found["seed"], found["T"], found["data"]["epochs"]) == ("bpsta", 9, 2, 3)
    assert found["rule"]["alpha"] == 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "digits-small-stbp-T2-s4"], "Did you mean digits-small-stbp-T2-s3?"),
        (["--run", "digits-small-stbp-T2-s3", "--dataset", "digits"], "two data sets"),
        ([], "no data set"),
    ],
)
def test_a_run_that_cannot_be_found_is_refused(params, capsys, arguments, message):
    assert run(["train", "--params", params, *arguments]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_a_run_or_a_recipe_without_a_file_is_refused(capsys):
    for arguments in (["train", "--run", "a"], ["prepare", "--recipe", "a"]):
        assert run(arguments) == 2
        assert "no --params" in capsys.readouterr().err


def test_a_recipe_is_prepared_for_every_number_of_steps_of_its_runs(params, tmp_path, capsys):
    out, data = tmp_path / "stores", ["--data-dir", str(tmp_path / "data")]
    assert run(["prepare", "--params", params, "--recipe", "digits-small", "--out", str(out), *data]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["T2.json", "T3.json"]
    store = json.loads((out / "T2.json").read_text())
    assert (store["dataset"], len(store["content_hash"])) == ("digits", 64)
    assert str(tmp_path) not in json.dumps(store)  # the same on every machine
    assert capsys.readouterr().out.count("1437 training") == 1  # images fit any T: one store


def test_a_recipe_without_runs_needs_no_data(params, tmp_path, capsys):
    out = tmp_path / "stores"
    assert run(["prepare", "--params", params, "--recipe", "mnist", "--out", str(out)]) == 0
    assert list(out.iterdir()) == []
    assert "nothing to prepare" in capsys.readouterr().out


def test_a_recipe_whose_data_are_not_at_hand_leaves_no_file(params, tmp_path, capsys):
    values = yaml.safe_load((tmp_path / "params.yaml").read_text())
    values["measured"]["mnist-stbp-T2-s3"] = SMALL | {"dataset": "mnist", "recipe": "mnist"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    out = tmp_path / "stores"
    assert run(["prepare", "--params", params, "--recipe", "mnist", "--out", str(out)]) == 2
    assert "/nowhere" in capsys.readouterr().err
    assert not out.exists()
