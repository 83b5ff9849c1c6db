// Which samples of a batch lie in memory, and which shares of its sums are to be added: processes may divide a batch.
//
// Shares are of the whole batch, by the numbers of its samples, so that a share has the same samples whoever holds them:
// README.md in the folder above.

#pragma once

#include <algorithm>
#include <cstdint>

namespace bpsta {

constexpr int64_t SAMPLE_SHARES = 12; // of the samples: more processes than one can divide them evenly

struct Held {
    int64_t batch;      // samples in memory
    int64_t first, of;  // the number of the first of them in the whole batch, and how many that has
    int64_t begin, end; // shares [begin, end) are added

    int64_t shares() const { return end - begin; }
    // Where a share of the whole batch begins, among the samples in memory.
    int64_t at(int64_t share) const { return std::clamp(share * of / SAMPLE_SHARES - first, int64_t(0), batch); }
};

} // namespace bpsta
