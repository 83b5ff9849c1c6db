"""What each tracker has of a run that was stopped and went on: every step of every curve once."""

import json
import math

import pandas as pd
import pytest
from training_runs import CPU, assert_same_run, run, until

from bpsta_cli import tracking
from bpsta_cli.training import EpochDone, train

RATE = "train_firing_rate/lif1"


@pytest.fixture
def broken_run(settings, digits, tmp_path):
    """Trains a run with a logger, stopped after two of three epochs and gone on with; returns its folder."""

    def make(name):
        def logged():
            return tracking.followed(train(settings(), digits, out, device=CPU), [tracking.make(name)], out)

        plain, _ = run(settings(), digits, tmp_path / "plain")
        out = tmp_path / "run"
        until(logged(), EpochDone, 2)
        list(logged())
        written = {file.name for file in out.iterdir()}
        assert written - {"logs"} == {file.name for file in plain.path.iterdir()}
        (out / "logs").rename(tmp_path / "logs")
        assert_same_run(plain.path, out)
        (tmp_path / "logs").rename(out / "logs")
        return out

    return make


def curve(out, name):
    """Step -> value of a column of history.csv, where it has one."""
    history = pd.read_csv(out / "history.csv").set_index("epoch")[name].dropna()
    return {int(step): float(value) for step, value in history.items()}


def test_csv_is_the_runs_own_history_and_writes_nothing_else(settings, digits, tmp_path):
    plain, _ = run(settings(), digits, tmp_path / "plain")
    out = tmp_path / "run"
    list(tracking.followed(train(settings(), digits, out, device=CPU), [tracking.make("csv")], out))
    assert_same_run(plain.path, out)


def test_tensorboard_has_every_step_once(broken_run):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = broken_run("tensorboard")
    found = EventAccumulator(str(out / "logs" / "tensorboard"))
    found.Reload()
    for name in ("train_loss", "accuracy", RATE):
        assert {each.step: each.value for each in found.Scalars(name)} == pytest.approx(curve(out, name), rel=1e-6)
        assert len(found.Scalars(name)) == len(curve(out, name))
    assert len(found.Scalars("final/accuracy")) == 1


def test_dvclive_has_every_step_once_and_makes_no_experiment(broken_run, monkeypatch):
    pytest.importorskip("dvclive")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    out = broken_run("dvclive")
    folder = out / "logs" / "dvclive"
    for name in ("train_loss", "accuracy", RATE):
        table = pd.read_csv(folder / "plots" / "metrics" / f"{name}.tsv", sep="\t")
        assert list(table["step"]) == list(curve(out, name))
        assert list(table.iloc[:, -1]) == pytest.approx(list(curve(out, name).values()))
    assert json.loads((folder / "metrics.json").read_text())["final"]["accuracy"] == curve(out, "accuracy")[2]
    assert {file.name for file in folder.iterdir()} == {"metrics.json", "params.yaml", "plots"}


def test_mlflow_has_one_run_with_every_step_once(broken_run, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    out = broken_run("mlflow")
    from mlflow import MlflowClient

    client = MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("bpsta").experiment_id])
    assert (found.info.status, found.info.run_name, found.data.params["data.epochs"]) == ("FINISHED", "run", "3")
    for name in ("train_loss", "accuracy", RATE):
        points = client.get_metric_history(found.info.run_id, name)
        assert sorted((point.step, point.value) for point in points) == sorted(curve(out, name).items())
    assert found.data.metrics["final/accuracy"] == curve(out, "accuracy")[2]


def test_wandb_offline_keeps_one_run_with_every_step_once(broken_run, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    out = broken_run("wandb")
    known = json.loads((out / "logs" / "wandb.json").read_text())
    assert known["epochs"] == 3
    sent = [
        (step, value) for file in sorted(out.glob("logs/wandb/offline-run-*/*.wandb")) for step, value in _rates(file)
    ]
    names = [file.name for file in out.glob("logs/wandb/offline-run-*/*.wandb")]
    assert names == [f"run-{known['id']}.wandb"] * 2
    assert [step for step, _ in sorted(sent)] == list(curve(out, RATE))
    assert all(math.isclose(value, curve(out, RATE)[step]) for step, value in sent)


def _rates(file):
    """Step and firing rate of each row in a file of wandb's."""
    from wandb.proto import wandb_internal_pb2 as records

    for content in _records_in_log(file.read_bytes()):
        record = records.Record()
        record.ParseFromString(content)
        row = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        if RATE in row:
            yield record.history.step.num, float(row[RATE])


def _records_in_log(content, block=32768, first=7):
    """Records of a file in LevelDB's log format, after wandb's header; a part follows its checksum, length and kind."""
    at, whole = first, b""
    while at + 7 <= len(content):
        if block - at % block < 7:  # what is left of a block holds no header
            at += block - at % block
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole in one part, or its last
            yield whole
            whole = b""
