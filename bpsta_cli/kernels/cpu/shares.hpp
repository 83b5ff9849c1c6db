// In which parts a sum over images is taken, whatever the number of threads: README.md in the folder above.

#pragma once

#include "held.hpp"

namespace bpsta {

constexpr int64_t QUARTERS = 4; // of each share of the samples, so that more threads have work

struct Range {
    int64_t begin, end;
};

// What belongs to a part, of `each` rows or strips for every sample, sample after sample. Parts are the quarters of the
// shares that are added, from 0 on.
inline Range part_of(int64_t part, const Held &held, int64_t each) {
    const int64_t share = held.begin + part / QUARTERS, quarter = part % QUARTERS;
    const int64_t first = held.at(share) * each, count = held.at(share + 1) * each - first;
    return {first + quarter * count / QUARTERS, first + (quarter + 1) * count / QUARTERS};
}

// `out` [size] = the sums of `count` parts [count, size], added in their order.
inline void add_parts(const double *__restrict sums, int64_t count, double *__restrict out, int64_t size) {
    std::copy_n(sums, size, out);
    for (int64_t part = 1; part < count; ++part) {
#pragma omp simd
        for (int64_t i = 0; i < size; ++i) out[i] += sums[part * size + i];
    }
}

} // namespace bpsta
