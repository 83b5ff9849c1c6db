// Norm, ReLU, neuron and max pooling as one operation, forward and backward: the convolution's output is read,
// and all T steps of a small part of an image go through the block while they are in the cache.
//
// Images lie channels last: a row of an image is width * channels values without a gap, and one value a channel is
// repeated along it ("tiled") for as many columns as are worked on at once. README.md in the folder above has the
// equations. Sums over an image are taken in a fixed number of shares, so that the number of threads changes nothing.

#include "rules.hpp"

#include <algorithm>
#include <memory>
#include <vector>

using namespace bpsta;

namespace {

constexpr int64_t SHARES = 64;                // of the work: a sum is taken in each, then over them
constexpr int64_t SCRATCH_BYTES = 16 * 1024;  // potentials of a strip: they and its input stay in the first cache
constexpr int64_t FEWEST_CHANNELS = 64;       // of a strip, where it does not hold them all
constexpr int64_t TILE = 256;                 // elements at least that a sum over rows takes at once
constexpr int64_t FLUSH = 32;                 // values that are summed in Real before the sum goes on in double

// One call's arrays and sizes. `x` holds all steps, or one for all of them (x_step = 0). The statistics, and what is
// made from them, hold a set of `channels` values, or one a step (norm_step = channels).
template <typename Real> struct Block {
    const Real *x;
    int64_t x_step, steps, batch, height, width, channels, pool;
    Real floor; // 0: ReLU; -infinity: none
    Real threshold, decay;
    const Real *scale, *shift, *mean;
    int64_t norm_step;

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

// How an image is cut into strips that fit the cache: across its channels only where one window is too large.
template <typename Real> struct Cut {
    int64_t columns, channels, across, deep, down, count;

    explicit Cut(const Block<Real> &a) {
        const int64_t values = SCRATCH_BYTES / int64_t(sizeof(Real)), window = a.steps * a.pool * a.pool;
        const int64_t fitting = std::max(values / window, int64_t(1)); // channels of a window
        const int64_t windows = std::max(fitting / a.channels, int64_t(1));
        columns = std::min(windows * a.pool, (a.width + a.pool - 1) / a.pool * a.pool);
        const int64_t group = std::max(fitting / FEWEST_CHANNELS * FEWEST_CHANNELS, FEWEST_CHANNELS);
        channels = std::min(fitting < a.channels ? group : a.channels, a.channels);
        across = (a.width + columns - 1) / columns;
        deep = (a.channels + channels - 1) / channels;
        down = (a.height + a.pool - 1) / a.pool;
        count = a.batch * down * across * deep;
    }

    int64_t most() const { return columns * channels; } // elements of a row of a strip
    // elements of a tile of a value a channel, on which a piece of a strip lies
    int64_t tile(const Block<Real> &a) const { return deep == 1 ? most() : a.channels; }

    Strip strip(const Block<Real> &a, int64_t index) const {
        const int64_t channel = index % deep * channels, column = index / deep % across * columns;
        const int64_t row = index / deep / across % down * a.pool;
        const int64_t wide = std::min(columns, a.width - column), thick = std::min(channels, a.channels - channel);
        const bool whole = deep == 1;
        return {index / deep / across / down, row, std::min(a.pool, a.height - row), column, wide, channel, thick,
                whole ? 1 : wide, whole ? wide * thick : thick};
    }
};

template <typename Real> std::vector<Real> tiled(const Real *values, int64_t sets, int64_t channels, int64_t columns) {
    std::vector<Real> tile(size_t(sets * columns * channels));
    for (int64_t set = 0; set < sets; ++set)
        for (int64_t column = 0; column < columns; ++column)
            std::copy_n(values + set * channels, channels, tile.data() + (set * columns + column) * channels);
    return tile;
}

// max(x scale + shift, floor), and NaN for NaN.
template <typename Real> INLINE Real current(Real x, Real scale, Real shift, Real floor) {
    const Real y = fused(x, scale, shift);
    return y < floor ? floor : y;
}

// The spikes of one row, from its potentials after the reset; returns how many.
template <typename Real>
INLINE Real fire(const Real *__restrict x, const Real *__restrict scale, const Real *__restrict shift,
                 Real *__restrict v, Real *__restrict spikes, int64_t n, const Block<Real> &a) {
    const Real floor = a.floor, threshold = a.threshold, decay = a.decay;
    Real fired = 0;
#pragma omp simd reduction(+ : fired)
    for (int64_t i = 0; i < n; ++i) {
        const Real u = fused(decay, v[i], current(x[i], scale[i], shift[i], floor));
        const Real o = u >= threshold ? Real(1) : Real(0);
        spikes[i] = o;
        v[i] = fused(-u, o, u);
        fired += o;
    }
    return fired;
}

// The potentials of one row before the spike, from those of the step before (null: none).
template <typename Real>
INLINE void charge(const Real *__restrict x, const Real *__restrict scale, const Real *__restrict shift,
                   const Real *__restrict before, Real *__restrict u, int64_t n, const Block<Real> &a) {
    const Real floor = a.floor, threshold = a.threshold, decay = a.decay;
    if (before == nullptr) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) u[i] = current(x[i], scale[i], shift[i], floor);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i)
            u[i] = fused(decay, after_reset(before[i], threshold), current(x[i], scale[i], shift[i], floor));
    }
}

