"""A NIR graph read back votes as the network but for the ReLUs, and each of its nodes is named exact or approximate."""

import numpy as np
import pytest
import torch

nir = pytest.importorskip("nir", reason="needs the extra nir")
pytest.importorskip("nirtorch", reason="needs the extra nir")

from bpsta_cli.errors import ExportError  # noqa: E402
from bpsta_cli.export import nir_check, nir_files  # noqa: E402
from bpsta_cli.export.nir_graph import DT, graph  # noqa: E402
from bpsta_cli.export.plan import plan  # noqa: E402
from bpsta_cli.network.layers import ReLU  # noqa: E402

STRUCTURES = {
    "convolutions": ("3C5-MP2-4C3-AP2-7FC-DP-2Voting", (2, 9, 9)),
    "no voting": ("mlp", (1, 5, 5)),
    "residual": ("resnet18", (2, 8, 8)),
}


@pytest.fixture
def written(tmp_path):
    """Write a network's graph; its file, and what was said of its nodes by their names."""

    def write(network, store, **options):
        found = nir_files.write(tmp_path, network, store, {"T": "3"}, **options)
        return tmp_path / nir_files.FILE, {node["node"]: node for node in found["nodes"]}

    return write


@pytest.mark.parametrize("steps", [None, 3], ids=["images", "frames"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_the_graph_votes_as_the_network_where_the_relus_are_given_back(
    lively, few_filters, samples, written, name, steps
):
    structure, shape = STRUCTURES[name]
    network, store = lively(structure, shape), samples(shape, steps)
    file, _ = written(network, store)
    found = nir_check.agreement(network, store, file, T=3)
    counts = found.get("with_relu", found["as_written"])  # of an image into an mlp none is missed
    assert counts["samples"] == 12
    assert counts["differing_votes"] == counts["differing_decisions"] == 0


def test_without_its_relus_the_graph_votes_otherwise_and_that_is_counted(lively, samples, written):
    network, store = lively("6C3-MP2-8C3-AP2-3Voting"), samples(steps=3, count=40)
    file, _ = written(network, store)
    counts = nir_check.agreement(network, store, file, T=3)["as_written"]
    assert counts["differing_votes"] > 0
    assert 0 < counts["differing_decisions"] <= counts["samples"] == 40


def test_a_relu_as_a_staircase_is_named_approximate_and_its_drift_shrinks_with_its_steps(lively, samples, written):
    network, store = lively("6C3-MP2-8C3-AP2-3Voting"), samples(steps=3, count=40)
    found = []
    for levels in (0, 2, 12):
        file, nodes = written(network, store, relu_levels=levels)
        found.append(nir_check.agreement(network, store, file, T=3)["as_written"]["differing_votes"])
    assert found[0] > found[1] > found[2]
    assert {name for name, node in nodes.items() if not node["exact"]} == {
        "relu1_at1 to 12, relu1_rise",
        "relu2_at1 to 12, relu2_rise",
    }
    assert nodes["lif2"]["exact"]


@pytest.mark.parametrize("levels", [1, 3, 7, 12, 32])
@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.7, 1.1])
def test_all_steps_of_a_staircase_reach_the_threshold(lively, levels, threshold):
    network = lively("64-1-4", threshold=threshold)
    made = graph(plan(network, (1, 8, 8)), {}, constant=False, relu_levels=levels).graph
    whole = np.float32(levels) * made.nodes["relu1_rise"].scale.item()
    assert made.nodes["lif1"].v_threshold.item() < whole <= threshold * (1 + 1e-6)


