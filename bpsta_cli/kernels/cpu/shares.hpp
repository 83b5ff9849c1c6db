// In which parts a sum over images is taken, whatever the number of threads: README.md in the folder above.

#pragma once

#include <algorithm>
#include <cstdint>

namespace bpsta {

constexpr int64_t SAMPLE_SHARES = 12;         // of the samples of a batch
constexpr int64_t QUARTERS = 4;               // of each of them, so that more threads have work
constexpr int64_t SHARES = SAMPLE_SHARES * QUARTERS;

struct Range {
    int64_t begin, end;
};

// What belongs to a share, of `each` rows or strips for every sample, sample after sample.
inline Range share_of(int64_t share, int64_t batch, int64_t each) {
    const int64_t sample_share = share / QUARTERS, quarter = share % QUARTERS;
    const int64_t first = sample_share * batch / SAMPLE_SHARES * each;
    const int64_t count = (sample_share + 1) * batch / SAMPLE_SHARES * each - first;
    return {first + quarter * count / QUARTERS, first + (quarter + 1) * count / QUARTERS};
}

// `out` [size] = the sums of the shares [SHARES, size], added in their order.
inline void add_shares(const double *__restrict sums, double *__restrict out, int64_t size) {
    std::copy_n(sums, size, out);
    for (int64_t share = 1; share < SHARES; ++share) {
#pragma omp simd
        for (int64_t i = 0; i < size; ++i) out[i] += sums[share * size + i];
    }
}

} // namespace bpsta
