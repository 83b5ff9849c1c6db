"""Where a program of kernels.py works: its windows, their pixels and its channels, and the channels' values.

The last window of an odd row or column hangs over the edge: every place comes with a mask of which there are.
"""

import triton
import triton.language as tl


@triton.jit
def tile(channels, INDEX: tl.constexpr, WINDOWS: tl.constexpr, CHANNELS: tl.constexpr):
    """The program's place among the tiles of windows, its windows [WINDOWS] and its channels [CHANNELS]."""
    groups = tl.cast(tl.cdiv(channels, CHANNELS), tl.int32)
    place = tl.program_id(0) // groups
    group = tl.program_id(0) % groups
    window = place.to(INDEX) * WINDOWS + tl.arange(0, WINDOWS)
    return place, window, group.to(INDEX) * CHANNELS + tl.arange(0, CHANNELS)


@triton.jit
def pixel(window, images, height, width, CELL: tl.constexpr, POOL: tl.constexpr):
    """Row of a cell's pixels in [images height width, C], and which of them there are: [WINDOWS, 1] each."""
    if POOL == 1:
        row = window
        inside = window < images * height * width
    else:
        across = tl.cdiv(width, POOL)
        down = tl.cdiv(height, POOL)
        y = window // across % down * POOL + CELL // POOL
        x = window % across * POOL + CELL % POOL
        image = window // (across * down)
        row = (image * height + y) * width + x
        inside = (image < images) & (y < height) & (x < width)
    return row[:, None], inside[:, None]


@triton.jit
def pooled(window, channel, images, channels, height, width, POOL: tl.constexpr):
    """Places of the windows in one step of the pooled images, and which of them are whole: [WINDOWS, CHANNELS]."""
    if POOL == 1:
        row, inside = pixel(window, images, height, width, 0, POOL)
    else:
        across = tl.cdiv(width, POOL)
        down = tl.cdiv(height, POOL)
        y = window // across % down
        x = window % across
        image = window // (across * down)
        row = ((image * (height // POOL) + y) * (width // POOL) + x)[:, None]
        inside = ((image < images) & (y < height // POOL) & (x < width // POOL))[:, None]
    return row * channels + channel[None, :], inside & (channel < channels)[None, :]


@triton.jit
def places(window, channel, images, channels, height, width, POOL: tl.constexpr):
    """Places of every cell in one step [images height width, C], and which there are: tuples of tiles."""
    place = ()
    mask = ()
    for cell in tl.static_range(POOL * POOL):
        row, inside = pixel(window, images, height, width, cell, POOL)
        place = place + (row * channels + channel[None, :],)
        mask = mask + (inside & (channel < channels)[None, :],)
    return place, mask


@triton.jit
def zeros(CELLS: tl.constexpr, WINDOWS: tl.constexpr, CHANNELS: tl.constexpr, STATE: tl.constexpr):
    """A tile of zeros for every cell."""
    result = ()
    for _ in tl.static_range(CELLS):
        result = result + (tl.zeros((WINDOWS, CHANNELS), STATE),)
    return result


@triton.jit
def of_channels(values, columns, PRESENT: tl.constexpr):
    """Values of the channels, a tuple of [1, CHANNELS]; nothing to use where they are not PRESENT."""
    result = ()
    for i in tl.static_range(len(values)):
        if PRESENT:
            channel, channels = columns
            result = result + (tl.load(values[i] + channel, mask=channel < channels, other=0)[None, :],)
        else:
            result = result + (0,)
    return result


@triton.jit
def of_step(values, t, live, known, columns, PER_STEP: tl.constexpr):
    """Those of step t where each has its own and the step is `live`, one of the T; else the `known` ones."""
    result = known
    if PER_STEP:
        channel, channels = columns
        result = ()
        for i in tl.static_range(len(values)):
            place = values[i] + t * channels + channel
            result = result + (tl.load(place, mask=(channel < channels) & live, other=0)[None, :],)
    return result


@triton.jit
def store_sums(sums, grad, gradx, columns):
    """Put a tile's sums over its windows in their place, [2, C] from `sums` on."""
    channel, channels = columns
    tl.store(sums + channel, tl.sum(grad, 0), mask=channel < channels)
    tl.store(sums + channels + channel, tl.sum(gradx, 0), mask=channel < channels)