// The spikes of two rows, pooled two by two.
template <typename Real>
INLINE void pool_spikes(const Real *__restrict upper, const Real *__restrict lower, Real *__restrict out,
                        int64_t columns, int64_t channels) {
    for (int64_t column = 0; column < columns; ++column) {
        const int64_t left = 2 * column * channels, right = left + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c)
            out[column * channels + c] =
                std::max(std::max(upper[left + c], upper[right + c]), std::max(lower[left + c], lower[right + c]));
    }
}

// The error of pooled spikes goes to the first neuron of the four that fired, to the first of all if none did.
template <typename Real>
INLINE void unpool(const Real *__restrict grad, const Real *__restrict u_upper, const Real *__restrict u_lower,
                   Real *__restrict g_upper, Real *__restrict g_lower, int64_t columns, int64_t channels,
                   Real threshold) {
    for (int64_t column = 0; column < columns; ++column) {
        const int64_t left = 2 * column * channels, right = left + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
            const Real g = grad[column * channels + c];
            const Real first = u_upper[left + c] >= threshold ? Real(1) : Real(0);
            const Real second = u_upper[right + c] >= threshold ? 1 - first : Real(0);
            const Real third = u_lower[left + c] >= threshold ? 1 - first - second : Real(0);
            const Real fourth = u_lower[right + c] >= threshold ? 1 - first - second - third : Real(0);
            g_upper[left + c] = g * (1 - second - third - fourth);
            g_upper[right + c] = g * second;
            g_lower[left + c] = g * third;
            g_lower[right + c] = g * fourth;
        }
    }
}

// Where a strip's rows lie in the arrays, and in a tile of a value a channel.
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
    // Calls visit(offset in the arrays, offset in the strip's own rows of `most` elements) for every piece.
    template <typename Visit> void pieces(int64_t most, const Visit &visit) const {
        for (int64_t row = 0; row < s.rows; ++row)
            for (int64_t piece = 0; piece < s.pieces; ++piece) visit(at(row, piece), row * most + piece * s.piece);
    }
};

