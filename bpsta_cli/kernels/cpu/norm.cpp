// Batch norm by itself: its statistics, its output and its backward pass, all with an optional ReLU behind it.
//
// Images lie channels last, step after step: x is [steps, batch, rows, channels], with `rows` pixels an image. A norm's
// values (mean, scale, ...) are [sets, channels], a set for all steps or one a step. README.md in the folder above has
// the equations and the order of the sums.

#include "block.hpp"
#include "norm.hpp"
#include "shares.hpp"

#include <cmath>

using namespace bpsta;

namespace {

constexpr int64_t TILE = 256; // elements at least that are worked on at once
constexpr int64_t FLUSH = 32; // values that are summed in Real before the sum goes on in double

struct Sizes {
    int64_t steps, batch, rows, channels, sets;

    int64_t step_size() const { return batch * rows * channels; }
    // rows whose channels are worked on at once, next to each other
    int64_t repeats() const { return std::max(TILE / channels, int64_t(1)); }
    int64_t tile() const { return repeats() * channels; }
    int64_t set(int64_t t) const { return sets > 1 ? t : 0; }
};

// Two sums for each part of the samples, step and channel, added to `parts` [parts, steps, 2, channels]: `add` adds the
// values that begin at an offset from a step's first to those of its two chains.
template <typename Real, typename Add>
void sum_rows(const Sizes &s, const Held &held, double *parts, int threads, const Add &add) {
    const int64_t size = s.steps * 2 * s.channels;
#pragma omp parallel num_threads(threads)
    {
        std::vector<Real> first(size_t(s.tile()), 0), second(size_t(s.tile()), 0);
#pragma omp for schedule(static, 1)
        for (int64_t part = 0; part < held.shares() * QUARTERS; ++part) {
            const Range range = part_of(part, held, s.rows);
            for (int64_t t = 0; t < s.steps; ++t) {
                double *const into = parts + part * size + t * 2 * s.channels;
                int64_t from = range.begin * s.channels;
                const int64_t end = range.end * s.channels;
                for (int64_t taken = 1; from < end; ++taken) {
                    const int64_t length = std::min(s.tile(), end - from);
                    add(t, from, length, first.data(), second.data());
                    from += length;
                    if (taken % FLUSH == 0 || from == end)
                        flush(first.data(), second.data(), into, into + s.channels, s.repeats(), s.channels);
                }
            }
        }
    }
}

// As `sum_rows` of all samples, which are in memory; the parts are added: `sums` [steps, 2, channels].
template <typename Real, typename Add>
void sum_all_rows(const Sizes &s, double *sums, int threads, const Add &add) {
    const Held all{s.batch, 0, s.batch, 0, SAMPLE_SHARES};
    const int64_t parts = SAMPLE_SHARES * QUARTERS, size = s.steps * 2 * s.channels;
    std::vector<double> of_parts(size_t(parts * size), 0);
    sum_rows<Real>(s, all, of_parts.data(), threads, add);
    add_parts(of_parts.data(), parts, sums, size);
}

// Sums over the steps in their order, [sets, 2, channels], from those of each step.
void fold(const Sizes &s, double *sums) {
    if (s.sets > 1) return;
    for (int64_t t = 1; t < s.steps; ++t)
        for (int64_t i = 0; i < 2 * s.channels; ++i) sums[i] += sums[2 * t * s.channels + i];
}

// The sums of x - origin and of its square, by `sum` (one of the two above). Steps of `x` begin x_step from each other.
template <typename Real, typename Sum>
void sum_moments(const Real *x, int64_t x_step, const Sizes &s, const Real *origin, const Sum &sum) {
    const auto origins = tiled(origin, 1, s.channels, s.repeats());
    const Real *const __restrict around = origins.data();
    sum([=](int64_t t, int64_t start, int64_t n, Real *__restrict sums, Real *__restrict squares) {
        const Real *const __restrict from = x + t * x_step + start;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const Real away = from[i] - around[i];
            sums[i] += away;
            squares[i] = fused(away, away, squares[i]);
        }
    });
}

