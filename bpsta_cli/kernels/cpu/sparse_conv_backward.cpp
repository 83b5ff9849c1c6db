// The gradient of a sparse convolution's input where that is 1, as sums over the input's spikes (sparse_conv.hpp).
//
// A spike at row y meets the kernel's row k in the output's row (y + padding - k) / stride, where that division leaves
// nothing over: where y + padding and k leave the same. Each sum is taken in one order, so that the number of threads
// changes nothing.

#include <algorithm>
#include <cstring>
#include <immintrin.h>
#include <vector>

#include "sparse_conv.hpp"

namespace {

// Adds to each spike's sum the products of V Vectors of the gradient with those of its row of weights.
template <int V>
inline void multiply(const float *grad, const float *weights, int64_t filters, const Place *begin, const Place *end,
                     int64_t first, float *sums) {
    Vector g[V];
    for (int j = 0; j < V; ++j) g[j] = *reinterpret_cast<const Vector *>(grad + LANES * j);
    for (const Place *spike = begin; spike < end; ++spike, sums += LANES) {
        const float *const row = weights + (*spike - first) * filters;
        Vector sum = *reinterpret_cast<const Vector *>(sums);
#pragma GCC unroll 8
        for (int j = 0; j < V; ++j)
            sum = Vector(_mm256_fmadd_ps(__m256(g[j]), _mm256_loadu_ps(row + LANES * j), __m256(sum)));
        *reinterpret_cast<Vector *>(sums) = sum;
    }
}

} // namespace

// The gradient of the input [images, height, width, channels] where that is 1; elsewhere `out` stays as it is. The
// weights lie [kernel row][kernel column][channel][filter].
extern "C" void sparse_conv_input_gradient_float32(const Sizes *sizes, const int32_t *starts, const Place *places,
                                                   const float *grad, const float *weights, float *out, int threads) {
    const Sizes &a = *sizes;
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> sums(size_t(a.channels * LANES)); // LANES for each spike of a pixel
#pragma omp for schedule(static)
        for (int64_t row = 0; row < a.images * a.height; ++row) {
            const int64_t image = row / a.height, y = row % a.height + a.padding;
            const int32_t *const start = starts + image * a.starts() + row % a.height * a.width;
            const Place *const place = places + image * a.room();
            for (int64_t column = 0; column < a.width; ++column) {
                const Place *const begin = place + start[column], *const end = place + start[column + 1];
                if (begin == end) continue;
                const int64_t x = column + a.padding, first = column * a.channels;
                std::fill(sums.begin(), sums.begin() + (end - begin) * LANES, 0.0F);
                for (int64_t i = y % a.stride; i < a.kernel_height; i += a.stride)
                    for (int64_t j = x % a.stride; j < a.kernel_width; j += a.stride) {
                        if (i > y || j > x || (y - i) / a.stride >= a.out_height || (x - j) / a.stride >= a.out_width)
                            continue;
                        const float *g = grad + ((image * a.out_height + (y - i) / a.stride) * a.out_width +
                                                 (x - j) / a.stride) * a.filters;
                        const float *w = weights + (i * a.kernel_width + j) * a.channels * a.filters;
                        int64_t left = a.filters;
                        const auto take = [&](auto multiplied, int64_t many) {
                            multiplied(g, w, a.filters, begin, end, first, sums.data());
                            g += many, w += many, left -= many;
                        };
                        while (left >= 64) take(multiply<8>, 64);
                        if (left >= 32) take(multiply<4>, 32);
                        if (left >= 16) take(multiply<2>, 16);
                        if (left >= 8) take(multiply<1>, 8);
                        for (const Place *spike = begin; left && spike < end; ++spike)
                            for (int64_t f = 0; f < left; ++f)
                                sums[size_t((spike - begin) * LANES + f)] =
                                    __builtin_fmaf(g[f], w[(*spike - first) * a.filters + f],
                                                   sums[size_t((spike - begin) * LANES + f)]);
                    }
                float *const target = out + (row * a.width + column) * a.channels - first;
                for (const Place *spike = begin; spike < end; ++spike) {
                    const float *const s = &sums[size_t((spike - begin) * LANES)];
                    target[*spike] = (((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))) + 0.0F;
                }
            }
        }
    }
}
