"""The runner that takes one step at a time against the full pass: the same votes, and no more work than needed."""

import numpy as np
import pytest
import torch
from small_stores import write_store
from torch import nn

from bpsta_cli.data.encoding import to_input
from bpsta_cli.errors import DataError, RunError, SettingsError
from bpsta_cli.evaluation import early_exit
from bpsta_cli.evaluation.accuracy import batches, cumulative_votes
from bpsta_cli.evaluation.accuracy_over_time import decisions_over_time, margin
from bpsta_cli.evaluation.stepwise import Stepper, decide, evaluate_with_exit
from bpsta_cli.network import build
from bpsta_cli.network.layers import Conv

CPU = torch.device("cpu")
STRUCTURES = {
    "plain": "4C3-6C3-10",
    "pooled": "4C3-MP2-6C3-AP4-2Voting",
    "dropout": "4C3-AP4-16FC-DP-3Voting",
    "linear": "12FC-10",
    "residual": "resnet18",
}


def lively(structure, norm="folded", dtype=torch.float64, T=5, batch=6):
    """A network in evaluation mode whose neurons fire, and an input that changes from step to step."""
    network = build(structure, (1, 8, 8), 10, norm=norm).to(dtype)
    x = 2 * torch.randn(T, batch, 1, 8, 8, dtype=dtype)
    with torch.no_grad():
        for _ in range(3):
            network.train().votes(x)  # moves the running statistics off their start
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d) and layer.affine:
                layer.weight.mul_(2)  # currents that reach the threshold under tdbn too
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(4)
    return network.eval(), x


def one_by_one(network, x):
    stepper = Stepper(network)
    return torch.stack([stepper.step(stepper.current(step)) for step in x])


@pytest.mark.parametrize("norm", ["folded", "per-step", "tdbn", "none"])
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_the_votes_of_every_step_are_those_of_the_full_pass_bit_for_bit(structure, norm):
    network, x = lively(structure, norm)
    with torch.no_grad():
        votes = network.votes(x)
    assert 0 < votes.mean() < 1
    assert (votes[1:] != votes[:-1]).any()  # a runner that forgot its potentials would show
    assert one_by_one(network, x).equal(votes)


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_in_float32_they_are_the_same_votes_too(structure):
    # nothing here comes so near the threshold that a library's order of additions decides
    network, x = lively(structure, dtype=torch.float32)
    with torch.no_grad():
        assert one_by_one(network, x).equal(network.votes(x))