// Mean and biased variance [sets, channels] from those sums [steps, 2, channels], which are folded; s.batch is the whole
// batch.
template <typename Real>
void from_moments(double *sums, const Sizes &s, const Real *origin, double *mean, double *var) {
    fold(s, sums);
    const double rows = double(s.batch * s.rows * (s.sets > 1 ? 1 : s.steps));
    for (int64_t set = 0; set < s.sets; ++set)
        for (int64_t c = 0; c < s.channels; ++c) {
            const double *const of_set = sums + 2 * set * s.channels + c;
            const double away = of_set[0] / rows, spread = of_set[s.channels] / rows - away * away;
            mean[set * s.channels + c] = double(origin[c]) + away;
            var[set * s.channels + c] = spread < 0 ? 0 : spread;
        }
}

// The origin is each channel's first value, near the mean: what is squared does not cancel.
template <typename Real>
void statistics(const Real *x, int64_t x_step, const Sizes &s, double *mean, double *var, int threads) {
    std::vector<Real> origin(x, x + s.channels);
    for (Real &value : origin) value = std::isfinite(value) ? value : Real(0);
    std::vector<double> sums(size_t(s.steps * 2 * s.channels));
    sum_moments(x, x_step, s, origin.data(),
                [&](const auto &add) { sum_all_rows<Real>(s, sums.data(), threads, add); });
    from_moments(sums.data(), s, origin.data(), mean, var);
}

// A norm's values for each set, repeated for the rows that are worked on at once.
template <typename Real> struct Tiles {
    const Sizes &s;
    const std::vector<Real> values;

    Tiles(const Sizes &sizes, const Real *of_channels)
        : s(sizes), values(tiled(of_channels, s.sets, s.channels, s.repeats())) {}
    const Real *at(int64_t t) const { return values.data() + s.set(t) * s.tile(); }
};

// Calls visit(step, offset of the first element, how many) for all elements, some rows at once.
template <typename Visit> void visit_rows(const Sizes &s, int threads, const Visit &visit) {
    const int64_t pieces = (s.step_size() + s.tile() - 1) / s.tile();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t index = 0; index < s.steps * pieces; ++index) {
        const int64_t t = index / pieces, start = index % pieces * s.tile();
        visit(t, t * s.step_size() + start, std::min(s.tile(), s.step_size() - start));
    }
}

// y = max(x scale + shift, floor)
template <typename Real>
void norm_forward(const Real *x, Real *y, const Sizes &s, const Real *scale, const Real *shift, Real floor,
                  int threads) {
    const Tiles<Real> scales(s, scale), shifts(s, shift);
    visit_rows(s, threads, [=, &scales, &shifts](int64_t t, int64_t start, int64_t n) {
        const Real *__restrict from = x + start, *__restrict a = scales.at(t), *__restrict b = shifts.at(t);
        Real *__restrict to = y + start;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) to[i] = current(from[i], a[i], b[i], floor);
    });
}

// Sums of g and of g (x - mean), by `sum` as in `sum_moments`: g = grad where the ReLU let y through, else 0.
template <typename Real, typename Sum>
void gradient_sums(const Real *x, const Real *grad, const Sizes &s, const Real *scale, const Real *shift,
                   const Real *mean, Real floor, const Sum &sum_up) {
    const Tiles<Real> scales(s, scale), shifts(s, shift), means(s, mean);
    sum_up([=, &s, &scales, &shifts, &means](int64_t t, int64_t start, int64_t n, Real *__restrict sum,
                                             Real *__restrict sum_x) {
        const Real *__restrict from = x + t * s.step_size() + start, *__restrict g = grad + t * s.step_size() + start;
        const Real *__restrict a = scales.at(t), *__restrict b = shifts.at(t), *__restrict middle = means.at(t);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const Real grad_y = fused(from[i], a[i], b[i]) <= floor ? Real(0) : g[i];
            sum[i] += grad_y;
            sum_x[i] = fused(grad_y, from[i] - middle[i], sum_x[i]);
        }
    });
}

// The values of a norm that its backward pass needs, in the order in which they are passed.
template <typename Real> struct Coefficients {
    const Real *scale, *shift, *mean, *gain, *slope, *offset;
};

