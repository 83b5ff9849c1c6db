// The weights of a convolution [filters, channels, kernel height, kernel width] in the orders in which they are read.

#include "conv.hpp"
#include "conv_tile.hpp"

#include <algorithm>

using namespace bpsta;

namespace {

constexpr int64_t SIDE = 8; // of a square of values that is transposed at once

template <typename Real> INLINE void transpose(const Real *const *from, Real (*to)[SIDE]) {
    for (int64_t i = 0; i < SIDE; ++i)
        for (int64_t j = 0; j < SIDE; ++j) to[j][i] = from[i][j];
}

INLINE void transpose(const float *const *from, float (*to)[SIDE]) {
    __m256 r[SIDE], t[SIDE];
#pragma GCC unroll 8
    for (int i = 0; i < SIDE; ++i) r[i] = _mm256_loadu_ps(from[i]);
#pragma GCC unroll 4
    for (int i = 0; i < SIDE; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < SIDE; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        _mm256_storeu_ps(to[i], _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(to[i + 4], _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

// Puts the weights of 8 filters at a time, for each channel and place of the kernel, where `target` says. What is
// missing to 8 filters is 0.
template <typename Real, typename Target>
void pack(const Sizes &a, const Real *weights, Target &&target, int threads) {
    const int64_t places = a.kernel_height * a.kernel_width, length = a.channels * places;
    const int64_t eights = (a.filters + SIDE - 1) / SIDE, pieces = (length + SIDE - 1) / SIDE;
#pragma omp parallel num_threads(threads)
    {
        Real copied[SIDE][SIDE] = {}, square[SIDE][SIDE];
#pragma omp for schedule(static)
        for (int64_t eight = 0; eight < eights; ++eight) {
            const int64_t filters = std::min(SIDE, a.filters - eight * SIDE);
            for (int64_t piece = 0; piece < pieces; ++piece) {
                const int64_t first = piece * SIDE, many = std::min(SIDE, length - first);
                const Real *from[SIDE];
                for (int64_t f = 0; f < SIDE; ++f) {
                    const Real *const row = weights + (eight * SIDE + f) * length + first;
                    if (f < filters && many == SIDE) from[f] = row;
                    else {
                        for (int64_t i = 0; i < SIDE; ++i) copied[f][i] = f < filters && i < many ? row[i] : Real(0);
                        from[f] = copied[f];
                    }
                }
                transpose(from, square);
                int64_t channel = first / places, place = first % places;
                for (int64_t i = 0; i < many; ++i) {
                    Real *const to = target(eight, channel, place);
                    std::copy_n(square[i], SIDE, to);
                    if (++place == places) place = 0, ++channel;
                }
            }
        }
    }
}

} // namespace

// For the convolution, in groups of `group` filters (a multiple of 8):
// [group][kernel row][kernel column][channel][filter in group], filled up with zeros to a multiple of 8 filters.
// For the gradient of the input, in groups of `group` channels:
// [group][kernel row][kernel column][eight filters][channel in group][filter], to whole eights, `out` being zeros.
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void conv_pack_filters_##name(const Sizes *sizes, int64_t group, const Real *weights, Real *out,        \
                                             int threads) {                                                            \
        const Sizes &a = *sizes;                                                                                       \
        const int64_t places = a.kernel_height * a.kernel_width;                                                       \
        const auto to = [&](int64_t eight, int64_t channel, int64_t place) {                                           \
            const int64_t first = eight * SIDE;                                                                        \
            return out + ((first / group * places + place) * a.channels + channel) * group + first % group;            \
        };                                                                                                             \
        pack<Real>(a, weights, to, threads);                                                                           \
    }                                                                                                                  \
    extern "C" void conv_pack_channels_##name(const Sizes *sizes, int64_t group, const Real *weights, Real *out,       \
                                              int threads) {                                                           \
        const Sizes &a = *sizes;                                                                                       \
        const int64_t places = a.kernel_height * a.kernel_width, eights = (a.filters + SIDE - 1) / SIDE;               \
        const auto to = [&](int64_t eight, int64_t channel, int64_t place) {                                           \
            const int64_t before = (channel / group * places + place) * eights + eight;                                \
            return out + (before * group + channel % group) * SIDE;                                                    \
        };                                                                                                             \
        pack<Real>(a, weights, to, threads);                                                                           \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
