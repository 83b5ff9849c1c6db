// Sparse convolution: where an input is 1, a row of the weights is added to each output that it reaches; where it is 0,
// nothing is done.
//
// A spike is listed by its place in an image row (sparse_conv.hpp). So the spikes that an output sees in one row of the
// kernel are neighbours in the list, and their weights' rows are found from their places. The weights lie
// [group of filters][kernel row][kernel column][input channel][filter in group].
// A group's sums stay in registers. Each is the dense convolution's (README.md in the folder above), bit for bit.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <immintrin.h>

#include "sparse_conv.hpp"

namespace {

// For each byte, which of its bits are set.
struct Bits {
    uint8_t of[256][LANES];
    constexpr Bits() : of() {
        for (int byte = 0; byte < 256; ++byte)
            for (int bit = 0, count = 0; bit < LANES; ++bit)
                if (byte >> bit & 1) of[byte][count++] = uint8_t(bit);
    }
};
constexpr Bits bits;

// Writes the places, from `first` on, of what is not 0 in `values`, and up to LANES more; returns how many. What is
// neither 0 nor 1 sets `other`.
inline int64_t list(const float *values, int64_t n, int64_t first, Place *places, bool &other) {
    const __m256 zero = _mm256_setzero_ps(), one = _mm256_set1_ps(1);
    __m256 odd = zero;
    int64_t count = 0, i = 0;
    for (; i + LANES <= n; i += LANES) {
        const __m256 value = _mm256_loadu_ps(values + i), set = _mm256_cmp_ps(value, zero, _CMP_NEQ_UQ);
        odd = _mm256_or_ps(odd, _mm256_and_ps(set, _mm256_cmp_ps(value, one, _CMP_NEQ_UQ)));
        const int mask = _mm256_movemask_ps(set);
        const __m128i found = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(bits.of[mask])));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(places + count),
                         _mm_add_epi16(found, _mm_set1_epi16(short(first + i))));
        count += __builtin_popcount(unsigned(mask));
    }
    other |= _mm256_movemask_ps(odd) != 0;
    for (; i < n; ++i) {
        places[count] = Place(first + i);
        count += values[i] != 0;
        other |= values[i] != 0 && values[i] != 1;
    }
    return count;
}

// The outputs of one group of LANES * V filters.
template <int V>
void gather(const Sizes &a, const int32_t *starts, const Place *places, const float *weights, const float *bias,
            float *out, int threads) {
    constexpr int64_t width = LANES * V;
    const int64_t groups = (a.filters + width - 1) / width, row = a.kernel_width * a.channels;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t item = 0; item < groups * a.images * a.out_height; ++item) {
        const int64_t y = item % a.out_height, image = item / a.out_height % a.images;
        const int64_t group = item / a.out_height / a.images, top = y * a.stride - a.padding;
        const int64_t first = std::max(-top, int64_t(0)), last = std::min(a.height - top, a.kernel_height);
        const int32_t *const start = starts + image * a.starts();
        const Place *const place = places + image * a.room();
        float *target = out + item % (a.images * a.out_height) * a.out_width * a.filters + group * width;
        for (int64_t x = 0; x < a.out_width; ++x, target += a.filters) {
            const int64_t left = x * a.stride - a.padding;
            const int64_t begin = std::clamp(left, int64_t(0), a.width);
            const int64_t end = std::clamp(left + a.kernel_width, int64_t(0), a.width);
            Vector sum[V];
            for (int j = 0; j < V; ++j) sum[j] = *reinterpret_cast<const Vector *>(bias + group * width + LANES * j);
            for (int64_t k = first; k < last; ++k) {
                const int64_t from = (group * a.kernel_height + k) * row - left * a.channels; // of place 0
                const int32_t *const pixels = start + (top + k) * a.width;
                for (int32_t spike = pixels[begin]; spike < pixels[end]; ++spike) {
                    const float *const added = weights + (from + place[spike]) * width;
#pragma GCC unroll 8
                    for (int j = 0; j < V; ++j) sum[j] += *reinterpret_cast<const Vector *>(added + LANES * j);
                }
            }
            const int64_t filled = std::min(width, a.filters - group * width); // the last group may be wider than left
            for (int j = 0; j < V; ++j) sum[j] += Vector{}; // a zero is +0
            if (filled == width)
                for (int j = 0; j < V; ++j) *reinterpret_cast<Vector *>(target + LANES * j) = sum[j];
            else std::copy_n(reinterpret_cast<const float *>(sum), filled, target);
        }
    }
}

} // namespace

// The spikes of images `x` [images, pixels, channels], `width` pixels a row: `places` [images, pixels * channels + 8],
// and where those of each pixel begin, `starts` [images, pixels + 1]. Returns how many there are; -1 if there are more
// than `most`, and -2 if a value is neither 0 nor 1 (either, if both are so), with nothing to be read in the lists.
extern "C" int64_t sparse_conv_list_float32(const float *x, int64_t images, int64_t pixels, int64_t width,
                                            int64_t channels, int64_t most, int32_t *starts, Place *places,
                                            int threads) {
    std::atomic<int64_t> total{0};
    std::atomic<bool> refused{false};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t image = 0; image < images; ++image) {
        if (refused.load(std::memory_order_relaxed) || total.load(std::memory_order_relaxed) > most) continue;
        int32_t *const start = starts + image * (pixels + 1);
        Place *const place = places + image * (pixels * channels + LANES);
        bool other = false;
        int64_t count = 0;
        for (int64_t pixel = 0; pixel < pixels && !other; ++pixel) {
            start[pixel] = int32_t(count);
            count += list(x + (image * pixels + pixel) * channels, channels, pixel % width * channels, place + count,
                          other);
        }
        start[pixels] = int32_t(count);
        total += count;
        if (other) refused = true;
    }
    return refused ? -2 : total > most ? -1 : int64_t(total);
}

// The convolution `out` [images, out_height, out_width, filters]. `weights` and `bias` are filled up with zeros to
// whole groups of `group` filters: 16, 32 or 64.
extern "C" void sparse_conv_forward_float32(const Sizes *sizes, int64_t group, const int32_t *starts,
                                            const Place *places, const float *weights, const float *bias, float *out,
                                            int threads) {
    const auto chosen = group == 64 ? gather<8> : group == 32 ? gather<4> : gather<2>;
    chosen(*sizes, starts, places, weights, bias, out, threads);
}
