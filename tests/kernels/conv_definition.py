"""A convolution and its input's gradient as README.md in kernels/ defines them: one rounded operation after another.

Numbers are fractions, so each fused multiply-add is exact before its one rounding.
"""

import functools
import itertools
from fractions import Fraction

import numpy as np


def rounded(value, dtype):
    """A fraction as the nearest number of `dtype`, of two the even one."""
    near = dtype(float(value))  # for float32 rounded twice: one of its neighbours may be nearer
    candidates = [near, np.nextafter(near, dtype(-np.inf)), np.nextafter(near, dtype(np.inf))]
    bits = {4: np.int32, 8: np.int64}[np.dtype(dtype).itemsize]
    return min(candidates, key=lambda c: (abs(Fraction(float(c)) - value), int(c.view(bits)) & 1))


def fma(a, b, c):
    """a b + c, rounded once; a zero is +0, as it is at the end of every sum."""
    return rounded(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)), type(c))


def forward(x, w, bias, stride, padding):
    """[N, C, H, W], [F, C, kh, kw], [F] -> [N, F, H', W']: a chain from the bias on."""
    (images, channels, height, width), (filters, _, kh, kw) = x.shape, w.shape
    out_height, out_width = (height + 2 * padding - kh) // stride + 1, (width + 2 * padding - kw) // stride + 1
    out = np.zeros((images, filters, out_height, out_width), x.dtype)
    for n, f, i, j in np.ndindex(out.shape):
        total = bias[f]
        for ky, kx, c in np.ndindex(kh, kw, channels):
            y, z = i * stride + ky - padding, j * stride + kx - padding
            if 0 <= y < height and 0 <= z < width:
                total = fma(x[n, c, y, z], w[f, c, ky, kx], total)
        out[n, f, i, j] = total + x.dtype.type(0)
    return out


def input_gradient(grad, w, shape, stride, padding):
    """[N, F, H', W'] -> [N, C, H, W]: 8 chains over kernel row, column and each eighth filter, then their tree."""
    filters, _, kh, kw = w.shape
    out = np.zeros(shape, grad.dtype)
    for n, c, y, z in np.ndindex(shape):
        lanes = [grad.dtype.type(0)] * 8
        for ky, kx, f in np.ndindex(kh, kw, filters):
            (i, over), (j, also) = divmod(y + padding - ky, stride), divmod(z + padding - kx, stride)
            if over == also == 0 and 0 <= i < grad.shape[2] and 0 <= j < grad.shape[3]:
                lanes[f % 8] = fma(grad[n, f, i, j], w[f, c, ky, kx], lanes[f % 8])
        halves = functools.reduce(lambda s, half: [s[i] + s[i + half] for i in range(half)], (4, 2, 1), lanes)
        out[n, c, y, z] = halves[0] + grad.dtype.type(0)
    return out


def blocks_of_shares(images, batch, height, width):
    """For each of 12 shares of the samples its blocks, each a list of output rows (image, row)."""
    for share in range(12):
        samples = range(share * batch // 12, (share + 1) * batch // 12)
        numbers = [step * batch + sample for step in range(images // batch) for sample in samples]
        if height * width <= 1024:
            together = 1024 // (height * width)
            cuts = [numbers[i : i + together] for i in range(0, len(numbers), together)]
            blocks = [[(number, row) for number in cut for row in range(height)] for cut in cuts]
        else:
            rows = max(1024 // width, 1)
            cuts = [range(height)[i : i + rows] for i in range(0, height, rows)]
            blocks = [[(number, row) for row in cut] for number in numbers for cut in cuts]
        if blocks:
            yield blocks


def weight_gradient(x, grad, kernel, stride, padding, batch):
    """[N, C, H, W], [N, F, H', W'] -> [F, C, kh, kw]: a chain over a block's pixels; blocks, then shares, are added."""
    (images, channels, height, width), (_, filters, out_height, out_width) = x.shape, grad.shape
    out = np.zeros((filters, channels, *kernel), x.dtype)
    for f, c, ky, kx in np.ndindex(out.shape):

        def chain(rows, f=f, c=c, ky=ky, kx=kx):
            total = x.dtype.type(0)
            for (n, i), j in itertools.product(rows, range(out_width)):
                y, z = i * stride + ky - padding, j * stride + kx - padding
                if 0 <= y < height and 0 <= z < width:
                    total = fma(x[n, c, y, z], grad[n, f, i, j], total)
            return total

        def add(values):
            return functools.reduce(lambda a, b: a + b, values)

        shares = blocks_of_shares(images, batch, out_height, out_width)
        out[f, c, ky, kx] = add(add(map(chain, blocks)) for blocks in shares) + x.dtype.type(0)
    return out
