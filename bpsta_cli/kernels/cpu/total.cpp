// Long sums in one order, and sums over time steps in the order of the steps.
//
// README.md in the folder above has the order. Blocks are summed by any thread and added by one, so the number of
// threads changes nothing; a block's lanes are independent chains, so the width of vectors changes nothing either.

#include "rules.hpp"

#include <algorithm>
#include <immintrin.h>
#include <vector>

using namespace bpsta;

namespace {

constexpr int64_t BLOCK = 4096; // values
constexpr int64_t LANES = 16;
constexpr int64_t GRAIN = 65536; // values below which one thread is faster
constexpr int64_t CHUNK = 1024;  // elements whose sum over the steps stays in the first cache

constexpr int VECTOR = 4; // lanes that are added by one instruction

INLINE __m256d doubles(const float *x) { return _mm256_cvtps_pd(_mm_loadu_ps(x)); }
INLINE __m256d doubles(const double *x) { return _mm256_loadu_pd(x); }

template <bool squared, typename Real> INLINE __m256d added(__m256d sum, const Real *x) {
    const __m256d value = doubles(x);
    return _mm256_add_pd(sum, squared ? _mm256_mul_pd(value, value) : value);
}

template <bool squared, typename Real> double block_sum(const Real *x, int64_t n) {
    const int64_t whole = n / LANES * LANES;
    __m256d first = _mm256_setzero_pd(), second = first, third = first, fourth = first;
    for (int64_t i = 0; i < whole; i += LANES) {
        first = added<squared>(first, x + i);
        second = added<squared>(second, x + i + VECTOR);
        third = added<squared>(third, x + i + 2 * VECTOR);
        fourth = added<squared>(fourth, x + i + 3 * VECTOR);
    }
    Real rest[LANES] = {}; // a chain is never -0, so adding 0 changes nothing
    std::copy(x + whole, x + n, rest);
    first = added<squared>(first, rest), second = added<squared>(second, rest + VECTOR);
    third = added<squared>(third, rest + 2 * VECTOR), fourth = added<squared>(fourth, rest + 3 * VECTOR);
    double lanes[VECTOR]; // by halves: lane l and l + 8, then l and l + 4, l + 2, l + 1
    _mm256_storeu_pd(lanes, _mm256_add_pd(_mm256_add_pd(first, third), _mm256_add_pd(second, fourth)));
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

template <bool squared, typename Real> double total(const Real *x, int64_t n, int threads) {
    const int64_t blocks = (n + BLOCK - 1) / BLOCK;
    std::vector<double> sums(size_t(blocks), 0);
    if (n < GRAIN) threads = 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t block = 0; block < blocks; ++block)
        sums[size_t(block)] = block_sum<squared>(x + block * BLOCK, std::min(BLOCK, n - block * BLOCK));
    double result = 0;
    for (const double sum : sums) result += sum;
    return result;
}

// `out` [size] = x[0] + x[1] + ..., with x[t] [size] at t times x_step.
template <typename Real>
void sum_steps(const Real *x, int64_t x_step, Real *out, int64_t steps, int64_t size, int threads) {
    if (steps * size < GRAIN) threads = 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t start = 0; start < size; start += CHUNK) {
        const int64_t n = std::min(CHUNK, size - start);
        Real *__restrict sum = out + start;
        std::copy_n(x + start, n, sum);
        for (int64_t t = 1; t < steps; ++t) {
            const Real *__restrict x_t = x + t * x_step + start;
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) sum[i] += x_t[i];
        }
    }
}

} // namespace

#define ENTRIES(Real, name)                                                                                            \
    extern "C" void totals_##name(const Real *const *x, const int64_t *sizes, int64_t count, int64_t squared,          \
                                  double *out, int threads) {                                                          \
        for (int64_t i = 0; i < count; ++i)                                                                            \
            out[i] = squared ? total<true>(x[i], sizes[i], threads) : total<false>(x[i], sizes[i], threads);           \
    }                                                                                                                  \
    extern "C" void sum_steps_##name(const Real *x, int64_t x_step, Real *out, int64_t steps, int64_t size,            \
                                     int threads) {                                                                    \
        sum_steps<Real>(x, x_step, out, steps, size, threads);                                                         \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