def test_neurons_with_other_constants_are_taken_as_they_are():
    network = build("4C3-AP4-10", (1, 8, 8), 10, threshold=0.3, decay=0.5).double().eval()
    x = 2 * torch.rand(6, 4, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        votes = network.votes(x)
        assert one_by_one(network, x).equal(votes)
        for neuron in network.neurons().values():
            neuron.decay = 0.9
        assert not network.votes(x).equal(votes)


def parting(margins):
    """The threshold at which samples leave after the most different steps, and after how many each leaves."""
    best = (0.0, torch.ones(margins.shape[1]))
    for confidence in early_exit.THRESHOLDS:
        enough = margins >= confidence - early_exit.ROUNDING
        steps = torch.tensor([next((t for t, is_so in enumerate(row, 1) if is_so), len(row)) for row in enough.T])
        best = max(best, (confidence, steps), key=lambda found: len(found[1].unique()))
    assert len(best[1].unique()) > 1
    return best


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
@pytest.mark.parametrize("static", [True, False], ids=["image", "recording"])
def test_decisions_are_those_of_the_full_pass_at_the_same_step(structure, static):
    network, x = lively(structure, T=6, batch=12)
    x = x[0].expand_as(x) if static else x
    with torch.no_grad():
        sums = cumulative_votes(network.votes(x))
    margins = margin(sums, torch.arange(1, 7, dtype=torch.float64).unsqueeze(1))
    confidence, expected = parting(margins)
    found = decide(Stepper(network), x, confidence=confidence)
    assert found.steps.tolist() == expected.tolist()
    assert found.sums.equal(sums[expected - 1, torch.arange(12)])
    assert found.predictions.equal(found.sums.argmax(-1))


def test_without_a_threshold_all_steps_are_taken():
    network, x = lively(STRUCTURES["pooled"])
    found = decide(Stepper(network), x, confidence=None)
    assert found.steps.tolist() == [5] * 6
    with torch.no_grad():
        assert found.sums.equal(cumulative_votes(network.votes(x))[-1])


def counting(stepper):
    """Samples that each layer with synapses sees, call by call."""
    seen = []
    for layer in (*stepper._before.modules(), *stepper._after.modules()):
        if isinstance(layer, (Conv, nn.Linear)):
            layer.register_forward_pre_hook(lambda layer, inputs: seen.append((id(layer), inputs[0].shape[1])))
    return seen


def test_the_first_convolution_of_an_image_runs_once_and_decided_samples_drop_out():
    network, x = lively("4C3-AP4-2Voting", T=6, batch=12)
    stepper = Stepper(network)
    seen = counting(stepper)
    found = decide(stepper, x[0].expand_as(x), confidence=0.4)
    first = seen[0][0]
    assert [count for layer, count in seen if layer == first] == [12]
    last = int(found.steps.max())
    left = [int((found.steps > t).sum()) for t in range(last)]
    assert [count for layer, count in seen if layer != first] == left
    assert 0 < left[-1] < 12


def test_nothing_runs_after_the_last_decision_and_a_recording_is_read_step_by_step():
    network, x = lively("4C3-AP4-2Voting", T=6)
    stepper = Stepper(network)
    seen = counting(stepper)
    assert decide(stepper, x, confidence=0.0).steps.tolist() == [1] * 6
    assert len(seen) == 2  # the convolution and the linear layer, once each
    seen.clear()
    decide(stepper, x, confidence=None)
    assert len(seen) == 12


def test_other_samples_start_from_a_potential_of_0():
    network, x = lively(STRUCTURES["pooled"])
    stepper = Stepper(network)
    first = decide(stepper, x, confidence=None)
    decide(stepper, 1 - x[:, :2], confidence=None)
    assert decide(stepper, x, confidence=None).sums.equal(first.sums)


def test_the_network_stays_as_it_is_and_shares_its_weights():
    network, x = lively("4C3-AP4-16FC-DP-3Voting")
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    stepper = Stepper(network)
    first = decide(stepper, x, confidence=None).sums
    assert network.training
    assert list(network.neurons()) == ["lif1", "lif2", "lif3"]
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.zero_()
                layer.bias.zero_()
    assert first.sum() > 0
    assert decide(stepper, x, confidence=None).sums.sum() == 0


def test_the_twin_has_no_steps_to_take():
    with pytest.raises(RunError, match="a run without time steps"):
        Stepper(build("4C3-AP4-2Voting", (1, 8, 8), 10, "ann"))


def test_over_a_test_part_it_agrees_with_early_exit_read_off_the_full_pass(digits):
    network = build("4C3-MP2-6C3-AP4-10Voting", digits.shape, 10, norm="folded")
    network.train()(next(batches(digits, digits.split("train"), 5, device=CPU))[0])
    full = decisions_over_time(network, digits, T=5, device=CPU)
    confidence, steps = parting(full.margins)
    progress = []
    found = evaluate_with_exit(
        network, digits, T=5, confidence=confidence, device=CPU, on_batch=lambda *done: progress.append(done)
    )
    expected = early_exit.with_exit(full, confidence)
    assert (found["accuracy"], found["mean_steps"]) == (expected["accuracy"], expected["mean_steps"])
    assert found["decided_after"] == {str(t): steps.tolist().count(t) for t in range(1, 6)}
    assert (found["samples"], progress) == (40, [(40, 40)])
    assert evaluate_with_exit(network, digits, T=5, confidence=0.1, device=CPU, samples=7)["samples"] == 7


def test_a_threshold_out_of_range_and_an_empty_test_part_are_refused(digits, tmp_path):
    network = build("2", (1, 1, 1), 2)
    with pytest.raises(SettingsError, match=r"got 1\.5"):
        evaluate_with_exit(network, digits, T=2, confidence=1.5, device=CPU)
    x = np.zeros((2, 1, 1, 1), dtype=np.uint8)
    empty = write_store(tmp_path / "store", x, np.zeros(2, dtype=int), train=2, classes=2)
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate_with_exit(network, empty, T=2, confidence=0.5, device=CPU)


def test_frames_as_the_store_gives_them_are_taken(digits):
    frames = np.random.default_rng(0).integers(0, 9, (3, 4, 1, 8, 8)).astype(np.uint8)  # [B, T, C, H, W]
    network, _ = lively(STRUCTURES["pooled"], dtype=torch.float32)
    x = to_input(frames, T=4, scale=1 / 8)
    with torch.no_grad():
        assert decide(Stepper(network), x, confidence=None).sums.equal(cumulative_votes(network.votes(x))[-1])
