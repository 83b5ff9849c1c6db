"""`bpsta train --resume --out RUN` alone: the run's own settings, and what of them may be given anew."""

import json
import shutil

import pytest

from bpsta_cli.cli.main import run
from bpsta_cli.training import loop

SETTINGS = ["--dataset", "digits", "--T", "2", "--network", "4C3-AP8-10Voting", "--alpha", "0.3", "--seed", "4"]
SGDR = ["--schedule", "sgdr", "--sgdr-period", "1", "--lr-warmup-epochs", "0"]
FILES = ("settings.json", "history.csv", "model.safetensors", "metrics.json")


@pytest.fixture(scope="module")
def trained(data):
    """A run of two epochs that may be extended."""
    out = data / "runs" / "two"
    options = [*SETTINGS, *SGDR, "--epochs", "2", "--warmup-epochs", "0", "--threads", "1", "--keep-state"]
    assert run(["train", *options, "--data-dir", str(data), "--out", str(out)]) == 0
    return out


def resume(data, out, *options):
    return run(["train", "--resume", "--out", str(out), "--data-dir", str(data), "--threads", "1", *options])


def test_an_interrupted_run_goes_on_by_its_own_settings(data, trained, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    options = [*SETTINGS, *SGDR, "--epochs", "2", "--warmup-epochs", "0", "--data-dir", str(data)]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_evaluate", interrupted)
        assert run(["train", *options, "--out", str(tmp_path / "run"), "--threads", "1"]) == 130
    assert resume(data, tmp_path / "run") == 0
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (trained / name).read_bytes(), name


def test_a_finished_run_is_left_as_it_is(data, trained, capsys):
    assert resume(data, trained) == 0
    assert "nothing was trained" in capsys.readouterr().out


def test_more_epochs_extend_it(data, trained, tmp_path, capsys):
    longer = shutil.copytree(trained, tmp_path / "longer")
    assert resume(data, longer, "--epochs", "3") == 0
    assert "epoch   3/3" in capsys.readouterr().out
    assert json.loads((longer / "settings.json").read_text())["settings"]["rule"] == {"alpha": 0.3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "0.5"], "training.lr (0.006 there, 0.5 asked for)"),
        (["--method", "stbp"], "method (bpsta there, stbp asked for)"),
        (["--alpha", "0.4"], "rule.alpha (0.3 there, 0.4 asked for)"),
        (["--T", "3", "--seed", "5"], "T (2 there, 3 asked for), seed (4 there, 5 asked for)"),
        (["--epochs", "1"], "data.epochs (2 there, 1 asked for)"),
        (["--epochs", "0"], "data.epochs: Input should be greater than or equal to 1"),
        (["--leak", "1"], "--leak"),
    ],
)
def test_another_setting_is_refused_with_key_old_and_new_value(data, trained, capsys, options, message):
    before = {name: (trained / name).read_bytes() for name in FILES}
    assert resume(data, trained, *options) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert {name: (trained / name).read_bytes() for name in FILES} == before


def test_a_run_like_another_one_has_its_settings_but_for_the_options(data, trained, tmp_path):
    out = tmp_path / "like"
    options = ["--like", str(trained), "--seed", "5", "--out", str(out), "--data-dir", str(data), "--threads", "1"]
    assert run(["train", *options]) == 0
    before, after = (json.loads((each / "settings.json").read_text())["settings"] for each in (trained, out))
    assert before | {"seed": 5} == after
    assert (out / "metrics.json").read_bytes() != (trained / "metrics.json").read_bytes()


@pytest.mark.parametrize("options", [["--dataset", "digits"], ["--params", "params.yaml"]])
def test_a_second_source_of_settings_beside_a_run_is_refused(trained, tmp_path, capsys, options):
    assert run(["train", "--like", str(trained), *options, "--out", str(tmp_path / "run")]) == 2
    assert f"{options[1]} beside --like" in " ".join(capsys.readouterr().err.split())


def test_a_run_of_another_data_set_is_refused_before_data_are_fetched(data, trained, capsys):
    assert resume(data, trained, "--dataset", "mnist", "--source", str(data / "nothing")) == 2
    assert "dataset (digits there, mnist asked for)" in " ".join(capsys.readouterr().err.split())


def test_where_there_is_no_run_nothing_is_resumed(data, tmp_path, capsys):
    assert resume(data, tmp_path / "none") == 2
    assert "not a run" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
