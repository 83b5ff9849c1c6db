import json

import pytest
import torch

from bpsta_cli import checksums
from bpsta_cli.errors import RunError
from bpsta_cli.files import write_checked_json
from bpsta_cli.reading import documents
from bpsta_cli.training.run_directory import RunDir, RunInfo
from bpsta_cli.training.run_network import load_weights, network_of


@pytest.fixture
def info(settings):
    def make(**data):
        return RunInfo(
            settings=settings(data=data, training={"norm": "tdbn", "dropout": 0.3}, neuron={"threshold": 0.7}),
            input_shape=(1, 8, 8),
            classes=("a", "b", "c"),
            data_hash="abc",
            provenance={"code": "1"},
        )

    return make


@pytest.fixture
def run(tmp_path, info):
    """A run directory with settings and random weights."""
    run = RunDir(tmp_path / "run")
    run.write_info(info())
    found = info()
    network = network_of(found.settings, found.input_shape, len(found.classes))
    network.train()(torch.rand(3, 4, 1, 8, 8))  # running statistics other than the defaults
    run.write_weights(network.state_dict())
    return run, network


def test_a_network_comes_back_as_it_was_written(run, info):
    run, network = run
    found, again = run.network()
    assert found == info()
    assert not again.training
    assert all(tensor.equal(again.state_dict()[name]) for name, tensor in network.state_dict().items())
    x = torch.rand(3, 4, 1, 8, 8)
    assert again(x).equal(network.eval()(x))
    assert again.neurons()["lif1"].threshold == again.layers.norm1.threshold == 0.7


def test_provenance_stands_in_a_file_of_its_own_and_settings_json_is_the_same_wherever_a_run_begins(run, info):
    run, _ = run
    before = (run.path / "settings.json").read_bytes()
    assert documents.json_object(run.path / "provenance.json") == {"code": "1"}
    run.write_info(info().model_copy(update={"provenance": {"code": "1", "commit": "another"}}))
    assert (run.path / "settings.json").read_bytes() == before
    assert run.info().provenance["commit"] == "another"


def test_settings_json_with_the_provenance_in_it_is_read(run, info):
    run, _ = run
    (run.path / "provenance.json").unlink()
    assert run.info().provenance == {}
    file = run.path / "settings.json"
    file.write_text(json.dumps(documents.json_object(file) | {"provenance": {"code": "old"}}))
    assert run.info() == info().model_copy(update={"provenance": {"code": "old"}})


def test_a_record_that_names_no_warm_up_is_of_a_run_whose_only_one_was_the_twin(run, info):
    done, _ = run
    values = info().model_dump(mode="json")
    assert values["settings"]["training"].pop("warmup") == "auto"
    write_checked_json(done.path / "settings.json", values)
    assert done.info().settings.training.warmup == "twin"


def test_weights_of_any_memory_order_are_written(run):
    run, _ = run
    both = torch.arange(4.0)
    weights = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.zeros(2).expand(3, 2), "c": both[0], "d": both[1]}
    run.write_weights(weights)
    assert {name: tensor.tolist() for name, tensor in run.weights().items()} == {
        name: tensor.tolist() for name, tensor in weights.items()
    }


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"not a run.*without one"):
        RunDir(tmp_path).info()
    with pytest.raises(RunError, match=r"not a run.*not a directory"):
        RunDir(tmp_path / "none").network()
    assert not RunDir(tmp_path).exists


@pytest.mark.parametrize("content", [b"{", b"\xff", b"{}", b"[]"])
def test_settings_that_cannot_be_read_are_refused(run, content):
    run, _ = run
    (run.path / "settings.json").write_bytes(content)
    with pytest.raises(RunError, match=r"unreadable run settings.*settings\.json"):
        run.info()


def test_settings_with_a_key_of_another_version_are_refused_by_name(run):
    run, _ = run
    file = run.path / "settings.json"
    values, _ = checksums.parse(file.read_bytes())
    values["settings"]["training"]["momentum"] = 0.9
    write_checked_json(file, values)
    with pytest.raises(RunError, match=r"settings\.training\.momentum"):
        run.info()


def test_missing_weights_are_refused_with_what_to_do(run):
    run, _ = run
    (run.path / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"no usable weights.*same --out"):
        run.network()


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_truncated_weights_are_refused(run, length):
    run, _ = run
    file = run.path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(RunError, match=r"no usable weights.*restore the file"):
        run.network()


@pytest.mark.parametrize(
    ("structure", "expected", "got"),
    [
        ("5C3-MP2-6C3-AP4-2Voting", "layers.conv1.weight of shape (5, 1, 3, 3)", "(4, 1, 3, 3)"),
        ("4C3-MP2-6C3-AP4-7FC-2Voting", "layers.linear1.weight of shape (7, 6)", "(6, 6)"),
        ("4C3-AP8-2Voting", "layers.linear1.weight of shape (6, 4)", "(6, 6)"),
    ],
)
def test_weights_of_another_structure_are_refused_at_the_first_that_differs(run, info, structure, expected, got):
    run, _ = run
    run.write_info(info(network=structure))
    with pytest.raises(RunError, match="weights of another structure") as caught:
        run.network()
    assert (caught.value.expected, caught.value.got) == (expected, f"{got} in {run.path}")


def test_a_weight_too_many_or_too_few_is_named(run, tmp_path):
    _, network = run
    weights = network.state_dict()
    with pytest.raises(RunError, match=r"no layers\.x, got \(1,\)"):
        load_weights(network, {**weights, "layers.x": torch.zeros(1)}, tmp_path)
    del weights["layers.norm2.running_var"]
    with pytest.raises(RunError, match=r"layers\.norm2\.running_var of shape \(6,\), got none"):
        load_weights(network, weights, tmp_path)


def test_an_unfinished_run_has_no_metrics(run):
    run, _ = run
    assert run.exists
    assert not run.finished
    with pytest.raises(RunError, match=r"run not finished.*same --out"):
        run.metrics()
    run.write_metrics({"accuracy": 0.5})
    assert run.finished
    assert run.metrics()["accuracy"] == 0.5
    assert set(run.metrics()["files"]) == {"settings.json", "model.safetensors"}
    (run.path / "metrics.json").write_text("{")
    with pytest.raises(RunError, match="unreadable file"):
        run.metrics()


def test_history_has_a_column_for_whatever_an_epoch_said(run):
    run, _ = run
    run.write_history([{"epoch": 0, "loss": 0.25}, {"epoch": 1, "loss": 0.125, "rate": 0.5}])
    assert (run.path / "history.csv").read_text() == "epoch,loss,rate\n0,0.25,\n1,0.125,0.5\n"


def test_clearing_removes_the_runs_files_and_nothing_else(run):
    run, _ = run
    run.checkpoints.write(1, 0, {"a": torch.zeros(1)}, {})
    run.write_history([{"epoch": 0}])
    run.write_metrics({"accuracy": 0.5})
    run.write_timings({"epoch_seconds": []})
    (run.path / "state.pt").touch()
    (run.path / "notes.txt").write_text("mine")
    run.clear()
    assert [file.name for file in run.path.iterdir()] == ["notes.txt"]