// `out` = gain g + slope (x - mean) + offset, with g as in `gradient_sums`; it may be x or grad itself.
template <typename Real>
void norm_backward_rows(const Real *x, const Real *grad, Real *out, const Sizes &s, Real floor,
                        const Coefficients<Real> &c, int threads) {
    const Tiles<Real> scales(s, c.scale), shifts(s, c.shift), means(s, c.mean);
    const Tiles<Real> gains(s, c.gain), slopes(s, c.slope), offsets(s, c.offset);
    visit_rows(s, threads, [=, &scales, &shifts, &means, &gains, &slopes, &offsets](int64_t t, int64_t start, int64_t n) {
        const Real *const from = x + start, *const g = grad + start;
        Real *const to = out + start;
        const Real *__restrict scale = scales.at(t), *__restrict shift = shifts.at(t), *__restrict mean = means.at(t);
        const Real *__restrict gain = gains.at(t), *__restrict slope = slopes.at(t), *__restrict offset = offsets.at(t);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const Real grad_y = fused(from[i], scale[i], shift[i]) <= floor ? Real(0) : g[i];
            to[i] = fused(gain[i], grad_y, fused(slope[i], from[i] - mean[i], offset[i]));
        }
    });
}

} // namespace

#define SIZES int64_t steps, int64_t batch, int64_t rows, int64_t channels, int64_t sets
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void norm_statistics_##name(const Real *x, int64_t x_step, SIZES, double *mean, double *var,            \
                                           int threads) {                                                              \
        statistics<Real>(x, x_step, {steps, batch, rows, channels, sets}, mean, var, threads);                         \
    }                                                                                                                  \
    extern "C" void norm_moment_parts_##name(const Real *x, int64_t x_step, SIZES, const Real *origin,                 \
                                             const Held *held, double *parts, int threads) {                           \
        const Sizes s{steps, batch, rows, channels, sets};                                                             \
        sum_moments(x, x_step, s, origin, [&](const auto &add) { sum_rows<Real>(s, *held, parts, threads, add); });    \
    }                                                                                                                  \
    extern "C" void norm_from_moments_##name(double *sums, SIZES, const Real *origin, double *mean, double *var,       \
                                             int) {                                                                    \
        from_moments<Real>(sums, {steps, batch, rows, channels, sets}, origin, mean, var);                             \
    }                                                                                                                  \
    extern "C" void norm_forward_##name(const Real *x, Real *y, SIZES, const Real *scale, const Real *shift,           \
                                        double floor, int threads) {                                                   \
        norm_forward<Real>(x, y, {steps, batch, rows, channels, sets}, scale, shift, Real(floor), threads);            \
    }                                                                                                                  \
    extern "C" void norm_gradient_sums_##name(const Real *x, const Real *grad, SIZES, const Real *scale,               \
                                              const Real *shift, const Real *mean, double floor, double *sums,         \
                                              int threads) {                                                           \
        const Sizes s{steps, batch, rows, channels, sets};                                                             \
        gradient_sums<Real>(x, grad, s, scale, shift, mean, Real(floor),                                               \
                            [&](const auto &add) { sum_all_rows<Real>(s, sums, threads, add); });                      \
        fold(s, sums);                                                                                                 \
    }                                                                                                                  \
    extern "C" void norm_gradient_parts_##name(const Real *x, const Real *grad, SIZES, const Real *scale,              \
                                               const Real *shift, const Real *mean, double floor, const Held *held,    \
                                               double *parts, int threads) {                                           \
        const Sizes s{steps, batch, rows, channels, sets};                                                             \
        gradient_sums<Real>(x, grad, s, scale, shift, mean, Real(floor),                                               \
                            [&](const auto &add) { sum_rows<Real>(s, *held, parts, threads, add); });                  \
    }                                                                                                                  \
    extern "C" void norm_fold_##name(SIZES, double *sums, int) { fold({steps, batch, rows, channels, sets}, sums); }   \
    extern "C" void norm_backward_##name(const Real *x, const Real *grad, Real *out, SIZES, double floor,              \
                                         const Coefficients<Real> *coefficients, int threads) {                        \
        norm_backward_rows<Real>(x, grad, out, {steps, batch, rows, channels, sets}, Real(floor), *coefficients,       \
                                 threads);                                                                             \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
