"""Which backend runs, and what the kernels refuse."""

import math

import pytest
import torch

from bpsta_cli import rules
from bpsta_cli.errors import SettingsError, StructureError
from bpsta_cli.kernels import block, dispatch, lif, lif_step, supports_block
from bpsta_cli.kernels.block_spec import BlockSpec

X = torch.ones(2, 3)


def test_auto_names_its_choice_and_the_reason():
    choice = dispatch.choose("auto")
    assert choice.name in dispatch.BACKENDS
    assert choice.name != "auto"
    assert choice.why


def test_a_backend_asked_for_by_name_is_taken():
    assert dispatch.choose("reference") == ("reference", "asked for by name")


def test_an_unknown_backend_is_told_with_the_nearest_name():
    with pytest.raises(SettingsError) as told:
        lif(X, backend="refrence")
    listed = ", ".join(dispatch.BACKENDS)
    assert str(told.value) == (f'unknown backend: expected one of {listed}, got "refrence". Did you mean reference?')
    with pytest.raises(SettingsError, match='"auto" picks one that runs here'):
        dispatch.choose("zzz")


def test_a_block_without_a_backend_for_it_is_refused_and_foretold():
    x, spec = torch.ones(2, 3, 4, 5, 5), BlockSpec(2, True, 1, 0.5, 0.9, rules.BPSTA(), 1e-5)
    assert not supports_block(x.device, x.dtype, spec.rule, backend="reference")
    with pytest.raises(SettingsError) as error:
        block(x, torch.ones(4), torch.zeros(4), spec, backend="reference")
    assert str(error.value) == (
        "no backend for a block: expected an input and a rule that one of cpu, gpu supports, got the backend reference "
        "(asked for by name). Run norm, ReLU, neuron and pooling one by one."
    )


@pytest.mark.parametrize("threshold", [0.0, -0.5, math.nan, math.inf])
def test_a_threshold_that_is_not_positive_and_finite_is_told(threshold):
    told = f"unusable threshold: expected a finite number > 0, got {threshold!r}. 0.5 is the paper's value."
    for call in (lambda: lif(X, threshold=threshold), lambda: lif_step(None, X, threshold=threshold)):
        with pytest.raises(SettingsError) as error:
            call()
        assert str(error.value) == told


@pytest.mark.parametrize("decay", [-0.1, 1.1, math.nan])
def test_a_decay_outside_0_to_1_is_told(decay):
    with pytest.raises(SettingsError) as error:
        lif(X, decay=decay)
    assert str(error.value) == (
        f"unusable decay: expected a number from 0 (forgets at once) to 1 (never leaks), got {decay!r}. "
        "0.9 is the default."
    )


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_a_decay_of_0_and_of_1_are_allowed(decay):
    # x = 0.3 twice: without memory it never fires, without leak it fires at the second step.
    assert lif(torch.full((2,), 0.3), decay=decay).tolist() == [0, decay]


def test_a_negative_alpha_is_told():
    with pytest.raises(SettingsError, match=r"unusable alpha: expected a finite number >= 0, got -1\."):
        lif(X, alpha=-1)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3)])
def test_an_input_without_steps_is_told(shape):
    with pytest.raises(StructureError) as error:
        lif(torch.empty(shape))
    assert str(error.value) == (
        "neuron input without time steps: expected a tensor [T, ...] with T >= 1, "
        f"got shape {list(shape)}. Put time first; one step is x.unsqueeze(0)."
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_an_input_that_is_not_floating_is_told(dtype):
    name = str(dtype).removeprefix("torch.")
    for call in (lif, lambda x: lif_step(None, x)):
        with pytest.raises(StructureError) as error:
            call(X.to(dtype))
        assert str(error.value) == (
            "neuron input of an unusable dtype: expected float64, float32, bfloat16 or float16, "
            f"got {name}. Convert it first, as in x.float()."
        )


def test_a_state_left_from_another_batch_is_told():
    _, v = lif_step(None, torch.ones(4))
    with pytest.raises(StructureError, match=r"expected the shape of the input, \[3\], got \[4\]\."):
        lif_step(v, torch.ones(3))
