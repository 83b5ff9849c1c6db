// Norm, ReLU, neuron and max pooling as one operation, forward and backward: the convolution's output is read,
// and all T steps of a few image rows go through the block while they are in the cache.
//
// Images lie channels last: a row of an image is width * channels values without a gap, and one value a channel is
// repeated along it ("tiled") for as many columns as are worked on at once. README.md beside this file has the
// equations. Sums over an image are taken in a fixed number of shares, so that the number of threads changes nothing.

#include "rules.hpp"

#include <algorithm>
#include <memory>
#include <vector>

using namespace bpsta;

namespace {

constexpr int64_t SHARES = 64;                // of the work: a sum is taken in each, then over them
constexpr int64_t SCRATCH_BYTES = 128 * 1024; // potentials of a strip, kept in the cache between the two passes
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

// A part of one image: `rows` rows, as many as are pooled together where the image goes on, and `columns` columns.
struct Strip {
    int64_t image, row, rows, column, columns;
};

// How an image is cut into strips that fit the cache.
template <typename Real> struct Cut {
    int64_t columns, across, down, count;

    explicit Cut(const Block<Real> &a) {
        const int64_t fitting = SCRATCH_BYTES / int64_t(sizeof(Real)) / (a.steps * a.pool * a.channels);
        columns = std::min(std::max(fitting / a.pool, int64_t(1)) * a.pool, (a.width + a.pool - 1) / a.pool * a.pool);
        across = (a.width + columns - 1) / columns;
        down = (a.height + a.pool - 1) / a.pool;
        count = a.batch * down * across;
    }

    Strip strip(const Block<Real> &a, int64_t index) const {
        const int64_t column = index % across * columns, row = index / across % down * a.pool;
        return {index / across / down, row, std::min(a.pool, a.height - row), column,
                std::min(columns, a.width - column)};
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

// Forward: spikes `out` [T, B, H / pool, W / pool, C]; `fired` [SHARES], how many neurons fired, before pooling.
template <typename Real> void forward(const Block<Real> &a, Real *out, double *fired, int threads) {
    const Cut<Real> cut(a);
    const int64_t most = cut.columns * a.channels;
    const auto scales = tiled(a.scale, a.sets(), a.channels, cut.columns);
    const auto shifts = tiled(a.shift, a.sets(), a.channels, cut.columns);
#pragma omp parallel num_threads(threads)
    {
        std::vector<Real> v(size_t(a.pool * most)), o(size_t(a.pool * most));
#pragma omp for schedule(static)
        for (int64_t share = 0; share < SHARES; ++share) {
            double total = 0;
            for (int64_t index = share * cut.count / SHARES; index < (share + 1) * cut.count / SHARES; ++index) {
                const Strip s = cut.strip(a, index);
                const int64_t n = s.columns * a.channels;
                std::fill(v.begin(), v.end(), Real(0));
                for (int64_t t = 0; t < a.steps; ++t) {
                    const int64_t tile = a.norm_step ? t * most : 0;
                    Real *const target = out + t * a.pooled_size() +
                                         ((s.image * a.pooled_height() + s.row / a.pool) * a.pooled_width() +
                                          s.column / a.pool) * a.channels;
                    for (int64_t r = 0; r < s.rows; ++r) {
                        const Real *row =
                            a.x + t * a.x_step + ((s.image * a.height + s.row + r) * a.width + s.column) * a.channels;
                        total += double(fire(row, scales.data() + tile, shifts.data() + tile, v.data() + r * most,
                                             a.pool == 1 ? target : o.data() + r * most, n, a));
                    }
                    if (a.pool == 2 && s.rows == 2)
                        pool_spikes(o.data(), o.data() + most, target, s.columns / 2, a.channels);
                }
            }
            fired[share] = total;
        }
    }
}

template <typename Real> struct Scratch {
    std::vector<Real> u, g, carry, sum, sum_x, total;
    Scratch(int64_t steps, int64_t pool, int64_t most)
        : u(size_t(steps * pool * most)), g(size_t(pool * most)), carry(size_t(pool * most)), sum(size_t(most)),
          sum_x(size_t(most)), total(size_t(pool * most)) {}
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

template <typename Real>
void flush(std::vector<Real> &sum, std::vector<Real> &sum_x, double *sums, int64_t columns, int64_t channels) {
    for (int64_t column = 0; column < columns; ++column) {
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
            sums[c] += double(sum[size_t(column * channels + c)]);
            sums[channels + c] += double(sum_x[size_t(column * channels + c)]);
        }
    }
    std::fill(sum.begin(), sum.end(), Real(0));
    std::fill(sum_x.begin(), sum_x.end(), Real(0));
}

// Backward to the norm's output. `grad_out` as `out` of forward; `grad_y` [T or 1, B, H, W, C], for one step that
// stands for all the sum over them; `sums` [SHARES, sets, 2, C]: of grad_y, and of grad_y (x - mean).
template <typename Real>
void backward(const Block<Real> &a, const Real *grad_out, Real *grad_y, double *sums, Descend<Real> step,
              const void *rule, int threads) {
    const Cut<Real> cut(a);
    const int64_t most = cut.columns * a.channels, per_share = a.sets() * 2 * a.channels;
    const auto scales = tiled(a.scale, a.sets(), a.channels, cut.columns);
    const auto shifts = tiled(a.shift, a.sets(), a.channels, cut.columns);
    const auto means = tiled(a.mean, a.sets(), a.channels, cut.columns);
#pragma omp parallel num_threads(threads)
    {
        Scratch<Real> w(a.steps, a.pool, most);
#pragma omp for schedule(static)
        for (int64_t share = 0; share < SHARES; ++share) {
            double *const into = sums + share * per_share;
            for (int64_t index = share * cut.count / SHARES; index < (share + 1) * cut.count / SHARES; ++index) {
                const Strip s = cut.strip(a, index);
                const int64_t n = s.columns * a.channels;
                const auto row = [&](int64_t r) {
                    return ((s.image * a.height + s.row + r) * a.width + s.column) * a.channels;
                };
                for (int64_t t = 0; t < a.steps; ++t)
                    for (int64_t r = 0; r < s.rows; ++r) {
                        const int64_t tile = a.norm_step ? t * most : 0;
                        charge(a.x + t * a.x_step + row(r), scales.data() + tile, shifts.data() + tile,
                               t ? w.u.data() + ((t - 1) * a.pool + r) * most : nullptr,
                               w.u.data() + (t * a.pool + r) * most, n, a);
                    }
                std::fill(w.carry.begin(), w.carry.end(), Real(0));
                std::fill(w.total.begin(), w.total.end(), Real(0));
                const bool pooled = a.pool == 2 && s.rows == 2;
                if (a.pool == 2) std::fill(w.g.begin(), w.g.end(), Real(0)); // a last odd row or column gets no error
                for (int64_t t = a.steps - 1; t >= 0; --t) {
                    const int64_t tile = a.norm_step ? t * most : 0;
                    const Real *const u = w.u.data() + t * a.pool * most;
                    const Real *const g = grad_out + t * a.pooled_size() +
                                          ((s.image * a.pooled_height() + s.row / a.pool) * a.pooled_width() +
                                           s.column / a.pool) * a.channels;
                    if (pooled)
                        unpool(g, u, u + most, w.g.data(), w.g.data() + most, s.columns / 2, a.channels, a.threshold);
                    for (int64_t r = 0; r < s.rows; ++r) {
                        const Real *const x = a.x + t * a.x_step + row(r);
                        const Real *const g_row = a.pool == 1 ? g : w.g.data() + r * most;
                        Real *const grad = a.x_step ? grad_y + t * a.step_size() + row(r) : w.total.data() + r * most;
                        step({x, scales.data() + tile, shifts.data() + tile, means.data() + tile, u + r * most, g_row,
                              w.carry.data() + r * most, grad, w.sum.data(), w.sum_x.data(), n, a.x_step == 0},
                             a, rule);
                    }
                    if (a.norm_step) flush(w.sum, w.sum_x, into + t * 2 * a.channels, s.columns, a.channels);
                }
                if (!a.norm_step) flush(w.sum, w.sum_x, into, s.columns, a.channels);
                if (!a.x_step)
                    for (int64_t r = 0; r < s.rows; ++r)
                        std::copy_n(w.total.data() + r * most, n, grad_y + row(r));
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
                    if (taken % FLUSH == 0 || from == end) flush(sum, squares, into, repeats, channels);
                }
            }
        }
    }
}

// Through the norm's statistics, in place: grad_x = gain grad_y + slope (x - mean) + offset, each [sets, C].
template <typename Real>
void centre(const Real *x, int64_t x_step, Real *grad, int64_t steps, int64_t rows, int64_t channels, const Real *mean,
            const Real *gain, const Real *slope, const Real *offset, int64_t norm_step, int threads) {
    const int64_t repeats = std::max(TILE / channels, int64_t(1)), sets = norm_step ? steps : 1;
    const auto means = tiled(mean, sets, channels, repeats), gains = tiled(gain, sets, channels, repeats),
               slopes = tiled(slope, sets, channels, repeats), offsets = tiled(offset, sets, channels, repeats);
    const int64_t n = repeats * channels, size = rows * channels, blocks = (size + n - 1) / n;
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
    for (int64_t t = 0; t < steps; ++t)
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t start = block * n, length = std::min(n, size - start), tile = norm_step ? t * n : 0;
            const Real *__restrict from = x + t * x_step + start;
            const Real *__restrict m = means.data() + tile, *__restrict a = gains.data() + tile;
            const Real *__restrict b = slopes.data() + tile, *__restrict d = offsets.data() + tile;
            Real *__restrict g = grad + t * size + start;
#pragma omp simd
            for (int64_t i = 0; i < length; ++i) g[i] = fused(a[i], g[i], fused(b[i], from[i] - m[i], d[i]));
        }
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
    extern "C" void block_backward_##name(const Block<Real> *block, const Real *grad_out, Real *grad_y, double *sums,  \
                                          int rule, double parameter, int detach_reset, int threads) {                 \
        with_rule<Real>(rule, parameter, detach_reset != 0, double(block->threshold), [&](const auto &chosen) {        \
            using Rule = std::decay_t<decltype(chosen)>;                                                               \
            backward<Real>(*block, grad_out, grad_y, sums, descend<Real, Rule>, &chosen, threads);                     \
            return true;                                                                                               \
        });                                                                                                            \
    }                                                                                                                  \
    extern "C" void centre_##name(const Real *x, int64_t x_step, Real *grad, int64_t steps, int64_t rows,              \
                                  int64_t channels, const Real *mean, const Real *gain, const Real *slope,             \
                                  const Real *offset, int64_t norm_step, int threads) {                                \
        centre<Real>(x, x_step, grad, steps, rows, channels, mean, gain, slope, offset, norm_step, threads);           \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
