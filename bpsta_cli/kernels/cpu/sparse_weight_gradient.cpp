// The gradient of a sparse convolution's weights, in the order of weight_sums.hpp: for each channel, each of its spikes
// adds a row of the output's gradient at every place of the kernel. The dense sum adds zeros where there is no spike,
// and so has the same bits.
//
// A spike at row y meets the kernel's row k in the output's row (y + padding - k) / stride, where that division leaves
// nothing over: where y + padding and k leave the same. The spikes of a chunk, a few images of a block, are sorted by
// channel and by what is left over of their row and column; they stay in the order of their pixels.

#include <algorithm>
#include <cstring>
#include <vector>

#include "sparse_conv.hpp"
#include "vector.hpp"
#include "weight_sums.hpp"

namespace bpsta {
namespace {

constexpr int64_t FRAMES_BYTES = 1 << 18; // of frames worked on at once: they stay in the second-level cache

// Rows of the output's gradient lie in a frame of zeros, so that what a spike would meet outside adds nothing.
struct Frame {
    int64_t above, left, height, width; // of one image, where a block has the most rows

    Frame(const Sizes &a, int64_t rows)
        : above((a.kernel_height - 1) / a.stride), left((a.kernel_width - 1) / a.stride), height(rows + 2 * above),
          width(left + (a.width - 1 + a.padding) / a.stride + 1) {}
    int64_t area() const { return height * width; }
};

// Images [image, image + images) of a share, rows as in the block.
struct Chunk {
    const SampleShare &share;
    int64_t image, images, row, rows;
};

// One thread's copies and sums, for FILTERS at once.
template <int FILTERS> struct Worker {
    using Lanes = bpsta::Vector<float, VECTOR_BYTES>;
    static constexpr int64_t GROUP = FILTERS;
    static constexpr int V = FILTERS / int(Lanes::LANES);

    const Sizes &a;
    const int32_t *const starts;
    const Place *const places;
    const float *const grad;
    const Frame frame;
    const int64_t kinds, kernel, most; // images in a chunk
    int64_t group = 0, first = 0, last = 0; // channels [first, last)
    std::vector<float> framed, of_block, of_share, total; // sums: [place of the kernel][channel][filter]
    std::vector<int32_t> begin, list;

    Worker(const Sizes &sizes, const int32_t *all_starts, const Place *all_places, const float *gradient,
           const SampleShare &share)
        : a(sizes), starts(all_starts), places(all_places), grad(gradient), frame(sizes, share.rows_in_block()),
          kinds(a.stride * a.stride), kernel(a.kernel_height * a.kernel_width),
          most(std::clamp(FRAMES_BYTES / (frame.area() * GROUP * int64_t(sizeof(float))), int64_t(1),
                          share.images_in_block())),
          framed(size_t(most * frame.area() * GROUP), 0.0F) {}

    int64_t filters() const { return std::min(GROUP, a.filters - group * GROUP); }

    void run(const Held &held, int64_t of_group, int64_t from, int64_t to, float *out) {
        group = of_group, first = from, last = to;
        const size_t size = size_t(kernel * (last - first) * GROUP);
        begin.resize(size_t((last - first) * kinds + 2));
        of_block.resize(size), of_share.resize(size), total.assign(size, 0.0F);
        for (int64_t index = held.begin; index < held.end; ++index) {
            const SampleShare share = sample_share(index, a.images, held, a.out_height, a.out_width);
            const int64_t blocks = share.blocks();
            std::vector<float> &sums = blocks > 1 ? of_share : total;
            if (blocks > 1) std::fill(of_share.begin(), of_share.end(), 0.0F);
            for (int64_t block = 0; block < blocks; ++block) sum_block(share, share.block(block), sums);
            if (blocks > 1) add(of_share, total);
        }
        write(out);
    }

    static void add(const std::vector<float> &values, std::vector<float> &sums) {
        for (size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
    }

    void sum_block(const SampleShare &share, const SumBlock &block, std::vector<float> &sums) {
        const int64_t chunks = (block.images + most - 1) / most;
        if (chunks > 1) std::fill(of_block.begin(), of_block.end(), 0.0F);
        for (int64_t i = 0; i < chunks; ++i) {
            const int64_t from = i * block.images / chunks, to = (i + 1) * block.images / chunks;
            const Chunk chunk{share, block.image + from, to - from, block.row, block.rows};
            sort(chunk);
            fill_frames(chunk);
            if (chunks > 1) add_spikes<true>(of_block.data());
            else add_spikes<false>(sums.data());
        }
        if (chunks > 1) add(of_block, sums);
    }

    // `list` has the places in the frames where the kernel's first row and column meet the spikes, `begin` where each
    // kind of them begins.
    void sort(const Chunk &chunk) {
        const int64_t top = std::max(chunk.row * a.stride - a.padding, int64_t(0));
        const int64_t bottom = std::min((chunk.row + chunk.rows + frame.above) * a.stride - a.padding, a.height);
        const auto each = [&](auto &&visit) {
            for (int64_t i = 0; i < chunk.images; ++i) {
                const int64_t image = chunk.share.image(chunk.image + i);
                const Place *const place = places + image * a.room();
                for (int64_t y = top; y < bottom; ++y) {
                    const int32_t *start = starts + image * a.starts() + y * a.width;
                    for (int64_t x = 0; x < a.width; ++x, ++start) {
                        const int64_t row = y + a.padding, column = x + a.padding;
                        const int64_t at_row = frame.above + row / a.stride - chunk.row;
                        const int64_t kind = row % a.stride * a.stride + column % a.stride;
                        const int64_t at = (i * frame.height + at_row) * frame.width + frame.left + column / a.stride;
                        for (int32_t spike = start[0]; spike < start[1]; ++spike) {
                            const int64_t channel = place[spike] - x * a.channels;
                            if (channel >= first && channel < last)
                                visit((channel - first) * kinds + kind, int32_t(at));
                        }
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

    void fill_frames(const Chunk &chunk) {
        const int64_t columns = std::min(a.out_width, frame.width - frame.left); // others see nothing but padding
        for (int64_t i = 0; i < chunk.images; ++i) {
            float *const to = framed.data() + (i * frame.area() + frame.above * frame.width) * GROUP;
            const float *const from = grad + (chunk.share.image(chunk.image + i) * a.out_height + chunk.row) *
                                                 a.out_width * a.filters + group * GROUP;
            for (int64_t y = 0; y < chunk.rows; ++y)
                for (int64_t x = 0; x < columns; ++x)
                    std::memcpy(to + (y * frame.width + frame.left + x) * GROUP,
                                from + (y * a.out_width + x) * a.filters, size_t(filters()) * sizeof(float));
            const int64_t filled = chunk.rows * frame.width, all = (frame.height - frame.above) * frame.width;
            std::fill(to + filled * GROUP, to + all * GROUP, 0.0F); // a last block may have fewer rows
        }
    }

    // Each sum goes on from what is in `sums` (CONTINUED), or is added to that.
    template <bool CONTINUED> void add_spikes(float *sums) const {
        for (int64_t channel = first; channel < last; ++channel)
            for (int64_t k = 0; k < kernel; ++k) {
                const int64_t y = k / a.kernel_width, x = k % a.kernel_width;
                const int64_t kind = (channel - first) * kinds + y % a.stride * a.stride + x % a.stride;
                const int64_t back = y / a.stride * frame.width + x / a.stride;
                const int32_t from = begin[size_t(kind)], to = begin[size_t(kind + 1)];
                if (from == to) continue;
                float *const into = sums + (k * (last - first) + channel - first) * GROUP;
                Lanes sum[V];
                for (int j = 0; j < V; ++j)
                    sum[j] = CONTINUED ? Lanes::load(into + Lanes::LANES * j) : Lanes::zero();
                for (int32_t spike = from; spike < to; ++spike) {
                    const float *const row = framed.data() + (list[size_t(spike)] - back) * GROUP;
#pragma GCC unroll 8
                    for (int j = 0; j < V; ++j) sum[j] = sum[j] + Lanes::load(row + Lanes::LANES * j);
                }
                for (int j = 0; j < V; ++j) {
                    float *const to_vector = into + Lanes::LANES * j;
                    (CONTINUED ? sum[j] : Lanes::load(to_vector) + sum[j]).store(to_vector);
                }
            }
    }

    void write(float *out) const {
        const int64_t channels = last - first;
        for (int64_t filter = 0; filter < filters(); ++filter) {
            float *to = out + ((group * GROUP + filter) * a.channels + first) * kernel;
            for (int64_t channel = 0; channel < channels; ++channel)
                for (int64_t k = 0; k < kernel; ++k, ++to)
                    *to = total[size_t((k * channels + channel) * GROUP + filter)]; // never -0, as it began at 0
        }
    }
};

template <int FILTERS>
void weight_gradient(const Sizes &a, const Held &held, const int32_t *starts, const Place *places, const float *grad,
                     float *out, int threads) {
    const int64_t groups = (a.filters + Worker<FILTERS>::GROUP - 1) / Worker<FILTERS>::GROUP;
    const int64_t parts = std::min((threads + groups - 1) / groups, a.channels); // of the channels, one a thread
    const SampleShare share = sample_share(0, a.images, held, a.out_height, a.out_width);
#pragma omp parallel num_threads(threads)
    {
        Worker<FILTERS> worker(a, starts, places, grad, share);
#pragma omp for schedule(static)
        for (int64_t item = 0; item < groups * parts; ++item) {
            const int64_t part = item % parts;
            worker.run(held, item / parts, part * a.channels / parts, (part + 1) * a.channels / parts, out);
        }
    }
}

} // namespace
} // namespace bpsta

// `grad` [images, out_height, out_width, filters], the images of images / held.batch steps; the spikes are those that
// sparse_conv_list gives; `out` [filters, channels, kernel_height, kernel_width] is written whole.
extern "C" void sparse_weight_gradient_float32(const Sizes *sizes, const bpsta::Held *held, const int32_t *starts,
                                               const Place *places, const float *grad, float *out, int threads) {
    const int64_t filters = sizes->filters;
    const auto chosen = filters > 32   ? bpsta::weight_gradient<64>
                        : filters > 16 ? bpsta::weight_gradient<32>
                                       : bpsta::weight_gradient<16>;
    chosen(*sizes, *held, starts, places, grad, out, threads);
}
