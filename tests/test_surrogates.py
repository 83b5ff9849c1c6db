"""Surrogates: each curve against its primitive, its integral and the paper's numbers."""

import math

import pytest
import torch

from bpsta_cli import surrogates

WIDTHS = [0.25, 1.0, 4.0]
CURVES = list(surrogates.SURROGATES)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("curve", CURVES)
def test_a_surrogate_is_the_derivative_of_its_primitive(curve, width):
    surrogate = surrogates.SURROGATES[curve](width)
    x = torch.linspace(-3, 3, 1201, dtype=torch.float64) + 1e-3  # off the corners of h1 and h2
    eps = 1e-6
    slope = (surrogate.primitive(x + eps) - surrogate.primitive(x - eps)) / (2 * eps)
    torch.testing.assert_close(surrogate.derivative(x), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("curve", CURVES)
def test_a_surrogate_integrates_to_one_and_its_primitive_is_a_step_from_0_to_1(curve, width):
    surrogate = surrogates.SURROGATES[curve](width)
    x = torch.linspace(-200, 200, 400_001, dtype=torch.float64) + 1e-4
    assert torch.trapezoid(surrogate.derivative(x), x).item() == pytest.approx(1, abs=1e-3)
    ends = surrogate.primitive(torch.tensor([-200.0, 0.0, 200.0], dtype=torch.float64))
    assert ends.tolist() == pytest.approx([0, 0.5, 1], abs=1e-12)


def test_surrogates_equal_the_papers_curves_at_hand_worked_points():
    x = torch.tensor([0.0, 0.5, -0.5, 1.0, -3.0], dtype=torch.float64)
    # Eq. 24, a = 2: 1/2 for |x| < 1, and 0 from there on: the condition is strict.
    assert surrogates.Rectangular(2.0).derivative(x).tolist() == [0.5, 0.5, 0.5, 0, 0]
    # Eq. 25, a = 4: sqrt(4)/2 - 4/4 |x| = 1 - |x| for |x| < 2/sqrt(4) = 1.
    assert surrogates.Polynomial(4.0).derivative(x).tolist() == [1, 0.5, 0.5, 0, 0]
    # Eq. 26, a = 2: at 0, 1/2 * 1/(1 + 1)^2 = 1/8.
    #   At x = 2 ln 3, e^(-x/a) = 1/3 and 1/2 * (1/3)/(4/3)^2 = 3/32.
    x = torch.tensor([0.0, 2 * math.log(3)], dtype=torch.float64)
    assert surrogates.Sigmoid(2.0).derivative(x).tolist() == pytest.approx([1 / 8, 3 / 32], rel=1e-14)
    # Eq. 27, a = 1/(2 pi): at 0, 1/sqrt(1) = 1; at x^2 = 2 a ln 2 the exponential is 1/2.
    x = torch.tensor([0.0, math.sqrt(math.log(2) / math.pi)], dtype=torch.float64)
    assert surrogates.Gaussian(1 / (2 * math.pi)).derivative(x).tolist() == pytest.approx([1, 0.5], rel=1e-14)
