"""The own AdamW is torch's within rounding, and compiled it has the bits of its elementwise specification."""

import copy
import subprocess
import sys

import pytest
import torch

from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import adamw, library
from bpsta_cli.training.adamw import AdamW
from bpsta_cli.training.optimisers import clip_gradients

SHAPES = [(1,), (7,), (3, 5, 3, 3), (40, 501)]
OPTIONS = {"lr": 0.03, "weight_decay": 0.1}


def parameters(dtype=torch.float32):
    random = torch.Generator().manual_seed(1)
    made = [torch.randn(shape, generator=random, dtype=dtype) for shape in SHAPES]
    made[2] = made[2].to(memory_format=torch.channels_last)
    return [torch.nn.Parameter(each) for each in made]


def trained(optimiser, own, steps=5, seed=2):
    """The parameters after some steps with given gradients, of very different sizes."""
    random = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for place, parameter in enumerate(own):
            gradient = torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
            parameter.grad = None if (step, place) == (1, 0) else gradient * 10.0 ** (step - 3)
        optimiser.step()
    return [parameter.detach().clone() for parameter in own]


def ours(dtype=torch.float32, threads=1, **options):
    own = parameters(dtype)
    was = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = trained(AdamW([{"params": own}], **{**OPTIONS, **options}), own)
    torch.set_num_threads(was)
    return found


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_it_moves_weights_as_torchs_adamw_does(dtype, rtol):
    own = parameters(dtype)
    expected = trained(torch.optim.AdamW(own, **OPTIONS), own)
    for one, other in zip(ours(dtype), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=rtol)


def test_a_first_step_worked_out_by_hand():
    own = [torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))]
    own[0].grad = torch.tensor([0.5], dtype=torch.float64)
    AdamW([{"params": own}], lr=0.1, weight_decay=0.2, eps=0.0).step()
    # the first step's means are the gradient and its square: the weight decays by 2 % and moves by the rate
    assert own[0].item() == pytest.approx(2 * 0.98 - 0.1, abs=1e-15)


@pytest.mark.skipif(dispatch.choose().name != "cpu", reason=dispatch.choose().why)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_it_has_the_bits_of_the_specification_for_any_number_of_threads(dtype, monkeypatch):
    compiled = [ours(dtype, threads) for threads in (1, 2, 3)]
    monkeypatch.setattr(library, "unsupported_reason", lambda *_: "for this test")
    specified = ours(dtype)
    for found in compiled:
        assert all(map(torch.equal, found, specified))


def test_the_layout_of_a_gradient_changes_nothing():
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        own = parameters()[2:3]
        own[0].grad = torch.linspace(-1, 1, own[0].numel()).view(own[0].shape).to(memory_format=layout)
        AdamW([{"params": own}], **OPTIONS).step()
        found.append(own[0].detach())
    assert found[0].equal(found[1])


@pytest.mark.parametrize("of_torch", [False, True])
def test_it_goes_on_from_its_own_state_and_from_torchs(of_torch):
    own = parameters()
    whole = AdamW([{"params": own}], **OPTIONS)
    first = torch.optim.AdamW(own, **OPTIONS) if of_torch else whole
    trained(first, own)
    state = copy.deepcopy(first.state_dict())
    weights = [parameter.detach().clone() for parameter in own]
    resumed = []
    for _ in range(2):
        again = [torch.nn.Parameter(weight.clone()) for weight in weights]
        optimiser = AdamW([{"params": again}], **OPTIONS)
        optimiser.load_state_dict(copy.deepcopy(state))
        resumed.append(trained(optimiser, again, seed=4))
    expected = trained(first, own, seed=4)
    for one, two, other in zip(*resumed, expected, strict=True):
        assert one.equal(two)
        torch.testing.assert_close(one, other, rtol=1e-5 if of_torch else 0, atol=1e-6 if of_torch else 0)


def test_autograd_sees_that_the_weights_changed():
    own = parameters()
    versions = [parameter._version for parameter in own]
    trained(AdamW([{"params": own}], **OPTIONS), own, steps=1)
    assert all(parameter._version > version for parameter, version in zip(own, versions, strict=True))


def test_every_number_of_the_specification_is_rounded_to_the_parameters_dtype():
    constants = adamw.Constants(1.0, 0.9, 1 - 0.9, 0.999, 1 - 0.999, 1.0, 1e-8, 0.1)
    tensors = [torch.ones(1), torch.full((1,), 3.0), torch.zeros(1), torch.zeros(1)]
    adamw.reference(*tensors, constants)
    assert tensors[2].item() == (torch.tensor(3.0) * torch.tensor(1 - 0.9)).item()


def test_gradients_are_scaled_to_the_norm_asked_for_and_smaller_ones_left():
    own = parameters()
    for parameter in own:
        parameter.grad = torch.ones_like(parameter)
    norm = sum(parameter.numel() for parameter in own) ** 0.5
    clip_gradients(own, 2 * norm)
    assert all((parameter.grad == 1).all() for parameter in own)
    clip_gradients(own, norm / 4)
    for parameter in own:
        torch.testing.assert_close(parameter.grad, torch.full_like(parameter, 0.25), rtol=1e-5, atol=0)


def test_without_gradients_there_is_nothing_to_clip_or_to_change():
    own = parameters()
    before = [parameter.detach().clone() for parameter in own]
    clip_gradients(own, 1.0)
    AdamW([{"params": own}], **OPTIONS).step()
    assert all(map(torch.equal, own, before))


def test_clipping_is_torchs_within_rounding():
    own, other = parameters(), parameters()
    for one, two in zip(own, other, strict=True):
        one.grad = torch.randn(one.shape)
        two.grad = one.grad.clone()
    clip_gradients(own, 0.5)
    torch.nn.utils.clip_grad_norm_(other, 0.5)
    for one, two in zip(own, other, strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_an_optimiser_loads_nothing_of_torchs_compiler():
    script = """
import sys, torch
from bpsta_cli.training.adamw import AdamW
weight = torch.nn.Parameter(torch.ones(3))
optimiser = AdamW([{"params": [weight]}], lr=0.1)
optimiser.zero_grad()
weight.sum().backward()
optimiser.step()
optimiser.load_state_dict(optimiser.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
