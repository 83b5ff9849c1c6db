"""The GPU's own code, in Triton: the neuron and its block for a tile of windows and channels, all T steps.

launch.py, which alone imports this module, gives the arguments; README.md has the equations. A window is what is pooled
together, POOL x POOL pixels; the last of an odd row or column hangs over the edge. Values of its pixels ("cells") are
tuples of tiles [WINDOWS, CHANNELS], so that they stay in registers. Time is cut into segments of SEGMENT steps, which
are unrolled. The neuron alone is a block of one pixel without a norm, its elements the channels.

Other tuples: `cells`, where every cell lies in one step, and which cells there are; `columns`, the program's channels,
and how many there are in all; `norm`, scale, shift and mean; `grad_norm`, gain, slope and offset of
`block_spec.NormGradCoefficients`; `silent`, an integer a cell, whose bit k says whether the neuron is silent in step k
of the segment (rules/silent.py). RATE, LIMIT and WIDTH are those of `rule_codes.SilentCode`: a WIDTH of 0 is none.
"""

import triton
import triton.language as tl

from bpsta_cli.kernels.gpu.rules import fused, reset_gradient, silent_gradient, spike_gradient, update_trace
from bpsta_cli.kernels.gpu.tiles import of_channels, of_step, places, pooled, store_sums, tile, zeros

# What a step does to every cell


@triton.jit
def update_potential(
    x, cells, live, norm, v, decay, NORM: tl.constexpr, RELU: tl.constexpr, STATE: tl.constexpr
):  # fmt: skip
    """Potentials before the spike: u = decay v + max(x scale + shift, 0), NaN for NaN."""
    place, mask = cells
    result = ()
    for cell in tl.static_range(len(place)):
        current = tl.load(x + place[cell], mask=mask[cell] & live, other=0).to(STATE)
        if NORM:
            current = fused(current, norm[0], norm[1])
        if RELU:
            current = tl.where(current < 0, 0, current)
        result = result + (decay * v[cell] + current,)
    return result


@triton.jit
def reset(u, threshold, STATE: tl.constexpr):
    """Potentials after the spike, u - u o: exact, and infinity - infinity is NaN as in the reference."""
    result = ()
    for cell in tl.static_range(len(u)):
        result = result + (u[cell] - u[cell] * (u[cell] >= threshold).to(STATE),)
    return result


@triton.jit
def pool_spikes(u, threshold):
    """Whether any cell of a window fires."""
    result = u[0] >= threshold
    for cell in tl.static_range(1, len(u)):
        result = result | (u[cell] >= threshold)
    return result


@triton.jit
def unpool(error, u, threshold):
    """The part of the pooled spikes' error that each cell gets: all for the first that fired, or if none did."""
    result = (tl.where((u[0] >= threshold) | (~pool_spikes(u, threshold)), error, 0),)
    before = u[0] >= threshold
    for cell in tl.static_range(1, len(u)):
        result = result + (tl.where((u[cell] >= threshold) & (~before), error, 0),)
        before = before | (u[cell] >= threshold)
    return result


@triton.jit
def neuron_backward(
    error, u, after, is_silent, is_last, threshold, decay, spike_cost,
    RULE: tl.constexpr, PARAMETER: tl.constexpr, DETACH: tl.constexpr, WIDTH: tl.constexpr, STATE: tl.constexpr,
):  # fmt: skip
    """dL/du of a cell from dL/do, and from dL/du of the step `after` where there is one."""
    spike = spike_gradient(u, u >= threshold, threshold, RULE, PARAMETER, STATE)
    kept = reset_gradient(u, u >= threshold, spike, RULE, PARAMETER, DETACH, STATE)
    if WIDTH > 0:
        spike = tl.where(is_silent, silent_gradient(u, threshold, WIDTH, STATE), spike)
    g = (error + spike_cost) * spike
    return tl.where(is_last, g, decay * after * kept + g)


@triton.jit
def norm_backward(g, value, mean, coefficients):
    """dL/dx = gain g + slope (x - mean) + offset, with g = dL/dy at the norm's output."""
    return fused(coefficients[0], g, fused(coefficients[1], value - mean, coefficients[2]))


# What a segment of the backward pass does


@triton.jit
def follow_traces(trace, silent, u, k, threshold, RATE: tl.constexpr, LIMIT: tl.constexpr, STATE: tl.constexpr):
    """The traces of all cells after step k of a segment, and `silent` with that step's bits."""
    traces = ()
    bits = ()
    for cell in tl.static_range(len(u)):
        s = update_trace(trace[cell], u[cell], threshold, RATE, STATE)
        traces = traces + (s,)
        bits = bits + (silent[cell] | ((s < tl.full((), LIMIT, STATE)).to(tl.int32) << k),)
    return traces, bits


