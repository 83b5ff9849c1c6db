"""The GPU's own code, in Triton: the neuron and its block for a tile of windows and channels, all T steps.

launch.py, which alone imports this module, gives the arguments; README.md has the equations. A window is what is pooled
together, POOL x POOL pixels; the last of an odd row or column hangs over the edge. Values of its pixels ("cells") are
tuples of tiles [P, CB], so that they stay in registers. Time is cut into segments of SEGMENT steps, which are
unrolled; the neuron alone is a block of one pixel without a norm, its elements the channels.
"""

import triton
import triton.language as tl

from bpsta_cli.kernels.gpu.rules import fused, reset_gradient, spike_gradient

# Where a program works


@triton.jit
def tile(channels, INDEX: tl.constexpr, P: tl.constexpr, CB: tl.constexpr):
    """The program's place among the tiles of windows, its windows [P] and its channels [CB]."""
    blocks = tl.cast(tl.cdiv(channels, CB), tl.int32)
    place = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    return place, place.to(INDEX) * P + tl.arange(0, P), block.to(INDEX) * CB + tl.arange(0, CB)


@triton.jit
def pixel(window, images, height, width, CELL: tl.constexpr, POOL: tl.constexpr):
    """Row of a cell's pixels in [images height width, C], and which of them there are: [P, 1] each."""
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
    """Places of the windows in one step of the pooled images, and which of them are whole: [P, CB]."""
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
    """Places of every cell in one step [images height width, C], and which there are: tuples of [P, CB]."""
    place = ()
    mask = ()
    for cell in tl.static_range(POOL * POOL):
        row, inside = pixel(window, images, height, width, cell, POOL)
        place = place + (row * channels + channel[None, :],)
        mask = mask + (inside & (channel < channels)[None, :],)
    return place, mask


@triton.jit
def zeros(CELLS: tl.constexpr, P: tl.constexpr, CB: tl.constexpr, STATE: tl.constexpr):
    """A tile of zeros for every cell."""
    result = ()
    for _ in tl.static_range(CELLS):
        result = result + (tl.zeros((P, CB), STATE),)
    return result


# What a step does to every cell


@triton.jit
def of_channels(values, channel, channels, NORM: tl.constexpr):
    """Values of the channels [1, CB]; nothing to use where there is no norm."""
    if NORM:
        result = tl.load(values + channel, mask=channel < channels, other=0)[None, :]
    else:
        result = 0
    return result


@triton.jit
def of_step(values, t, known, channel, channels, PER_STEP: tl.constexpr):
    """Those of step t where each has its own, else the `known` ones."""
    if PER_STEP:
        known = tl.load(values + t * channels + channel, mask=channel < channels, other=0)[None, :]
    return known


@triton.jit
def charge(x, place, mask, live, scale, shift, v, decay, NORM: tl.constexpr, RELU: tl.constexpr, STATE: tl.constexpr):
    """Potentials before the spike: u = decay v + max(x scale + shift, 0), NaN for NaN."""
    result = ()
    for cell in tl.static_range(len(place)):
        current = tl.load(x + place[cell], mask=mask[cell] & live, other=0).to(STATE)
        if NORM:
            current = fused(current, scale, shift)
        if RELU:
            current = tl.where(current < 0, 0, current)
        result = result + (fused(decay, v[cell], current),)
    return result


@triton.jit
def reset(u, threshold, STATE: tl.constexpr):
    """Potentials after the spike, u - u o: exact, and infinity - infinity is NaN as in the reference."""
    result = ()
    for cell in tl.static_range(len(u)):
        result = result + (fused(-u[cell], (u[cell] >= threshold).to(STATE), u[cell]),)
    return result


@triton.jit
def taken(error, u, threshold):
    """The part of the pooled spikes' error that each cell gets: all for the first that fired, or if none did."""
    any_fires = u[0] >= threshold
    for cell in tl.static_range(1, len(u)):
        any_fires = any_fires | (u[cell] >= threshold)
    result = (tl.where((u[0] >= threshold) | (~any_fires), error, 0),)
    before = u[0] >= threshold
    for cell in tl.static_range(1, len(u)):
        result = result + (tl.where((u[cell] >= threshold) & (~before), error, 0),)
        before = before | (u[cell] >= threshold)
    return result


@triton.jit
def add_up(sums, grad, gradx, channel, channels):
    """Put a tile's sums over its windows in their place, [2, C] from `sums` on."""
    tl.store(sums + channel, tl.sum(grad, 0), mask=channel < channels)
    tl.store(sums + channels + channel, tl.sum(gradx, 0), mask=channel < channels)


# The kernels. Of the sizes, those that no stride is made of alone are the same to the compiler whatever their value.


