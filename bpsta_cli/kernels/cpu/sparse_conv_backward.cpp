// The gradients of a sparse convolution, as sums over the input's spikes (sparse_conv.hpp).
//
// A spike at row y meets the kernel's row k in the output's row (y + padding - k) / stride, where that division leaves
// nothing over: where y + padding and k leave the same. All sums are taken in one order, so that the number of threads
// changes nothing.

#include <algorithm>
#include <cstring>
#include <immintrin.h>
#include <vector>

#include "sparse_conv.hpp"

namespace {

constexpr int64_t FRAMES_BYTES = 1 << 18; // of frames worked on at once: they stay in the second-level cache

// The gradient of an image of the output lies in a frame of zeros, so that what a spike would meet outside adds
// nothing.
struct Frame {
    int64_t above, left, height, width;

    explicit Frame(const Sizes &a)
        : above((a.kernel_height - 1) / a.stride), left((a.kernel_width - 1) / a.stride),
          height(above + (a.height - 1 + a.padding) / a.stride + 1),
          width(left + (a.width - 1 + a.padding) / a.stride + 1) {}
};

// The spikes of `images` in channels [first, last), sorted by channel and by what is left over of their row and column:
// `list` has the places in the frames where the kernel's first row and column meet them, `begin` where each kind
// begins.
void sort(const Sizes &a, const Frame &frame, int64_t images, const int32_t *starts, const Place *places,
          int64_t first, int64_t last, std::vector<int32_t> &begin, std::vector<int32_t> &list) {
    const int64_t kinds = a.stride * a.stride;
    const auto each = [&](auto &&visit) {
        for (int64_t image = 0; image < images; ++image) {
            const int32_t *start = starts + image * a.starts();
            const Place *const place = places + image * a.room();
            for (int64_t y = 0; y < a.height; ++y)
                for (int64_t x = 0; x < a.width; ++x, ++start) {
                    const int64_t row = y + a.padding, column = x + a.padding, at_row = frame.above + row / a.stride;
                    const int64_t kind = row % a.stride * a.stride + column % a.stride;
                    const int64_t at = (image * frame.height + at_row) * frame.width + frame.left + column / a.stride;
                    for (int32_t spike = start[0]; spike < start[1]; ++spike) {
                        const int64_t channel = place[spike] - x * a.channels;
                        if (channel >= first && channel < last) visit((channel - first) * kinds + kind, int32_t(at));
                    }
                }
        }
    };
    std::fill(begin.begin(), begin.end(), 0);
    each([&](int64_t kind, int32_t) { ++begin[size_t(kind + 2)]; });
    for (size_t kind = 2; kind < begin.size(); ++kind) begin[kind] += begin[kind - 1];
    if (size_t(begin.back()) > list.size()) list.resize(size_t(begin.back()));
    each([&](int64_t kind, int32_t at) { list[size_t(begin[size_t(kind + 1)]++)] = at; });
}

// The weights' gradient, of LANES * V filters at once: for each channel and place of the kernel the sum of what the
// channel's spikes meet there, of some images by themselves before these are added.
template <int V>
void weights(const Sizes &a, const int32_t *starts, const Place *places, const float *grad, float *out, int threads) {
    constexpr int64_t width = LANES * V;
    const Frame frame(a);
    const int64_t area = frame.height * frame.width, kinds = a.stride * a.stride;
    const int64_t together = std::clamp(FRAMES_BYTES / (area * width * int64_t(sizeof(float))), int64_t(1), a.images);
    const int64_t groups = (a.filters + width - 1) / width;
    const int64_t shares = std::min((threads + groups - 1) / groups, a.channels); // of the channels, one a thread
    const int64_t rows = std::min(a.out_height, frame.height - frame.above);      // others see nothing but padding
    const int64_t columns = std::min(a.out_width, frame.width - frame.left);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t item = 0; item < groups * shares; ++item) {
        const int64_t group = item / shares, share = item % shares;
        const int64_t first = share * a.channels / shares, last = (share + 1) * a.channels / shares;
        const int64_t filled = std::min(width, a.filters - group * width);
        std::vector<float> framed(size_t(together * area * width), 0.0F);
        std::vector<int32_t> begin(size_t((last - first) * kinds + 2)), list;
        for (int64_t done = 0; done < a.images; done += together) {
            const int64_t images = std::min(together, a.images - done);
            sort(a, frame, images, starts + done * a.starts(), places + done * a.room(), first, last, begin, list);
            for (int64_t image = 0; image < images; ++image)
                for (int64_t y = 0; y < rows; ++y)
                    for (int64_t x = 0; x < columns; ++x)
                        std::memcpy(
                            &framed[size_t(
                                (image * area + (frame.above + y) * frame.width + frame.left + x) * width)],
                            grad + (((done + image) * a.out_height + y) * a.out_width + x) * a.filters + group * width,
                            size_t(filled) * sizeof(float));
            for (int64_t channel = first; channel < last; ++channel)
                for (int64_t k = 0; k < a.kernel_height * a.kernel_width; ++k) {
                    const int64_t y = k / a.kernel_width, x = k % a.kernel_width;
                    const int64_t kind = (channel - first) * kinds + y % a.stride * a.stride + x % a.stride;
                    const int64_t back = y / a.stride * frame.width + x / a.stride;
                    const int32_t from = begin[size_t(kind)], to = begin[size_t(kind + 1)];
                    if (from == to) continue;
                    Vector sum[V] = {};
                    for (int32_t spike = from; spike < to; ++spike) {
                        const float *const row = framed.data() + (list[size_t(spike)] - back) * width;
#pragma GCC unroll 8
                        for (int j = 0; j < V; ++j) sum[j] += *reinterpret_cast<const Vector *>(row + LANES * j);
                    }
                    float *const into =
                        out + ((group * a.kernel_height * a.kernel_width + k) * a.channels + channel) * width;
                    for (int j = 0; j < V; ++j) *reinterpret_cast<Vector *>(into + LANES * j) += sum[j];
                }
        }
    }
}

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

// The gradient of the weights, added to `out` in the order of sparse_conv.cpp's weights, for groups of `group` filters:
// 16, 32 or 64. `grad` is that of the output [images, out_height, out_width, filters].
extern "C" void sparse_conv_weight_gradient_float32(const Sizes *sizes, int64_t group, const int32_t *starts,
                                                    const Place *places, const float *grad, float *out, int threads) {
    const auto chosen = group == 64 ? weights<8> : group == 32 ? weights<4> : weights<2>;
    chosen(*sizes, starts, places, grad, out, threads);
}

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