@triton.jit
def recompute_segment(
    x, x_step, first, steps, cells, columns, norm, known, v, trace, silent, threshold, decay,
    NORM: tl.constexpr, PER_STEP: tl.constexpr, RELU: tl.constexpr,
    RATE: tl.constexpr, LIMIT: tl.constexpr, WIDTH: tl.constexpr, SEGMENT: tl.constexpr, STATE: tl.constexpr,
):  # fmt: skip
    """Potentials before the spike of the steps from `first` on, and `silent`, which is zeros; after the last step,
    potentials and traces.
    """
    us = ()
    for k in tl.static_range(SEGMENT):
        t = first + k
        now = of_step(norm, t, t < steps, known, columns, PER_STEP)
        u = update_potential(x + t * x_step, cells, t < steps, now, v, decay, NORM, RELU, STATE)
        v = reset(u, threshold, STATE)
        if WIDTH > 0:
            trace, silent = follow_traces(trace, silent, u, k, threshold, RATE, LIMIT, STATE)
        us = us + (u,)
    return us, silent, v, trace


@triton.jit
def store_states(
    states, state_size, segments, x, x_step, steps, cells, columns, norm, known, v, trace, silent, threshold, decay,
    NORM: tl.constexpr, PER_STEP: tl.constexpr, RELU: tl.constexpr,
    RATE: tl.constexpr, LIMIT: tl.constexpr, WIDTH: tl.constexpr, SEGMENT: tl.constexpr, STATE: tl.constexpr,
):  # fmt: skip
    """Store the potentials that the segments begin with, but for the first, and behind all of them the traces, where
    neurons may be silent; `v`, `trace` and `silent` are zeros.
    """
    place, mask = cells
    for segment in range(segments - 1):
        first = tl.cast(segment * SEGMENT, tl.int64)
        _, _, v, trace = recompute_segment(
            x, x_step, first, steps, cells, columns, norm, known, v, trace, silent, threshold, decay,
            NORM, PER_STEP, RELU, RATE, LIMIT, WIDTH, SEGMENT, STATE,
        )  # fmt: skip
        for cell in tl.static_range(len(place)):
            tl.store(states + segment * state_size + place[cell], v[cell], mask=mask[cell])
            if WIDTH > 0:
                behind = states + (segments - 1 + segment) * state_size
                tl.store(behind + place[cell], trace[cell], mask=mask[cell])
    tl.debug_barrier()  # they may be read by another thread of the program


@triton.jit
def load_state(states, cells, is_first):
    """The potentials or traces that a segment begins with: zeros for the first."""
    place, mask = cells
    result = ()
    for cell in tl.static_range(len(place)):
        result = result + (tl.load(states + place[cell], mask=mask[cell] & (~is_first), other=0),)
    return result


@triton.jit
def step_back(
    x, grad, cells, live, is_last, errors, u, after, silent, k, total, sum_g, sum_gx, norm, grad_norm,
    threshold, decay, spike_cost,
    RULE: tl.constexpr, PARAMETER: tl.constexpr, DETACH: tl.constexpr, WIDTH: tl.constexpr,
    NORM: tl.constexpr, RELU: tl.constexpr,
    SUMS: tl.constexpr, GRADIENT: tl.constexpr, CONSTANT: tl.constexpr, STATE: tl.constexpr,
):  # fmt: skip
    """One step from dL/do (`errors`) to dL/du, to dL/dy, its sums or its `total`, and to dL/dx, which is stored.

    It is step k of the segment; `norm` and `grad_norm` are values here. Returns dL/du, the total and the two sums.
    """
    place, mask = cells
    carry = ()
    next_total = ()
    for cell in tl.static_range(len(place)):
        here = mask[cell] & live
        g = neuron_backward(
            errors[cell], u[cell], after[cell], ((silent[cell] >> k) & 1) != 0, is_last, threshold, decay, spike_cost,
            RULE, PARAMETER, DETACH, WIDTH, STATE,
        )  # fmt: skip
        g = tl.where(here, g, 0)
        carry = carry + (g,)
        if NORM:
            value = tl.load(x + place[cell], mask=here, other=0).to(STATE)
            if RELU:
                g = tl.where(fused(value, norm[0], norm[1]) <= 0, 0, g)
            if SUMS:
                sum_g += g
                sum_gx = fused(g, value - norm[2], sum_gx)
        next_total = next_total + ((total[cell] + g) if CONSTANT else g,)
        if GRADIENT and not CONSTANT:
            if NORM:
                g = norm_backward(g, value, norm[2], grad_norm)
            tl.store(grad + place[cell], g, mask=here)
    return carry, next_total, sum_g, sum_gx