@triton.jit(do_not_specialize=["steps", "images", "height", "width"])
def forward(
    x, x_step, scale, shift, out, out_step, fired, steps, images, channels, height, width,
    NORM: tl.constexpr, PER_STEP: tl.constexpr, RELU: tl.constexpr, POOL: tl.constexpr, SEGMENT: tl.constexpr,
    THRESHOLD: tl.constexpr, DECAY: tl.constexpr, STATE: tl.constexpr, INDEX: tl.constexpr,
    P: tl.constexpr, CB: tl.constexpr,
):  # fmt: skip
    """Spikes of all steps after pooling and, where there is a norm, how many neurons fired, a number a program."""
    threshold = tl.full((), THRESHOLD, STATE)
    decay = tl.full((), DECAY, STATE)
    _, window, channel = tile(channels, INDEX, P, CB)
    place, mask = places(window, channel, images, channels, height, width, POOL)
    out_place, out_mask = pooled(window, channel, images, channels, height, width, POOL)
    a = of_channels(scale, channel, channels, NORM)
    b = of_channels(shift, channel, channels, NORM)
    count = tl.zeros((P, CB), tl.int32)
    v = zeros(POOL * POOL, P, CB, STATE)
    for segment in range(tl.cdiv(steps, SEGMENT)):
        for k in tl.static_range(SEGMENT):
            t = tl.cast(segment * SEGMENT + k, tl.int64)
            a = of_step(scale, t, a, channel, channels, PER_STEP)
            b = of_step(shift, t, b, channel, channels, PER_STEP)
            u = charge(x + t * x_step, place, mask, t < steps, a, b, v, decay, NORM, RELU, STATE)
            v = reset(u, threshold, STATE)
            any_fires = u[0] >= threshold
            for cell in tl.static_range(POOL * POOL):
                any_fires = any_fires | (u[cell] >= threshold)
                if NORM:
                    count += ((u[cell] >= threshold) & mask[cell] & (t < steps)).to(tl.int32)
            tl.store(out + t * out_step + out_place, any_fires.to(STATE), mask=out_mask & (t < steps))
    if NORM:
        tl.store(fired + tl.program_id(0), tl.sum(tl.sum(count, 1), 0))


