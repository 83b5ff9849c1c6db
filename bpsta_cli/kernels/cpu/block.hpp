// What the forward and the backward pass of a block (norm, ReLU, neuron and max pooling) share: its arrays and sizes,
// how its images are divided into strips that fit the cache, and the input current.
//
// Images lie channels last: a row of an image is width * channels values without a gap. A value of each channel is
// repeated along such a row ("tiled") for as many columns as are worked on at once. README.md in the folder above has
// the equations.

#pragma once

#include "rules.hpp"

#include <algorithm>
#include <vector>

namespace bpsta {

constexpr int64_t SCRATCH_BYTES = 16 * 1024;  // potentials of a strip: they and its input stay in the first cache
constexpr int64_t MIN_STRIP_CHANNELS = 64;    // of a strip, where it does not hold them all

// One call's arrays and sizes. `x` holds all steps, or one for all of them (x_step = 0). The statistics, and what is
// made from them, hold a set of `channels` values, or one a step (norm_step = channels).
template <typename Real> struct Block {
    const Real *x;
    int64_t x_step, steps, batch, height, width, channels, pool;
    Real floor; // 0: ReLU; -infinity: none
    Real threshold, decay;
    const Real *scale, *shift, *mean;
    int64_t norm_step;
    Real spike_cost; // what each spike adds to the loss
    Silent<Real> silent;

    int64_t sets() const { return norm_step ? steps : 1; }
    int64_t step_size() const { return batch * height * width * channels; }
    int64_t pooled_height() const { return height / pool; }
    int64_t pooled_width() const { return width / pool; }
    int64_t pooled_size() const { return batch * pooled_height() * pooled_width() * channels; }
};

// A part of one image: `rows` rows, as many as are pooled together where the image goes on, `columns` columns and
// `channels` channels. A row of it is one piece of memory, or one a column where it does not hold all channels.
struct Strip {
    int64_t image, row, rows, column, columns, channel, channels, pieces, piece;
};

// How images are divided into strips that fit the cache: across their channels only where one window is too large.
template <typename Real> struct Tiling {
    int64_t columns, channels, across, deep, down, of_image, count;

    explicit Tiling(const Block<Real> &a) {
        const int64_t values = SCRATCH_BYTES / int64_t(sizeof(Real)), window = a.steps * a.pool * a.pool;
        const int64_t fitting = std::max(values / window, int64_t(1)); // channels of a window
        const int64_t windows = std::max(fitting / a.channels, int64_t(1));
        columns = std::min(windows * a.pool, (a.width + a.pool - 1) / a.pool * a.pool);
        const int64_t group = std::max(fitting / MIN_STRIP_CHANNELS * MIN_STRIP_CHANNELS, MIN_STRIP_CHANNELS);
        channels = std::min(fitting < a.channels ? group : a.channels, a.channels);
        across = (a.width + columns - 1) / columns;
        deep = (a.channels + channels - 1) / channels;
        down = (a.height + a.pool - 1) / a.pool;
        of_image = down * across * deep;
        count = a.batch * of_image;
    }

    int64_t row_size() const { return columns * channels; } // of a strip, in elements
    // columns that a value of each channel is repeated for: a piece of a strip lies on them
    int64_t tiled_columns() const { return deep == 1 ? columns : 1; }

    Strip strip(const Block<Real> &a, int64_t index) const {
        const int64_t channel = index % deep * channels, column = index / deep % across * columns;
        const int64_t row = index / deep / across % down * a.pool;
        const int64_t wide = std::min(columns, a.width - column), thick = std::min(channels, a.channels - channel);
        const bool whole = deep == 1;
        return {index / deep / across / down, row, std::min(a.pool, a.height - row), column, wide, channel, thick,
                whole ? 1 : wide, whole ? wide * thick : thick};
    }
};

// Where a strip's rows lie in the arrays.
template <typename Real> struct Place {
    const Block<Real> &a;
    const Strip s;

    int64_t at(int64_t row, int64_t piece) const {
        return ((s.image * a.height + s.row + row) * a.width + s.column + piece) * a.channels + s.channel;
    }
    int64_t pooled() const {
        return ((s.image * a.pooled_height() + s.row / a.pool) * a.pooled_width() + s.column / a.pool) * a.channels +
               s.channel;
    }
    bool is_pooled() const { return a.pool == 2 && s.rows == 2; } // a last odd row is not
    // Calls visit(offset in the arrays, offset in the strip's own rows of `row_size` elements) for every piece.
    template <typename Visit> void pieces(int64_t row_size, const Visit &visit) const {
        for (int64_t row = 0; row < s.rows; ++row)
            for (int64_t piece = 0; piece < s.pieces; ++piece) visit(at(row, piece), row * row_size + piece * s.piece);
    }
};

template <typename Real> std::vector<Real> tiled(const Real *values, int64_t sets, int64_t channels, int64_t columns) {
    std::vector<Real> tile(size_t(sets * columns * channels));
    for (int64_t set = 0; set < sets; ++set)
        for (int64_t column = 0; column < columns; ++column)
            std::copy_n(values + set * channels, channels, tile.data() + (set * columns + column) * channels);
    return tile;
}

// The input current max(x scale + shift, floor), and NaN for NaN.
template <typename Real> INLINE Real current(Real x, Real scale, Real shift, Real floor) {
    const Real y = fused(x, scale, shift);
    return y < floor ? floor : y;
}

} // namespace bpsta