# The kernels. Of the sizes, those that no stride is made of alone are the same to the compiler whatever their value.


@triton.jit(do_not_specialize=["steps", "images", "height", "width"])
def forward(
    x, x_step, scale, shift, out, out_step, spike_counts, steps, images, channels, height, width,
    NORM: tl.constexpr, PER_STEP: tl.constexpr, RELU: tl.constexpr, POOL: tl.constexpr, SEGMENT: tl.constexpr,
    THRESHOLD: tl.constexpr, DECAY: tl.constexpr, STATE: tl.constexpr, INDEX: tl.constexpr,
    WINDOWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Spikes of all steps after pooling and, where there is a norm, how many neurons fired, a number a program."""
    threshold = tl.full((), THRESHOLD, STATE)
    decay = tl.full((), DECAY, STATE)
    _, window, channel = tile(channels, INDEX, WINDOWS, CHANNELS)
    cells = places(window, channel, images, channels, height, width, POOL)
    out_place, out_mask = pooled(window, channel, images, channels, height, width, POOL)
    columns = (channel, channels)
    norm = (scale, shift)
    known = of_channels(norm, columns, NORM)
    count = tl.zeros((WINDOWS, CHANNELS), tl.int32)
    v = zeros(POOL * POOL, WINDOWS, CHANNELS, STATE)
    for segment in range(tl.cdiv(steps, SEGMENT)):
        for k in tl.static_range(SEGMENT):
            t = tl.cast(segment * SEGMENT + k, tl.int64)
            now = of_step(norm, t, t < steps, known, columns, PER_STEP)
            u = update_potential(x + t * x_step, cells, t < steps, now, v, decay, NORM, RELU, STATE)
            v = reset(u, threshold, STATE)
            if NORM:
                for cell in tl.static_range(POOL * POOL):
                    count += ((u[cell] >= threshold) & cells[1][cell] & (t < steps)).to(tl.int32)
            tl.store(out + t * out_step + out_place, pool_spikes(u, threshold).to(STATE), mask=out_mask & (t < steps))
    if NORM:
        tl.store(spike_counts + tl.program_id(0), tl.sum(tl.sum(count, 1), 0))


@triton.jit(do_not_specialize=["steps", "images", "height", "width"])
def backward(
    x, x_step, scale, shift, mean, error, error_step, gain, slope, offset, grad, grad_step, sums, states,
    steps, images, channels, height, width, spike_cost: tl.float64,
    RULE: tl.constexpr, PARAMETER: tl.constexpr, DETACH: tl.constexpr,
    RATE: tl.constexpr, LIMIT: tl.constexpr, WIDTH: tl.constexpr,
    NORM: tl.constexpr, PER_STEP: tl.constexpr, RELU: tl.constexpr, POOL: tl.constexpr,
    SUMS: tl.constexpr, GRADIENT: tl.constexpr, CONSTANT: tl.constexpr, SEGMENT: tl.constexpr, SEVERAL: tl.constexpr,
    THRESHOLD: tl.constexpr, DECAY: tl.constexpr, STATE: tl.constexpr, INDEX: tl.constexpr,
    WINDOWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """From dL/do after pooling to what the norm's gradients are sums of (SUMS), or to dL/dx (GRADIENT), or to both."""
    threshold = tl.full((), THRESHOLD, STATE)
    decay = tl.full((), DECAY, STATE)
    cost = tl.full((), spike_cost, STATE)
    number, window, channel = tile(channels, INDEX, WINDOWS, CHANNELS)
    cells = places(window, channel, images, channels, height, width, POOL)
    error_place, error_mask = pooled(window, channel, images, channels, height, width, POOL)
    columns = (channel, channels)
    norm = (scale, shift, mean)
    grad_norm = (gain, slope, offset)
    known = of_channels(norm, columns, NORM)
    known_grad = of_channels(grad_norm, columns, NORM and GRADIENT)
    segments = tl.cdiv(steps, SEGMENT)
    state_size = tl.cast(images, tl.int64) * height * width * channels
    start = zeros(POOL * POOL, WINDOWS, CHANNELS, STATE)
    none_silent = zeros(POOL * POOL, WINDOWS, CHANNELS, tl.int32)
    if SEVERAL:
        store_states(
            states, state_size, segments, x, x_step, steps, cells, columns, norm, known, start, start, none_silent,
            threshold, decay, NORM, PER_STEP, RELU, RATE, LIMIT, WIDTH, SEGMENT, STATE,
        )  # fmt: skip

    carry = zeros(POOL * POOL, WINDOWS, CHANNELS, STATE)  # dL/du of the step after
    total = zeros(POOL * POOL, WINDOWS, CHANNELS, STATE)  # over the steps, of a CONSTANT x
    sum_g = tl.zeros((WINDOWS, CHANNELS), STATE)
    sum_gx = tl.zeros((WINDOWS, CHANNELS), STATE)
    for back in range(segments):
        first = tl.cast((segments - 1 - back) * SEGMENT, tl.int64)
        v = start
        trace = start
        if SEVERAL:
            v = load_state(states + (segments - 2 - back) * state_size, cells, first == 0)
            if WIDTH > 0:
                trace = load_state(states + (2 * segments - 3 - back) * state_size, cells, first == 0)
        us, silent, _, _ = recompute_segment(
            x, x_step, first, steps, cells, columns, norm, known, v, trace, none_silent, threshold, decay,
            NORM, PER_STEP, RELU, RATE, LIMIT, WIDTH, SEGMENT, STATE,
        )  # fmt: skip
        for k in tl.static_range(SEGMENT - 1, -1, -1):
            t = first + k
            now = of_step(norm, t, t < steps, known, columns, PER_STEP)
            grad_now = of_step(grad_norm, t, t < steps, known_grad, columns, PER_STEP and GRADIENT)
            pooled_error = tl.load(error + t * error_step + error_place, mask=error_mask & (t < steps), other=0)
            errors = unpool(pooled_error.to(STATE), us[k], threshold)
            carry, total, sum_g, sum_gx = step_back(
                x + t * x_step, grad + t * grad_step if GRADIENT else grad, cells, t < steps, t >= steps - 1,
                errors, us[k], carry, silent, k, total, sum_g, sum_gx, now, grad_now, threshold, decay, cost,
                RULE, PARAMETER, DETACH, WIDTH, NORM, RELU, SUMS, GRADIENT, CONSTANT, STATE,
            )  # fmt: skip
            if SUMS and PER_STEP:
                if t < steps:
                    store_sums(sums + (number * steps + t) * 2 * channels, sum_g, sum_gx, columns)
                sum_g = tl.zeros((WINDOWS, CHANNELS), STATE)
                sum_gx = tl.zeros((WINDOWS, CHANNELS), STATE)
    if SUMS and not PER_STEP:
        store_sums(sums + number.to(tl.int64) * 2 * channels, sum_g, sum_gx, columns)
    if GRADIENT and CONSTANT:
        for cell in tl.static_range(POOL * POOL):
            place, mask = cells[0][cell], cells[1][cell]
            value = tl.load(x + place, mask=mask, other=0).to(STATE)
            tl.store(grad + place, norm_backward(total[cell], value, known[2], known_grad), mask=mask)


@triton.jit(do_not_specialize=["rows"])
def moments(
    x, x_step, origin, sums, rows, channels,
    RUN: tl.constexpr, STATE: tl.constexpr, INDEX: tl.constexpr,
    WINDOWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Sums of x - origin and of its square over RUN x WINDOWS rows of one step, [steps, tiles, 2, C]."""
    number, _, channel = tile(channels, INDEX, WINDOWS, CHANNELS)
    start = number.to(INDEX) * RUN * WINDOWS + tl.arange(0, WINDOWS)
    t = tl.program_id(1).to(tl.int64)
    columns = (channel, channels)
    around = of_channels((origin,), columns, True)[0]
    first = tl.zeros((WINDOWS, CHANNELS), STATE)
    second = tl.zeros((WINDOWS, CHANNELS), STATE)
    for k in range(RUN):
        row = start + k * WINDOWS
        mask = (row < rows)[:, None] & (channel < channels)[None, :]
        value = tl.load(x + t * x_step + row[:, None] * channels + channel[None, :], mask=mask, other=0).to(STATE)
        away = tl.where(mask, value - around, 0)
        first += away
        second = fused(away, away, second)
    tiles = tl.num_programs(0) // tl.cdiv(channels, CHANNELS)
    store_sums(sums + (t * tiles + number) * 2 * channels, first, second, columns)