// Forward: spikes `out` [T, B, H / pool, W / pool, C]; `fired` [SHARES], how many neurons fired, before pooling.
template <typename Real> void forward(const Block<Real> &a, Real *out, double *fired, int threads) {
    const Cut<Real> cut(a);
    const int64_t most = cut.most(), length = cut.tile(a);
    const auto scales = tiled(a.scale, a.sets(), a.channels, length / a.channels);
    const auto shifts = tiled(a.shift, a.sets(), a.channels, length / a.channels);
#pragma omp parallel num_threads(threads)
    {
        std::vector<Real> v(size_t(a.pool * most)), o(size_t(a.pool * most));
#pragma omp for schedule(static)
        for (int64_t share = 0; share < SHARES; ++share) {
            double total = 0;
            for (int64_t index = share * cut.count / SHARES; index < (share + 1) * cut.count / SHARES; ++index) {
                const Place<Real> place{a, cut.strip(a, index)};
                const Strip &s = place.s;
                std::fill(v.begin(), v.end(), Real(0));
                for (int64_t t = 0; t < a.steps; ++t) {
                    const int64_t tile = (a.norm_step ? t * length : 0) + s.channel;
                    Real *const target = out + t * a.pooled_size() + place.pooled();
                    place.pieces(most, [&](int64_t from, int64_t to) {
                        total += double(fire(a.x + t * a.x_step + from, scales.data() + tile, shifts.data() + tile,
                                             v.data() + to, a.pool == 1 ? target : o.data() + to, s.piece, a));
                    });
                    if (a.pool == 2 && s.rows == 2)
                        pool_spikes(o.data(), o.data() + most, target, s.columns / 2, s.channels);
                }
            }
            fired[share] = total;
        }
    }
}

template <typename Real> struct Scratch {
    std::vector<Real> u, g, carry, grad, sum, sum_x;
    Scratch(int64_t steps, int64_t row, int64_t tile)
        : u(size_t(steps * row)), g(size_t(row)), carry(size_t(row)), grad(size_t(row)), sum(size_t(tile)),
          sum_x(size_t(tile)) {}
};

// One step of one row, for `descend`.
template <typename Real> struct Row {
    const Real *x, *scale, *shift, *mean, *u, *g;
    Real *carry, *grad, *sum, *sum_x;
    int64_t n;
    bool add; // to what is in grad
};

// From the last step to the first: dL/du from dL/do and the next step's dL/du (`carry`), through the ReLU to the
// norm's output, and its sums, alone and times x - mean.
template <typename Real, typename Rule> void descend(const Row<Real> &row, const Block<Real> &a, const void *shared) {
    const Rule rule = *static_cast<const Rule *>(shared); // its own, so that its constants stay in registers
    const Real floor = a.floor, threshold = a.threshold, decay = a.decay, kept = row.add ? Real(1) : Real(0);
    const Real *__restrict x = row.x, *__restrict scale = row.scale, *__restrict shift = row.shift;
    const Real *__restrict mean = row.mean, *__restrict u = row.u, *__restrict g = row.g;
    Real *__restrict carry = row.carry, *__restrict grad = row.grad;
    Real *__restrict sum = row.sum, *__restrict sum_x = row.sum_x;
#pragma omp simd
    for (int64_t i = 0; i < row.n; ++i) {
        const Real o = u[i] >= threshold ? Real(1) : Real(0);
        const Real spike = rule.spike(u[i], o);
        const Real reset = rule.reset(u[i], o, spike);
        const Real grad_u = fused(decay * carry[i], reset, g[i] * spike);
        carry[i] = grad_u;
        const Real grad_y = fused(x[i], scale[i], shift[i]) <= floor ? Real(0) : grad_u;
        grad[i] = kept != 0 ? grad[i] + grad_y : grad_y; // what was there may be anything, NaN too
        sum[i] += grad_y;
        sum_x[i] = fused(grad_y, x[i] - mean[i], sum_x[i]);
    }
}

template <typename Real> using Descend = void (*)(const Row<Real> &, const Block<Real> &, const void *);

// Through the norm's statistics: target = gain grad + slope (x - mean) + offset; target may be x.
template <typename Real>
INLINE void centre(const Real *x, const Real *grad, const Real *__restrict mean, const Real *__restrict gain,
                   const Real *__restrict slope, const Real *__restrict offset, Real *target, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) target[i] = fused(gain[i], grad[i], fused(slope[i], x[i] - mean[i], offset[i]));
}

// Adds the sums of `columns` times `channels` values to the channels' own, and clears them.
template <typename Real>
void flush(Real *sum, Real *sum_x, double *sums, double *sums_x, int64_t columns, int64_t channels) {
    for (int64_t column = 0; column < columns; ++column) {
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
            sums[c] += double(sum[column * channels + c]);
            sums_x[c] += double(sum_x[column * channels + c]);
        }
    }
    std::fill_n(sum, columns * channels, Real(0));
    std::fill_n(sum_x, columns * channels, Real(0));
}

