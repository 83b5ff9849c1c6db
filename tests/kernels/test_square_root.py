import math

import pytest
import torch

from bpsta_cli.kernels.square_root import square_root


@pytest.mark.parametrize("shape", [(), (1,), (40, 50)])
def test_a_square_root_is_the_nearest_number_as_the_c_librarys_is_for_any_layout(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for layout in (x, x.transpose(0, -1)) if x.dim() else (x,):
        assert square_root(layout).flatten().tolist() == [math.sqrt(value) for value in layout.flatten().tolist()]


def test_that_of_float32_is_that_of_float64_rounded():
    # float64 has more than twice the digits, so rounding a second time gives the nearest float32
    x = torch.rand(5000, generator=torch.Generator().manual_seed(2))
    assert square_root(x).tolist() == torch.tensor([math.sqrt(value) for value in x.tolist()]).tolist()


def test_below_zero_there_is_none():
    assert square_root(torch.tensor([-1.0, float("inf")])).isfinite().tolist() == [False, False]
