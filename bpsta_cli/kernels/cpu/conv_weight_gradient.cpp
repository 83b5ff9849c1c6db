// The gradient of a convolution's weights: for each filter and each place and channel of its kernel, the sum over the
// output's pixels of gradient times input, in the order of weight_sums.hpp.
//
// A tile is a few columns (places of the kernel and channels) times two vectors of filters. Its sums stay in registers
// while a chunk of a block's pixels goes by: a value of the input is multiplied by two vectors of the gradient. Both
// are copied first, to lie close together: the input's channels and the gradient's filters that one piece of work
// needs. For each place of the kernel a list says which pixels of the two meet; what would lie outside is not in it.
// A piece of work is a range of filters and of columns; no sum is divided, so that threads change nothing.

#include <cstring>
#include <utility>

#include "conv_weight_plan.hpp"

namespace bpsta {
namespace {

// The sums of COLUMNS columns times V vectors over a list of pixels, from those in `from` (null: from 0); they are put
// into `into`, or added to what is there. A column's sums lie 2 vectors after those of the column before.
template <typename Real, int BYTES, int V, int COLUMNS>
void chain(const Real *x, const Real *grad, const Meeting *meeting, int64_t count, const Real *from, Real *into,
           bool add) {
    using Lanes = Vector<Real, BYTES>;
    constexpr int64_t L = Lanes::LANES;
    Lanes sum[COLUMNS][V];
#pragma GCC unroll 12
    for (int column = 0; column < COLUMNS; ++column)
        for (int v = 0; v < V; ++v)
            sum[column][v] = from ? Lanes::load(from + (2 * column + v) * L) : Lanes::zero();
    for (const Meeting *const end = meeting + count; meeting < end; ++meeting) {
        const Real *const g = grad + meeting->grad, *const value = x + meeting->x;
        Lanes gradient[V];
        for (int v = 0; v < V; ++v) gradient[v] = Lanes::load(g + v * L);
#pragma GCC unroll 12
        for (int column = 0; column < COLUMNS; ++column) {
            const Lanes factor = Lanes::broadcast(value[column]);
            for (int v = 0; v < V; ++v) sum[column][v] = fma(factor, gradient[v], sum[column][v]);
        }
    }
#pragma GCC unroll 12
    for (int column = 0; column < COLUMNS; ++column)
        for (int v = 0; v < V; ++v) {
            Real *const to = into + (2 * column + v) * L;
            (add ? Lanes::load(to) + sum[column][v] : sum[column][v]).store(to);
        }
}

template <typename Real>
using Chain = void (*)(const Real *, const Real *, const Meeting *, int64_t, const Real *, Real *, bool);

// The chains of V vectors for 1, 2, ... columns: as many sums as registers hold.
template <typename Real, int BYTES, int V> struct Chains {
    static constexpr int64_t MOST = V == 2 && BYTES == 32 ? 6 : 12;
    template <size_t... COLUMNS> static Chain<Real> choose(int64_t columns, std::index_sequence<COLUMNS...>) {
        static constexpr Chain<Real> all[] = {chain<Real, BYTES, V, int(COLUMNS) + 1>...};
        return all[columns - 1];
    }
    static Chain<Real> of(int64_t columns) { return choose(columns, std::make_index_sequence<size_t(MOST)>{}); }
};

template <typename Real> inline void copy(const Real *from, int64_t n, Real *to) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

// One thread's copies and sums.
template <typename Real, int BYTES> struct Worker {
    using Lanes = Vector<Real, BYTES>;
    static constexpr int64_t GROUP = Work<Real, BYTES>::GROUP;

    const Work<Real, BYTES> &w;
    int64_t first_group = 0, groups = 0, first_column = 0, columns = 0, first_place = 0, places = 0;
    std::vector<Real> x;
    const int64_t group_step; // in the copy of the gradient; one pixel more, so that groups do not share cache sets
    std::vector<Real> grad, of_block, of_share, total;

    explicit Worker(const Work<Real, BYTES> &work)
        : w(work), x(size_t(work.largest_piece() * work.pixel_step + GROUP), Real(0)),
          group_step(work.together * work.blocks[0][0].rows * work.out_width * GROUP + GROUP),
          grad(size_t(work.groups_at_once * group_step), Real(0)),
          of_block(size_t(work.groups_at_once * work.places_at_once * work.columns_at_once * GROUP)),
          of_share(of_block.size()), total(of_block.size()) {}

    void run(int64_t item) {
        first_group = item % w.rounds() * w.groups_at_once;
        groups = std::min(w.groups_at_once, w.groups() - first_group);
        first_column = item / w.rounds() % w.parts() * w.columns_at_once;
        columns = std::min(w.columns_at_once, w.columns - first_column);
        first_place = item / w.rounds() / w.parts() * w.places_at_once;
        places = std::min(w.places_at_once, w.places() - first_place);
        bool any = false; // in `total`
        for (int64_t index = w.held.begin; index < w.held.end; ++index) {
            const SampleShare share = sample_share(index, w.images, w.held, w.out_height, w.out_width);
            const int64_t blocks = share.blocks();
            for (int64_t block = 0; block < blocks; ++block)
                sum_block(share, share.block(block), block % share.blocks_in_image(),
                          blocks == 1 ? total.data() : of_share.data(), blocks == 1 ? any : block > 0);
            if (blocks > 1)
                for (size_t i = 0; i < total.size(); ++i) total[i] = any ? total[i] + of_share[i] : of_share[i];
            any |= blocks > 0;
        }
        if (!any) std::fill(total.begin(), total.end(), Real(0));
        write();
    }

    void sum_block(const SampleShare &share, const SumBlock &block, int64_t of_image, Real *into, bool add) {
        const auto &pieces = w.blocks[size_t(of_image)];
        for (int64_t image = 0; image < block.images; image += w.together) {
            const int64_t images = std::min(w.together, block.images - image);
            for (size_t i = 0; i < pieces.size(); ++i) {
                const bool begins = image == 0 && i == 0;
                const bool ends = image + images == block.images && i + 1 == pieces.size();
                sum_chunk(share, block.image + image, images, pieces[i], begins ? nullptr : of_block.data(),
                          ends ? into : of_block.data(), ends && add);
            }
        }
    }

    void sum_chunk(const SampleShare &share, int64_t image, int64_t images, const Piece &piece, const Real *from,
                   Real *into, bool add) {
        for (int64_t i = 0; i < images; ++i) {
            copy_x(share.image(image + i), i, piece);
            copy_grad(share.image(image + i), i, piece);
        }
        for (int64_t group = 0; group < groups; ++group) {
            const int64_t filters = w.grad.channels - (first_group + group) * GROUP;
            const int64_t offset = group * places * columns * GROUP;
            const Real *const of_group = grad.data() + group * group_step;
            for (int64_t place = 0; place < places; ++place) {
                const std::vector<Meeting> &all = piece.places[size_t(first_place + place)];
                const int64_t count = int64_t(all.size()) / w.together * images, at = offset + place * columns * GROUP;
                const auto tiles = filters > Lanes::LANES ? &Worker::sum_tiles<2> : &Worker::sum_tiles<1>;
                (this->*tiles)(of_group, all.data(), count, from ? from + at : nullptr, into + at, add);
            }
        }
    }

    template <int V>
    void sum_tiles(const Real *of_group, const Meeting *meetings, int64_t count, const Real *from, Real *into,
                   bool add) {
        using All = Chains<Real, BYTES, V>;
        const int64_t tiles = (columns + All::MOST - 1) / All::MOST;
        for (int64_t tile = 0; tile < tiles; ++tile) {
            const int64_t first = tile * columns / tiles, last = (tile + 1) * columns / tiles, at = first * GROUP;
            All::of(last - first)(x.data() + first, of_group, meetings, count, from ? from + at : nullptr, into + at,
                                  add);
        }
    }

    // Copies the input's rows of image `number` that a piece meets to be image `i` of the chunk. Where a place is a row
    // of the kernel, the border beside them stays 0.
    void copy_x(int64_t number, int64_t i, const Piece &piece) {
        const int64_t left = w.whole_rows ? w.padding : 0, wide = std::min(w.width, w.row_pixels - left);
        const int64_t channels = w.whole_rows ? w.x.channels : columns;
        for (int64_t row = piece.top; row < piece.bottom; ++row) {
            const Real *from = w.x.values + number * w.x.image + row * w.x.row + first_column;
            const int64_t at = (i * (piece.bottom - piece.top) + row - piece.top) * w.row_pixels + left;
            Real *to = x.data() + at * w.pixel_step;
            if (w.x.pixel == channels && w.pixel_step == channels) copy(from, wide * channels, to);
            else
                for (int64_t pixel = 0; pixel < wide; ++pixel, from += w.x.pixel, to += w.pixel_step)
                    copy(from, channels, to);
        }
    }

    void copy_grad(int64_t number, int64_t i, const Piece &piece) {
        const int64_t filter = first_group * GROUP, filters = std::min(groups * GROUP, w.grad.channels - filter);
        const int64_t whole = filters / GROUP, left = filters % GROUP;
        Real *to = grad.data() + i * piece.rows * w.out_width * GROUP;
        for (int64_t row = piece.row; row < piece.row + piece.rows; ++row) {
            const Real *from = w.grad.values + number * w.grad.image + row * w.grad.row + filter;
            for (int64_t pixel = 0; pixel < w.out_width; ++pixel, from += w.grad.pixel, to += GROUP) {
                for (int64_t group = 0; group < whole; ++group)
                    std::memcpy(to + group * group_step, from + group * GROUP, size_t(GROUP) * sizeof(Real));
                if (left) copy(from + whole * GROUP, left, to + whole * group_step);
            }
        }
    }

    void write() const {
        const int64_t kernel = w.kernel_height * w.kernel_width;
        for (int64_t group = 0; group < groups; ++group) {
            const int64_t lane = (first_group + group) * GROUP, lanes = std::min(GROUP, w.grad.channels - lane);
            const Real *const sums = total.data() + group * places * columns * GROUP;
            if (w.lane_step == 1) {
                for (int64_t column = 0; column < columns; ++column) {
                    Real *const to = w.out + (first_column + column) * w.column_step + lane;
                    for (int64_t l = 0; l < lanes; ++l) to[l] = sums[column * GROUP + l] + Real(0);
                }
                continue;
            }
            for (int64_t l = 0; l < lanes; ++l)
                for (int64_t column = 0; column < columns; ++column)
                    for (int64_t place = 0; place < places; ++place) {
                        const int64_t q = first_column + column, k = first_place + place;
                        const int64_t channel = w.whole_rows ? q % w.x.channels : q;
                        const int64_t spot = w.whole_rows ? k * w.kernel_width + q / w.x.channels : k;
                        w.out[(lane + l) * w.lane_step + channel * kernel + spot] =
                            sums[(place * columns + column) * GROUP + l] + Real(0);
                    }
        }
    }
};

template <typename Real>
void weight_gradient(const Sizes &a, const Held &held, const Real *x, const Real *grad, Real *out, int threads) {
    const Work<Real, VECTOR_BYTES> work(a, held, x, grad, out, threads);
#pragma omp parallel num_threads(threads)
    {
        Worker<Real, VECTOR_BYTES> worker(work);
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < work.items(); ++item) worker.run(item);
    }
}

} // namespace
} // namespace bpsta

// Channels last: `x` [images, height, width, channels], `grad` that of the output; `out` [filters, channels,
// kernel_height, kernel_width] is written whole. The images are those of images / held.batch steps, one step after another.
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void conv_weight_gradient_##name(const Sizes *sizes, const bpsta::Held *held, const Real *x,            \
                                                const Real *grad, Real *out, int threads) {                            \
        bpsta::weight_gradient<Real>(*sizes, *held, x, grad, out, threads);                                            \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