// What `backward` makes, each where it is not null.
template <typename Real> struct Wanted {
    double *sums; // [SHARES, sets, 2, C]: of dL/dy, the error at the norm's output, and of dL/dy (x - mean)
    Real *total;  // [B, H, W, C]: dL/dy summed over the steps
    Real *grad_x; // [T, B, H, W, C]: gain dL/dy + slope (x - mean) + offset, with the three below; may be x itself
    const Real *gain, *slope, *offset; // [sets, C]
};

// Backward from `grad_out`, which is as `out` of forward.
template <typename Real>
void backward(const Block<Real> &a, const Real *grad_out, const Wanted<Real> &wanted, Descend<Real> step,
              const void *rule, int threads) {
    const Cut<Real> cut(a);
    const int64_t most = cut.most(), length = cut.tile(a), columns = length / a.channels;
    const auto tile_of = [&](const Real *values) { return tiled(values, a.sets(), a.channels, values ? columns : 0); };
    const auto scales = tile_of(a.scale), shifts = tile_of(a.shift), means = tile_of(a.mean);
    const auto gains = tile_of(wanted.gain), slopes = tile_of(wanted.slope), offsets = tile_of(wanted.offset);
#pragma omp parallel num_threads(threads)
    {
        Scratch<Real> w(a.steps, a.pool * most, length);
#pragma omp for schedule(static)
        for (int64_t share = 0; share < SHARES; ++share) {
            for (int64_t index = share * cut.count / SHARES; index < (share + 1) * cut.count / SHARES; ++index) {
                const Place<Real> place{a, cut.strip(a, index)};
                const Strip &s = place.s;
                const auto settle = [&](int64_t set) {
                    double *const sums = wanted.sums + (share * a.sets() + set) * 2 * a.channels + s.channel;
                    flush(w.sum.data() + s.channel, w.sum_x.data() + s.channel, sums, sums + a.channels,
                          s.pieces == 1 ? s.columns : 1, s.channels);
                };
                for (int64_t t = 0; t < a.steps; ++t) {
                    const int64_t tile = (a.norm_step ? t * length : 0) + s.channel;
                    Real *const u = w.u.data() + t * a.pool * most;
                    place.pieces(most, [&](int64_t from, int64_t to) {
                        charge(a.x + t * a.x_step + from, scales.data() + tile, shifts.data() + tile,
                               t ? u - a.pool * most + to : nullptr, u + to, s.piece, a);
                    });
                }
                std::fill(w.carry.begin(), w.carry.end(), Real(0));
                std::fill(w.grad.begin(), w.grad.end(), Real(0));
                const bool pooled = a.pool == 2 && s.rows == 2;
                if (a.pool == 2) std::fill(w.g.begin(), w.g.end(), Real(0)); // a last odd row or column gets no error
                for (int64_t t = a.steps - 1; t >= 0; --t) {
                    const int64_t tile = (a.norm_step ? t * length : 0) + s.channel;
                    const Real *const u = w.u.data() + t * a.pool * most;
                    const Real *const g = grad_out + t * a.pooled_size() + place.pooled();
                    if (pooled)
                        unpool(g, u, u + most, w.g.data(), w.g.data() + most, s.columns / 2, s.channels, a.threshold);
                    place.pieces(most, [&](int64_t from, int64_t to) {
                        const Real *const x = a.x + t * a.x_step + from;
                        Real *const grad = w.grad.data() + to;
                        step({x, scales.data() + tile, shifts.data() + tile, means.data() + tile, u + to,
                              a.pool == 1 ? g : w.g.data() + to, w.carry.data() + to, grad,
                              w.sum.data() + s.channel, w.sum_x.data() + s.channel, s.piece, wanted.total != nullptr},
                             a, rule);
                        if (wanted.grad_x)
                            centre(x, grad, means.data() + tile, gains.data() + tile, slopes.data() + tile,
                                   offsets.data() + tile, wanted.grad_x + t * a.step_size() + from, s.piece);
                    });
                    if (a.norm_step && wanted.sums) settle(t);
                }
                if (!a.norm_step && wanted.sums) settle(0);
                if (wanted.total)
                    place.pieces(most, [&](int64_t from, int64_t to) {
                        std::copy_n(w.grad.data() + to, s.piece, wanted.total + from);
                    });
            }
        }
    }
}

