// What the gradients of a norm are made with: sums that go on in double, and the norm's own backward pass.

#pragma once

#include "rules.hpp"

#include <algorithm>

namespace bpsta {

// The gradient through the norm's statistics: target = gain grad + slope (x - mean) + offset; target may be x.
template <typename Real>
INLINE void norm_backward(const Real *x, const Real *grad, const Real *__restrict mean, const Real *__restrict gain,
                          const Real *__restrict slope, const Real *__restrict offset, Real *target, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) target[i] = fused(gain[i], grad[i], fused(slope[i], x[i] - mean[i], offset[i]));
}

// Adds two sums of `columns` times `channels` values to the channels' own, and clears them.
template <typename Real>
void flush(Real *first, Real *second, double *firsts, double *seconds, int64_t columns, int64_t channels) {
    for (int64_t column = 0; column < columns; ++column) {
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
            firsts[c] += double(first[column * channels + c]);
            seconds[c] += double(second[column * channels + c]);
        }
    }
    std::fill_n(first, columns * channels, Real(0));
    std::fill_n(second, columns * channels, Real(0));
}

} // namespace bpsta
