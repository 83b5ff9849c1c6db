import itertools

import numpy as np
import pytest
import torch
from energy_runs import synapses_of

from bpsta_cli.energy import fan_out
from bpsta_cli.network.layers import Conv, Linear


@pytest.mark.parametrize("padding", [0, 1, (2, 0)])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("kernel", [1, 3, (3, 2), 4])
def test_fan_out_is_that_of_a_count_pixel_by_pixel(kernel, stride, padding):
    layer = Conv(1, 1, kernel, stride=stride, padding=padding)
    found = fan_out(layer, (1, 7, 6))[0]
    for row, column in itertools.product(range(7), range(6)):
        x = np.zeros((1, 1, 7, 6))
        x[0, 0, row, column] = 1
        assert found[row, column] == synapses_of(x, layer)


def test_fan_out_at_borders_and_corners_is_smaller():
    found = fan_out(Conv(1, 1, 3, padding=1), (1, 3, 4))
    assert found.tolist() == [[[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]]]


def test_a_weight_of_zero_is_no_synapse():
    conv, linear = Conv(2, 3, 3, padding=1), Linear(4, 5)
    with torch.no_grad():
        conv.weight[1, 0, 1, 1] = 0  # the middle of a kernel: every pixel of channel 0 loses one synapse
        conv.weight[:, 1, 0, 0] = 0  # a corner: lost where the pixel right below it exists
        linear.weight[2:, 3] = 0
    whole, found = fan_out(conv, (2, 3, 3), dense=True), fan_out(conv, (2, 3, 3))
    assert (whole - found)[0].tolist() == [[1, 1, 1]] * 3
    assert (whole - found)[1].tolist() == [[3, 3, 0], [3, 3, 0], [0, 0, 0]]
    assert fan_out(linear, (4,)).tolist() == [5, 5, 5, 2]
    assert fan_out(linear, (4,), dense=True).tolist() == [5, 5, 5, 5]