// Sums over the rows of `x` [steps, rows, channels] of x - origin and of its square: `sums` [SHARES, steps, 2, C].
template <typename Real>
void moments(const Real *x, int64_t x_step, int64_t steps, int64_t rows, int64_t channels, const Real *origin,
             double *sums, int threads) {
    const int64_t repeats = std::max(TILE / channels, int64_t(1)), n = repeats * channels;
    const auto origins = tiled(origin, 1, channels, repeats);
#pragma omp parallel num_threads(threads)
    {
        std::vector<Real> sum(size_t(n), 0), squares(size_t(n), 0);
#pragma omp for schedule(static)
        for (int64_t share = 0; share < SHARES; ++share) {
            for (int64_t t = 0; t < steps; ++t) {
                double *const into = sums + (share * steps + t) * 2 * channels;
                const Real *from = x + t * x_step + share * rows / SHARES * channels;
                const Real *const end = x + t * x_step + (share + 1) * rows / SHARES * channels;
                for (int64_t taken = 1; from < end; ++taken) {
                    const int64_t length = std::min(n, int64_t(end - from));
                    Real *__restrict first = sum.data(), *__restrict second = squares.data();
#pragma omp simd
                    for (int64_t i = 0; i < length; ++i) {
                        const Real away = from[i] - origins[size_t(i)];
                        first[i] += away;
                        second[i] = fused(away, away, second[i]);
                    }
                    from += length;
                    if (taken % FLUSH == 0 || from == end)
                        flush(sum.data(), squares.data(), into, into + channels, repeats, channels);
                }
            }
        }
    }
}

// `centre` over [rows, C], in place.
template <typename Real>
void centre_rows(const Real *x, Real *grad, int64_t rows, int64_t channels, const Real *mean, const Real *gain,
                 const Real *slope, const Real *offset, int threads) {
    const int64_t repeats = std::max(TILE / channels, int64_t(1)), n = repeats * channels, size = rows * channels;
    const auto means = tiled(mean, 1, channels, repeats), gains = tiled(gain, 1, channels, repeats),
               slopes = tiled(slope, 1, channels, repeats), offsets = tiled(offset, 1, channels, repeats);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t start = 0; start < size; start += n)
        centre(x + start, grad + start, means.data(), gains.data(), slopes.data(), offsets.data(), grad + start,
               std::min(n, size - start));
}

} // namespace

// Sizes in elements; what each array holds stands with the functions above.
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void moments_##name(const Real *x, int64_t x_step, int64_t steps, int64_t rows, int64_t channels,       \
                                   const Real *origin, double *sums, int threads) {                                    \
        moments<Real>(x, x_step, steps, rows, channels, origin, sums, threads);                                        \
    }                                                                                                                  \
    extern "C" void block_forward_##name(const Block<Real> *block, Real *out, double *fired, int threads) {            \
        forward<Real>(*block, out, fired, threads);                                                                    \
    }                                                                                                                  \
    extern "C" void block_backward_##name(const Block<Real> *block, const Real *grad_out, const Wanted<Real> *wanted,  \
                                          int rule, double parameter, int detach_reset, int threads) {                 \
        with_rule<Real>(rule, parameter, detach_reset != 0, double(block->threshold), [&](const auto &chosen) {        \
            using Rule = std::decay_t<decltype(chosen)>;                                                               \
            backward<Real>(*block, grad_out, *wanted, descend<Real, Rule>, &chosen, threads);                          \
            return true;                                                                                               \
        });                                                                                                            \
    }                                                                                                                  \
    extern "C" void centre_##name(const Real *x, Real *grad, int64_t rows, int64_t channels, const Real *mean,         \
                                  const Real *gain, const Real *slope, const Real *offset, int threads) {              \
        centre_rows<Real>(x, grad, rows, channels, mean, gain, slope, offset, threads);                                \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
