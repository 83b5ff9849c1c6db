"""Divides the GPU kernels' work into programs, and starts them: between ops.py and kernels.py."""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bpsta_cli.kernels.block_spec import BlockSpec
from bpsta_cli.kernels.layouts import step_size
from bpsta_cli.kernels.reference import state_dtype
from bpsta_cli.kernels.rule_codes import rule_code, silent_code

THREADS = 128
POTENTIALS = 32
"""Potentials (pixels x steps) that a thread keeps in registers at once; with more, time is cut into segments."""
ELEMENTS = 4
"""Elements of each pixel and step that a thread works on at most: 16 bytes of float32, what one load can take."""
MAX_UNROLLED = 16
"""Steps that are unrolled at most."""
FORWARD = 16
"""Pixels and steps that the forward pass unrolls; it keeps one potential a pixel."""
CHANNELS = 64
"""Channels that a program works on at most: 128 bytes of a row in half precision, which is a cache line."""
RUN = 32
"""Values that are added up in float before the sum goes on in double, as in cpu/norm.cpp."""
OPTIONS = {"num_warps": THREADS // 32, "enable_fp_fusion": False}


class Sizes(NamedTuple):
    """Of one step, as images with their channels last."""

    images: int
    channels: int
    height: int
    width: int

    @classmethod
    def of_images(cls, x: Tensor) -> Sizes:
        """Those of x [S, B, C, H, W]."""
        return cls(*x.shape[1:])

    @classmethod
    def of_steps(cls, x: Tensor) -> Sizes:
        """Neurons in the order of memory: channels of one pixel."""
        return cls(1, step_size(x), 1, 1)


class _Tiles(NamedTuple):
    """How the work is divided: `programs` of windows x channels, and steps into segments."""

    programs: int
    windows: int
    channels: int
    segment: int
    segments: int


def _tiles(sizes: Sizes, spec: BlockSpec, *, most: int, kept: bool) -> _Tiles:
    """For a kernel that unrolls up to `most` pixels x steps of a window; `kept`: with all their potentials at once."""
    cells = spec.pool**2
    segments = math.ceil(spec.steps / min(most // cells, MAX_UNROLLED))
    segment = math.ceil(spec.steps / segments)
    a_thread = POTENTIALS // 2 // (cells * (_power_of_2(segment) if kept else 1))
    elements = THREADS * max(1, min(ELEMENTS, a_thread))
    windows = sizes.images * math.ceil(sizes.height / spec.pool) * math.ceil(sizes.width / spec.pool)
    channels = min(_power_of_2(sizes.channels), elements, CHANNELS if windows > 1 else elements)
    programs = math.ceil(windows / (elements // channels)) * math.ceil(sizes.channels / channels)
    return _Tiles(programs, elements // channels, channels, segment, segments)


Values = tuple[Tensor, ...]


def values(x: Tensor, *of_channels: Tensor) -> Values:
    """Values [sets, C] as the kernels read them."""
    return tuple(value.to(state_dtype(x.dtype)).contiguous() for value in of_channels)


def run_forward(x: Tensor, sizes: Sizes, spec: BlockSpec, norm: Values | None, out: Tensor) -> Tensor:
    """Fill `out` with the spikes after pooling; returns how many neurons fired, a number a program, with a norm."""
    tiles = _tiles(sizes, spec, most=FORWARD, kept=False)
    scale, shift, _ = norm or _absent(x)
    spike_counts = torch.empty(tiles.programs if norm else 0, dtype=torch.int32, device=x.device)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        _device_code().forward[(tiles.programs,)](
            *(x, _step(x), scale, shift, out, _step(out), spike_counts, spec.steps),
            *(sizes.images, sizes.channels, sizes.height, sizes.width),
            **_constants(x, sizes, spec, norm, tiles),
        )
    return spike_counts


def run_backward(
    x: Tensor,
    sizes: Sizes,
    spec: BlockSpec,
    norm: Values | None,
    error: Tensor,
    *,
    grad: Tensor | None = None,
    coefficients: Values | None = None,
    sums: bool = False,
) -> Tensor:
    """Fill `grad`, through the norm where there is one; returns the sums [parts, sets, 2, C] if asked for."""
    tiles = _tiles(sizes, spec, most=POTENTIALS, kept=True)
    code = rule_code(spec.rule)
    assert code is not None  # dispatch asked
    scale, shift, mean = norm or _absent(x)
    gain, slope, offset = coefficients or _absent(x)
    state = functools.partial(torch.empty, dtype=state_dtype(x.dtype), device=x.device)
    parts = tiles.programs // math.ceil(sizes.channels / tiles.channels) if sums else 0
    added_up = state(parts, len(mean) if norm else 0, 2, sizes.channels)
    silent = silent_code(spec.silent)
    states = state(2 if spec.silent else 1, tiles.segments - 1, math.prod(sizes))  # potentials; traces
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        _device_code().backward[(tiles.programs,)](
            *(x, _step(x), scale, shift, mean, error, _step(error), gain, slope, offset),
            *(x if grad is None else grad, 0 if grad is None else _step(grad), added_up, states),
            *(spec.steps, sizes.images, sizes.channels, sizes.height, sizes.width, float(spec.spike_cost)),
            **{"RULE": code.number, "PARAMETER": code.parameter, "DETACH": code.detach_reset, "SUMS": sums},
            **{"RATE": silent.rate, "LIMIT": silent.limit, "WIDTH": silent.width},
            **{"GRADIENT": grad is not None, "CONSTANT": norm is not None and len(x) < spec.steps},
            **{"SEVERAL": tiles.segments > 1},
            **_constants(x, sizes, spec, norm, tiles),
        )
    return added_up


def run_moments(x: Tensor, origin: Tensor) -> Tensor:
    """Sums [S, parts, 2, C] over x [S, B, C, H, W] of what is away from `origin` [C], and its square."""
    steps, channels = len(x), x.shape[2]
    rows = x[0].numel() // channels
    columns = min(_power_of_2(channels), CHANNELS)
    lines = 8 * THREADS // columns
    run = min(RUN, _power_of_2(math.ceil(rows / lines)))
    tiles = math.ceil(rows / (run * lines))
    sums = torch.empty(steps, tiles, 2, channels, dtype=origin.dtype, device=x.device)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        _device_code().moments[(tiles * math.ceil(channels / columns), steps)](
            *(x, _step(x), origin, sums, rows, channels),
            **{
                "RUN": run,
                "STATE": _state(x),
                "INDEX": _index(Sizes.of_images(x)),
                "WINDOWS": lines,
                "CHANNELS": columns,
            },
            **OPTIONS,
        )
    return sums


def _constants(x: Tensor, sizes: Sizes, spec: BlockSpec, norm: Values | None, tiles: _Tiles) -> dict[str, Any]:
    """What a kernel is compiled for."""
    return {
        "NORM": norm is not None,
        "PER_STEP": norm is not None and len(norm[0]) > 1,
        "RELU": spec.relu,
        "POOL": spec.pool,
        "SEGMENT": tiles.segment,
        "THRESHOLD": spec.threshold,
        "DECAY": spec.decay,
        "STATE": _state(x),
        "INDEX": _index(sizes),
        "WINDOWS": tiles.windows,
        "CHANNELS": tiles.channels,
        **OPTIONS,
    }


def _absent(x: Tensor) -> Values:
    """Stands for values that a kernel is compiled not to read: Triton 3.6 takes no tuple of None."""
    return x, x, x


def _step(x: Tensor) -> int:
    """Elements from one step to the next; 0 where one stands for all."""
    return int(x.stride(0)) if len(x) > 1 else 0


def _state(x: Tensor) -> Any:
    language = _device_code().tl
    return language.float64 if x.dtype == torch.float64 else language.float32


def _index(sizes: Sizes) -> Any:
    """The integers that places in one step are counted in, with room for what hangs over the edge."""
    language = _device_code().tl
    return language.int32 if math.prod(sizes) < 2**30 else language.int64


def _power_of_2(number: int) -> int:
    """The least that is not smaller."""
    return 1 << max(0, number - 1).bit_length()


@functools.cache
def _device_code() -> Any:
    """kernels.py, which loads Triton."""
    return importlib.import_module("bpsta_cli.kernels.gpu.kernels")