@triton.jit(do_not_specialize=["steps", "images", "height", "width"])
def backward(
    x, x_step, scale, shift, mean, error, error_step, gain, slope, offset, grad, grad_step, sums, states,
    steps, images, channels, height, width,
    RULE: tl.constexpr, PARAMETER: tl.constexpr, DETACH: tl.constexpr,
    NORM: tl.constexpr, PER_STEP: tl.constexpr, RELU: tl.constexpr, POOL: tl.constexpr,
    SUMS: tl.constexpr, GRADIENT: tl.constexpr, CONSTANT: tl.constexpr, SEGMENT: tl.constexpr, SEVERAL: tl.constexpr,
    THRESHOLD: tl.constexpr, DECAY: tl.constexpr, STATE: tl.constexpr, INDEX: tl.constexpr,
    P: tl.constexpr, CB: tl.constexpr,
):  # fmt: skip
    """From dL/do after pooling to what the norm's gradients are sums of (SUMS), or to dL/dx (GRADIENT), or to both."""
    CELLS: tl.constexpr = POOL * POOL
    threshold = tl.full((), THRESHOLD, STATE)
    decay = tl.full((), DECAY, STATE)
    number, window, channel = tile(channels, INDEX, P, CB)
    place, mask = places(window, channel, images, channels, height, width, POOL)
    error_place, error_mask = pooled(window, channel, images, channels, height, width, POOL)
    a = of_channels(scale, channel, channels, NORM)
    b = of_channels(shift, channel, channels, NORM)
    m = of_channels(mean, channel, channels, NORM)
    c = of_channels(gain, channel, channels, NORM and GRADIENT)
    d = of_channels(slope, channel, channels, NORM and GRADIENT)
    e = of_channels(offset, channel, channels, NORM and GRADIENT)
    segments = tl.cdiv(steps, SEGMENT)
    state_size = tl.cast(images, tl.int64) * height * width * channels

    if SEVERAL:  # the potentials that the segments begin with, but for the first
        v = zeros(CELLS, P, CB, STATE)
        for segment in range(segments - 1):
            for k in tl.static_range(SEGMENT):
                t = tl.cast(segment * SEGMENT + k, tl.int64)
                a = of_step(scale, t, a, channel, channels, PER_STEP)
                b = of_step(shift, t, b, channel, channels, PER_STEP)
                v = reset(
                    charge(x + t * x_step, place, mask, t < steps, a, b, v, decay, NORM, RELU, STATE), threshold, STATE
                )
            for cell in tl.static_range(CELLS):
                tl.store(states + segment * state_size + place[cell], v[cell], mask=mask[cell])
        tl.debug_barrier()  # they may be read by another thread of the program

    carry = zeros(CELLS, P, CB, STATE)  # dL/du of the step after
    total = zeros(CELLS, P, CB, STATE)  # over the steps, of a CONSTANT x
    sum_g = tl.zeros((P, CB), STATE)
    sum_gx = tl.zeros((P, CB), STATE)
    for back in range(segments):
        first = tl.cast((segments - 1 - back) * SEGMENT, tl.int64)
        v = zeros(CELLS, P, CB, STATE)
        if SEVERAL:
            v = ()
            for cell in tl.static_range(CELLS):
                state = states + (segments - 2 - back) * state_size + place[cell]
                v = v + (tl.load(state, mask=mask[cell] & (first > 0), other=0),)
        us = ()
        for k in tl.static_range(SEGMENT):
            a = of_step(scale, first + k, a, channel, channels, PER_STEP)
            b = of_step(shift, first + k, b, channel, channels, PER_STEP)
            u = charge(x + (first + k) * x_step, place, mask, first + k < steps, a, b, v, decay, NORM, RELU, STATE)
            v = reset(u, threshold, STATE)
            us = us + (u,)
        for k in tl.static_range(SEGMENT - 1, -1, -1):
            t = first + k
            a = of_step(scale, t, a, channel, channels, PER_STEP)
            b = of_step(shift, t, b, channel, channels, PER_STEP)
            m = of_step(mean, t, m, channel, channels, PER_STEP)
            c = of_step(gain, t, c, channel, channels, PER_STEP and GRADIENT)
            d = of_step(slope, t, d, channel, channels, PER_STEP and GRADIENT)
            e = of_step(offset, t, e, channel, channels, PER_STEP and GRADIENT)
            pooled_error = tl.load(error + t * error_step + error_place, mask=error_mask & (t < steps), other=0)
            errors = taken(pooled_error.to(STATE), us[k], threshold)
            next_carry = ()
            next_total = ()
            for cell in tl.static_range(CELLS):
                u = us[k][cell]
                here = mask[cell] & (t < steps)
                spike = spike_gradient(u, u >= threshold, threshold, RULE, PARAMETER, STATE)
                kept = reset_gradient(u, u >= threshold, spike, RULE, PARAMETER, DETACH, STATE)
                g = errors[cell] * spike
                g = tl.where(t < steps - 1, fused(decay * carry[cell], kept, g), g)
                g = tl.where(here, g, 0)
                next_carry = next_carry + (g,)
                if NORM:
                    value = tl.load(x + t * x_step + place[cell], mask=here, other=0).to(STATE)
                    if RELU:
                        g = tl.where(fused(value, a, b) <= 0, 0, g)
                    if SUMS:
                        sum_g += g
                        sum_gx = fused(g, value - m, sum_gx)
                next_total = next_total + ((total[cell] + g) if CONSTANT else g,)
                if GRADIENT and not CONSTANT:
                    if NORM:
                        g = fused(c, g, fused(d, value - m, e))
                    tl.store(grad + t * grad_step + place[cell], g, mask=here)
            carry = next_carry
            total = next_total
            if SUMS and PER_STEP:
                if t < steps:
                    add_up(sums + (number * steps + t) * 2 * channels, sum_g, sum_gx, channel, channels)
                sum_g = tl.zeros((P, CB), STATE)
                sum_gx = tl.zeros((P, CB), STATE)
    if SUMS and not PER_STEP:
        add_up(sums + number.to(tl.int64) * 2 * channels, sum_g, sum_gx, channel, channels)
    if GRADIENT and CONSTANT:
        for cell in tl.static_range(CELLS):
            value = tl.load(x + place[cell], mask=mask[cell], other=0).to(STATE)
            tl.store(grad + place[cell], fused(c, total[cell], fused(d, value - m, e)), mask=mask[cell])


@triton.jit(do_not_specialize=["rows"])
def moments(
    x, x_step, origin, sums, rows, channels,
    RUN: tl.constexpr, STATE: tl.constexpr, INDEX: tl.constexpr,
    P: tl.constexpr, CB: tl.constexpr,
):  # fmt: skip
    """Sums of x - origin and of its square over RUN x P rows of one step, [steps, tiles, 2, C]."""
    blocks = tl.cdiv(channels, CB)
    number, _, channel = tile(channels, INDEX, P, CB)
    start = number.to(INDEX) * RUN * P + tl.arange(0, P)
    t = tl.program_id(1).to(tl.int64)
    around = of_channels(origin, channel, channels, True)
    first = tl.zeros((P, CB), STATE)
    second = tl.zeros((P, CB), STATE)
    for k in range(RUN):
        row = start + k * P
        mask = (row < rows)[:, None] & (channel < channels)[None, :]
        value = tl.load(x + t * x_step + row[:, None] * channels + channel[None, :], mask=mask, other=0).to(STATE)
        away = tl.where(mask, value - around, 0)
        first += away
        second = fused(away, away, second)
    tiles = tl.num_programs(0) // blocks
    add_up(sums + (t * tiles + number) * 2 * channels, first, second, channel, channels)
