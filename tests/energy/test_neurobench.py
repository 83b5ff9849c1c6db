"""NeuroBench's own package on the same network and samples (github.com/NeuroBench/neurobench, 2.3).

What its definitions and ours have in common, and agree on here: a synaptic operation for each non-zero
input and non-zero weight within the image, biases left out; MACs or ACs by whether an input is all 0 and 1; dense
operations with every input and weight; zero activations over all neurons, steps and samples; zero weights over the
weights of convolutions and linear layers; bytes of parameters and buffers.

Where it differs: it judges a whole call, here therefore one step of one sample (in a larger batch one grey sample
turns all its spikes into MACs), and rounds connection sparsity to 4 digits. It knows snnTorch's neurons and
torch.nn.ReLU as activations, and needs the names of others. It has no shortcut additions.
"""

import numpy as np
import pytest
import torch
from energy_runs import memory_store

from bpsta_cli.energy import account
from bpsta_cli.network import build
from bpsta_cli.network.neurons import LIF

CPU = torch.device("cpu")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

NETWORKS = {
    "image": ("4C3-MP2-6C3-AP2-7FC-DP-2Voting", (8, 1, 8, 8)),
    "events": ("4C3-AP2-5C2-2Voting", (8, 3, 2, 8, 8)),
    "residual": ("resnet18", (2, 1, 8, 8)),
}
T = 3


@pytest.fixture
def harness():
    pytest.importorskip("neurobench.models", reason="needs the package neurobench", exc_type=ImportError)
    return pytest.importorskip("neurobench.metrics", exc_type=ImportError)


def trained(structure, x):
    """Batch norm has seen the data, so that every layer fires, and every ninth weight is 0."""
    network = build(structure, x.shape[-3:], 2).train()
    for _ in range(5):
        network(input_of(x))
    with torch.no_grad():
        for layer in network.synapses().values():
            layer.weight[torch.arange(layer.weight.numel()).view(layer.weight.shape) % 9 == 0] = 0
    return network.eval()


def input_of(x):
    steps = torch.from_numpy(x).float()
    return steps.expand(T, *steps.shape) if x.ndim == 4 else steps.transpose(0, 1).contiguous()


def measured(network, x):
    """NeuroBench's values; its hooks see each step of each sample by itself, as with a model called step by step."""
    from neurobench.metrics.static import ConnectionSparsity, Footprint
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    model = TorchModel(network)
    model.activation_modules = [LIF]
    model.register_hooks()
    with torch.no_grad():
        votes = model(input_of(x))
        for hook in model.connection_hooks:
            (whole,) = hook.inputs.pop()
            hook.inputs += [(part,) for step in whole.split(1) for part in step.split(1, dim=1)]
        data = (torch.from_numpy(x), torch.zeros(len(x)))
        operations = SynapticOperations()(model, votes, data)
    found = {
        "effective_macs": operations["Effective_MACs"],
        "effective_acs": operations["Effective_ACs"],
        "dense": operations["Dense"],
        "activation_sparsity": ActivationSparsity()(model, votes, data),
        "connection_sparsity": ConnectionSparsity()(model),
        "footprint": Footprint()(model),
    }
    model.cleanup_hooks()
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_the_account_gives_the_values_of_neurobench(harness, name):
    structure, shape = NETWORKS[name]
    x = np.random.default_rng(0).integers(0, 4, shape).astype(np.uint8)
    network = trained(structure, x)
    ours, theirs = account(network, memory_store(x), T=T, device=CPU)["neurobench"], measured(network, x)
    for metric in ("effective_macs", "effective_acs", "dense", "footprint"):
        assert ours[metric] == theirs[metric] > 0, metric
    assert ours["activation_sparsity"] == pytest.approx(theirs["activation_sparsity"], rel=1e-12)
    assert 0 < ours["activation_sparsity"] < 1
    assert ours["connection_sparsity"] == pytest.approx(theirs["connection_sparsity"], abs=5e-5)
    assert ours["connection_sparsity"] == pytest.approx(1 / 9, abs=0.02)