def test_a_staircase_has_its_steps_at_midpoints_and_the_last_at_the_threshold(lively, samples, written):
    network = lively("64-1-4", threshold=0.8)
    file, _ = written(network, samples(steps=3), relu_levels=4)
    found = nir.read(str(file))
    edges = [found.nodes[f"relu1_at{level}"].threshold.item() for level in (1, 2, 3, 4)]
    np.testing.assert_allclose(edges, [0.1, 0.3, 0.5, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found.nodes["relu1_rise"].scale, 0.2, rtol=1e-6)
    assert edges[3] < np.float32(0.8), "NIR fires above, ours at the threshold"


def test_a_constant_currents_relu_is_left_out_as_it_has_no_effect(lively, samples, written):
    _, nodes = written(lively("3C3-MP2-2Voting"), samples(), relu_levels=8)
    assert all(node["exact"] for node in nodes.values())


def test_a_residual_block_may_have_staircases(lively, few_filters):
    made = graph(plan(lively("resnet18"), (1, 8, 8)), {}, constant=False, relu_levels=4)
    assert len([node for node in made.nodes if not node.exact]) == 17
    into = {source for source, target in made.graph.edges if target == "stage2_block1_relu2_at3"}
    assert into == {"stage2_block1_conv2", "stage2_block1_shortcut_conv"}
    out = {source for source, target in made.graph.edges if target == "stage2_block1_lif2"}
    assert out == {"stage2_block1_relu2_rise"}
    steps = {source for source, target in made.graph.edges if target == "stage2_block1_relu2_rise"}
    assert steps == {f"stage2_block1_relu2_at{level}" for level in (1, 2, 3, 4)}


def test_without_any_relu_the_graph_votes_as_the_network(lively, samples, written):
    network, store = lively("64-4"), samples(steps=3)
    assert not any(isinstance(layer, ReLU) for layer in network.modules())
    file, nodes = written(network, store)
    counts = nir_check.agreement(network, store, file, T=3)
    assert counts["as_written"]["differing_votes"] == 0
    assert all(node["exact"] for node in nodes.values())


def test_each_node_is_named_exact_or_approximate(lively, samples, written):
    network = lively("3C3-MP2-7FC-2Voting")
    _, frames = written(network, samples(steps=3))
    kinds = {name: (node["kind"], node["exact"]) for name, node in frames.items()}
    assert kinds == {
        "conv1": ("Conv2d", True),
        "lif1": ("LIF", False),
        "pool1_sum": ("SumPool2d", True),
        "pool1_threshold": ("Threshold", True),
        "flatten1": ("Flatten", True),
        "linear1": ("Affine", True),
        "lif2": ("LIF", False),
        "linear2": ("Affine", True),
        "lif3": ("LIF", True),
        "voting1": ("Linear", True),
    }
    assert "ReLU" in frames["lif1"]["why"]
    _, images = written(network, samples())
    assert {name for name, node in images.items() if not node["exact"]} == {"lif2"}


def test_a_missed_relu_is_named_in_the_nodes_metadata(lively, samples, written):
    network = lively("3C3-7FC-2Voting")
    file, _ = written(network, samples())
    nodes = nir.read(str(file)).nodes
    assert [name for name, node in nodes.items() if node.metadata] == ["lif2"]
    assert nodes["lif2"].metadata == {"relu": 1}


def test_a_node_that_is_called_exact_is_so(lively, samples, written):
    """Of an image the first neurons' current is constant: their ReLU can be left out, and no other ReLU is there."""
    network, store = lively("3C3-MP2-2Voting"), samples()
    network.layers.conv1.weight.data -= 0.5
    current = network.layers.norm1(network.layers.conv1(torch.rand(1, 9, 1, 8, 8)))
    assert (current < -0.1).any()
    file, nodes = written(network, store)
    assert all(node["exact"] for node in nodes.values())
    assert nir_check.agreement(network, store, file, T=3)["as_written"]["differing_votes"] == 0


@pytest.mark.parametrize("decay", [0.0, 0.37, 0.9, 1.0])
def test_the_neurons_constants_are_read_back_to_the_last_bit(lively, samples, written, decay):
    network = lively("64-4", threshold=0.3, decay=decay)
    file, nodes = written(network, samples(steps=3))
    assert nodes["lif1"]["kind"] == ("IF" if decay == 1 else "LIF")
    neurons = nir_check.read(file).to(torch.float32).lif1
    assert torch.all(neurons.decay == torch.tensor(decay))
    assert torch.all(neurons.gain == 1)
    assert torch.all(neurons.leak == 0)
    at = torch.full((1, 4), 0.3)
    assert torch.all(neurons(at)[0] == 1), "a potential at the threshold fires, as ours does"
    assert torch.all(neurons(torch.nextafter(at, torch.zeros(1, 4)))[0] == 0)


def test_the_decay_follows_from_the_time_constant_and_the_step():
    made = graph_of_one_neuron(decay=0.75)
    assert np.allclose(1 - DT / made.tau, 0.75)
    assert np.allclose(DT / made.tau * made.r, 1)


def graph_of_one_neuron(decay):
    from bpsta_cli.network import build

    network = build("1-1", (1, 1, 1), 1, decay=decay)
    return graph(plan(network, (1, 1, 1)), {}, constant=False).graph.nodes["lif1"]


def test_the_branches_of_a_residual_block_meet_in_its_neurons(lively, few_filters):
    made = graph(plan(lively("resnet18"), (1, 8, 8)), {}, constant=True).graph
    into = {source for source, target in made.edges if target == "stage2_block1_lif2"}
    assert into == {"stage2_block1_conv2", "stage2_block1_shortcut_conv"}
    into = {source for source, target in made.edges if target == "stage1_block1_lif2"}
    assert into == {"stage1_block1_conv2", "stem_lif"}


@pytest.mark.parametrize(
    ("structure", "options", "got"),
    [
        ("MP2-3C3-2Voting", {}, "max pooling of spikes, got pool1, of other values"),
        ("3C3-AP2-MP2-2Voting", {}, "max pooling of spikes, got pool2, of other values"),
        ("3C3-2Voting", {"method": "ann"}, "a ReLU twin"),
    ],
)
def test_what_nir_cannot_hold_is_refused_in_one_line(lively, structure, options, got):
    with pytest.raises(ExportError, match=got) as refused:
        graph(plan(lively(structure, **options), (1, 8, 8)), {}, constant=True)
    assert len(refused.value.lines()) == 1


def test_max_pooling_of_pooled_spikes_is_held(lively, samples, written):
    network, store = lively("3C3-MP2-MP2-2Voting"), samples()
    file, nodes = written(network, store)
    assert all(node["exact"] for node in nodes.values())
    assert nir_check.agreement(network, store, file, T=3)["as_written"]["differing_votes"] == 0


def test_the_file_says_what_it_is_of(lively, samples, written):
    file, _ = written(lively("3C3-2Voting"), samples())
    found = nir.read(str(file))
    assert found.metadata["T"] == "3"
    assert found.metadata["dt"] == DT
    assert list(found.input_type["input"]) == [1, 8, 8]
    assert list(found.output_type["output"]) == [4]


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_snntorch_reads_a_graph_without_max_pooling_and_runs_it_as_nirtorch_does(lively, samples, written):
    imported = pytest.importorskip("snntorch.import_nir", reason="needs snntorch (extra peers)", exc_type=ImportError)
    network, store = lively("3C3-AP4-6FC-2Voting"), samples(steps=3)
    file, _ = written(network, store)
    ours = nir_check.read(file)
    for sample in store.split("test").x[:6]:
        theirs = imported.import_from_nir(nir.read(str(file)))
        state, other = None, None
        for frame in torch.from_numpy(sample * np.float32(store.scale)):
            votes, state = ours(frame[None], state)
            found, other = theirs(frame[None], other)  # its Flatten takes a batch for an axis: one sample at a time
            torch.testing.assert_close(found, votes[0])
