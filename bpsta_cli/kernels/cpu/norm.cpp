// Batch norm by itself: its statistics, and its backward pass over an input that is the same at every step.

#include "block.hpp"
#include "norm.hpp"

using namespace bpsta;

namespace {

constexpr int64_t TILE = 256; // elements at least that a sum over rows takes at once
constexpr int64_t FLUSH = 32; // values that are summed in Real before the sum goes on in double

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

// `norm_backward` over [rows, C]: `grad` becomes gain grad + slope (x - mean) + offset.
template <typename Real>
void norm_backward_rows(const Real *x, Real *grad, int64_t rows, int64_t channels, const Real *mean, const Real *gain,
                        const Real *slope, const Real *offset, int threads) {
    const int64_t repeats = std::max(TILE / channels, int64_t(1)), n = repeats * channels, size = rows * channels;
    const auto means = tiled(mean, 1, channels, repeats), gains = tiled(gain, 1, channels, repeats),
               slopes = tiled(slope, 1, channels, repeats), offsets = tiled(offset, 1, channels, repeats);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t start = 0; start < size; start += n)
        norm_backward(x + start, grad + start, means.data(), gains.data(), slopes.data(), offsets.data(), grad + start,
                      std::min(n, size - start));
}

} // namespace

// Sizes in elements; what each array holds stands with the functions above.
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void moments_##name(const Real *x, int64_t x_step, int64_t steps, int64_t rows, int64_t channels,       \
                                   const Real *origin, double *sums, int threads) {                                    \
        moments<Real>(x, x_step, steps, rows, channels, origin, sums, threads);                                        \
    }                                                                                                                  \
    extern "C" void norm_backward_##name(const Real *x, Real *grad, int64_t rows, int64_t channels, const Real *mean,  \
                                         const Real *gain, const Real *slope, const Real *offset, int threads) {       \
        norm_backward_rows<Real>(x, grad, rows, channels, mean, gain, slope, offset, threads);                         \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
