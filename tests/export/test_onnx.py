"""Both ONNX models vote as the network, say what they are, and are seen to differ where they do."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
onnx = pytest.importorskip("onnx", reason="needs the extra onnx")

from bpsta_cli.config import RunSettings  # noqa: E402
from bpsta_cli.evaluation.accuracy import cumulative_votes  # noqa: E402
from bpsta_cli.export import onnx_check, onnx_files  # noqa: E402
from bpsta_cli.export.about import about  # noqa: E402

STRUCTURES = {
    "convolutions": ("3C5-MP2-4C3-AP2-7FC-DP-2Voting", (2, 9, 9)),
    "odd pooling": ("MP2-3C3-AP3-3Voting", (1, 8, 8)),
    "no voting": ("mlp", (1, 5, 5)),
    "residual": ("resnet18", (2, 8, 8)),
}


@pytest.fixture
def written(tmp_path, settings):
    """Write both models of a network; their files' folder and what was said of them."""

    def write(network, store, T=3):
        run = settings(T=T, data={"network": "3C3-2Voting", "source": "/home/someone/copy"})
        found = onnx_files.write(tmp_path, network, run, store, about(run, store, "ab"))
        return tmp_path, found

    return write


def agreement(network, store, folder, T=3, **options):
    files = (folder / onnx_files.ALL_STEPS, folder / onnx_files.ONE_STEP)
    return onnx_check.agreement(network, store, *files, T=T, **options)


@pytest.mark.parametrize("steps", [None, 3], ids=["images", "frames"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_all_steps_and_one_step_at_a_time_vote_as_the_network(lively, few_filters, samples, written, name, steps):
    structure, shape = STRUCTURES[name]
    network, store = lively(structure, shape), samples(shape, steps)
    folder, _ = written(network, store)
    found = agreement(network, store, folder)
    assert set(found) == {"all_steps", "one_step"}
    for counts in found.values():
        assert counts["samples"] == 12
        assert counts["votes"] == 12 * 3 * 4
        assert counts["differing_votes"] == counts["differing_decisions"] == 0
        assert counts["accuracy"] == counts["exported_accuracy"]
    votes = network.votes(torch.rand(3, 20, *shape))
    assert 0 < votes.mean() < 1, "the neurons fire, and not always"


@pytest.mark.parametrize("steps", [None, 3], ids=["images", "frames"])
def test_the_twin_has_no_state_and_votes_as_it_does(lively, samples, written, steps):
    network, store = lively("3C3-AP4-2Voting", method="ann"), samples(steps=steps)
    folder, found = written(network, store)
    assert found["states"] == {}
    counts = agreement(network, store, folder)
    assert counts["all_steps"]["differing_decisions"] == counts["one_step"]["differing_decisions"] == 0
    assert counts["all_steps"]["largest_difference"] < 1e-5


def test_another_threshold_is_counted_as_other_votes_and_decisions(lively, samples, written):
    network, store = lively("3C3-MP2-2Voting"), samples(count=40)
    folder, _ = written(network, store)
    for neuron in network.neurons().values():
        neuron.threshold = 1.5
    for counts in agreement(network, store, folder).values():
        assert counts["differing_votes"] > 0
        assert counts["largest_difference"] >= 0.5
        assert 0 < counts["differing_decisions"] <= 40


def test_the_first_samples_alone_are_compared_where_so_many_are_asked_for(lively, samples, written):
    network, store = lively("3C3-MP2-2Voting"), samples()
    folder, _ = written(network, store)
    assert agreement(network, store, folder, samples=5)["one_step"]["samples"] == 5


@pytest.mark.parametrize("batch", [1, 7])
def test_a_batch_may_have_any_size_and_the_decision_is_that_of_the_exact_sum(lively, samples, written, batch):
    network = lively("3C3-MP2-2Voting")
    folder, _ = written(network, samples(steps=3))
    x = torch.rand(3, batch, 1, 8, 8)
    found = onnx_check.Runtime(folder / onnx_files.ALL_STEPS).run({"input": x.numpy()})
    with torch.no_grad():
        votes = network.votes(x)
    np.testing.assert_array_equal(found["votes_by_step"], votes.numpy())
    np.testing.assert_array_equal(found["decision"], cumulative_votes(votes)[-1].argmax(1).numpy())
    np.testing.assert_allclose(found["votes"], votes.mean(0).numpy(), rtol=1e-6)


def test_the_loop_is_in_the_model_and_an_images_convolution_outside_of_it(lively, samples, written):
    network = lively("3C3-MP2-2Voting")
    folder, _ = written(network, samples())
    graph = onnx.load(folder / onnx_files.ALL_STEPS).graph
    assert [node.op_type for node in graph.node].count("Loop") == 1
    assert [node.op_type for node in graph.node].count("Conv") == 1
    folder, _ = written(network, samples(steps=3))
    graph = onnx.load(folder / onnx_files.ALL_STEPS).graph
    assert [node.op_type for node in graph.node].count("Conv") == 0
    (loop,) = [node for node in graph.node if node.op_type == "Loop"]
    assert [node.op_type for node in loop.attribute[0].g.node].count("Conv") == 1


def test_the_models_name_opset_input_states_and_what_they_were_made_from(lively, samples, written):
    folder, found = written(lively("3C3-MP2-2Voting"), samples())
    assert found["opset"] == 18
    assert found["input"] == {"name": "input", "shape": ["batch", 1, 8, 8], "scale": 0.25}
    models = {name: onnx.load(folder / file) for name, file in found["files"].items()}
    for model in models.values():
        assert model.opset_import[0].version == 18
        assert model.producer_name == "bpsta"
        said = {each.key: each.value for each in model.metadata_props}
        assert (said["T"], said["input_scale"], said["weights_sha256"]) == ("3", "0.25", "ab")
        assert json.loads(said["classes"]) == ["0", "1", "2", "3"]
        kept = json.loads(said["settings"])
        assert RunSettings.model_validate(kept).data.network == "3C3-2Voting"
        assert "someone" not in str(model.metadata_props)
    step = models["one_step"].graph
    assert [each.name for each in step.input] == ["input", "lif1.v", "lif2.v"]
    assert [each.name for each in step.output] == ["votes", "lif1.v_next", "lif2.v_next"]
    said = {each.key: each.value for each in models["one_step"].metadata_props}
    assert json.loads(said["states"]) == {"lif1.v": [3, 8, 8], "lif2.v": [8]}


def test_the_pages_example_runs_a_step_at_a_time(lively, samples, written, tmp_path, monkeypatch):
    network, store = lively("3C3-MP2-2Voting"), samples(steps=3)
    folder, _ = written(network, store)
    shutil.copytree(folder, tmp_path / "export", ignore=shutil.ignore_patterns("export"))
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    x = torch.rand(3, 1, 1, 8, 8)
    names = {"frames": x.numpy()}
    exec(compile(code, "docs/export.md", "exec"), names)
    with torch.no_grad():
        np.testing.assert_array_equal(names["votes"], network.votes(x)[-1].numpy())


def test_the_same_network_gives_the_same_bytes(lively, samples, written):
    network, store = lively("3C3-MP2-2Voting"), samples()
    folder, _ = written(network, store)
    before = [(folder / name).read_bytes() for name in (onnx_files.ALL_STEPS, onnx_files.ONE_STEP)]
    written(network, store)
    assert [(folder / name).read_bytes() for name in (onnx_files.ALL_STEPS, onnx_files.ONE_STEP)] == before
