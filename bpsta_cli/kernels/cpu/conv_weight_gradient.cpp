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
#include <vector>

#include "conv.hpp"
#include "vector.hpp"
#include "weight_sums.hpp"

namespace bpsta {
namespace {

constexpr int64_t CHUNK_PIXELS = 128;      // of the output, whose gradient stays in the first-level cache
constexpr int64_t SUMS_BYTES = 72 * 1024;  // of one piece of work: they stay in the second-level cache
constexpr int64_t SHORT_SUMS_BYTES = 1 << 14; // the same where a share has few pixels: in the first-level cache
constexpr int64_t SHORT_PIXELS = 128;
constexpr int64_t MAX_COLUMNS = 128;       // of one piece of work, at each place of the kernel
constexpr int64_t FEW_CHANNELS = 8;        // below which a tile takes the columns of a whole row of the kernel
constexpr int64_t MIN_LANES_COLUMNS = 16;  // channels from which those of a 1 x 1 kernel are the vectors' lanes
constexpr int64_t LINE_BYTES = 64;

// Where a pixel's values begin in the two copies, in elements.
struct Meeting {
    int32_t x, grad;
};

// Images whose pixels lie at any steps from each other, their channels side by side.
template <typename Real> struct Images {
    const Real *values;
    int64_t image, row, pixel; // steps, in elements
    int64_t channels;
};

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

// Output rows [row, row + rows) of an image, with the input's rows [top, bottom) that they meet, and for each place of
// the kernel the pixels that meet.
struct Piece {
    int64_t row, rows, top, bottom;
    std::vector<std::vector<Meeting>> places;
};

// What all threads read. The columns of a place are those of the broadcast factor `x`, the lanes are those of `grad`.
template <typename Real, int BYTES> struct Work {
    static constexpr int64_t GROUP = 2 * Vector<Real, BYTES>::LANES; // filters that a tile takes

    Images<Real> x, grad;
    int64_t images, batch, height, width, out_height, out_width; // height and width of x
    int64_t kernel_height, kernel_width, stride, padding;
    int64_t lane_step, column_step; // between the results of two lanes and two channels
    Real *out;
    bool whole_rows;                    // of the kernel: a place is one row of it
    int64_t columns;                    // at a place
    int64_t pixel_step, row_pixels;     // in the copy of x
    int64_t groups_at_once, columns_at_once, places_at_once;
    int64_t together;                   // whole images in a chunk
    std::vector<std::vector<Piece>> blocks; // of an image

    Work(const Sizes &a, int64_t batch_size, const Real *input, const Real *gradient, Real *result, int threads)
        : x{input, a.height * a.width * a.channels, a.width * a.channels, a.channels, a.channels},
          grad{gradient, a.out_height * a.out_width * a.filters, a.out_width * a.filters, a.filters, a.filters},
          images(a.images), batch(batch_size), height(a.height), width(a.width), out_height(a.out_height),
          out_width(a.out_width), kernel_height(a.kernel_height), kernel_width(a.kernel_width), stride(a.stride),
          padding(a.padding), lane_step(a.channels * a.kernel_height * a.kernel_width),
          column_step(a.kernel_height * a.kernel_width), out(result) {
        if (kernel_height * kernel_width == 1 && padding == 0) by_itself();
        whole_rows = x.channels < FEW_CHANNELS && kernel_width > 1;
        columns = whole_rows ? kernel_width * x.channels : x.channels;
        divide(threads);
        const int64_t line = LINE_BYTES / int64_t(sizeof(Real));
        // an odd number of cache lines: neighbouring pixels would otherwise take each other's place in the cache
        pixel_step = whole_rows ? x.channels : (columns_at_once + line - 1) / line / 2 * 2 * line + line;
        row_pixels = whole_rows ? (out_width - 1) * stride + kernel_width : width;
        cut();
    }

    int64_t places() const { return whole_rows ? kernel_height : kernel_height * kernel_width; }
    int64_t groups() const { return (grad.channels + GROUP - 1) / GROUP; }
    int64_t parts() const { return (columns + columns_at_once - 1) / columns_at_once; }
    int64_t rounds() const { return (groups() + groups_at_once - 1) / groups_at_once; }
    int64_t layers() const { return (places() + places_at_once - 1) / places_at_once; }
    int64_t items() const { return parts() * rounds() * layers(); }

    // A 1 x 1 kernel sees each output's pixel by itself. The result lies row by row in the order of its channels: these
    // are the lanes then, so that whole vectors are written.
    void by_itself() {
        x.row *= stride, x.pixel *= stride;
        height = out_height, width = out_width, stride = 1;
        if (x.channels < MIN_LANES_COLUMNS) return;
        std::swap(x, grad);
        lane_step = 1, column_step = grad.channels;
    }

    // How much one piece of work takes; less where there would be too few for all threads.
    void divide(int threads) {
        const int64_t share = (images + SAMPLE_SHARES - 1) / SAMPLE_SHARES * out_height * out_width;
        const int64_t bytes = share <= SHORT_PIXELS ? SHORT_SUMS_BYTES : SUMS_BYTES;
        const int64_t sums = std::max(bytes / (GROUP * int64_t(sizeof(Real))), int64_t(1));
        places_at_once = places();
        const int64_t most = whole_rows ? columns : std::max(std::min(sums / places_at_once, MAX_COLUMNS), int64_t(12));
        const auto evenly = [](int64_t n, int64_t limit) {
            const int64_t pieces = (n + limit - 1) / limit;
            return (n + pieces - 1) / pieces;
        };
        columns_at_once = evenly(columns, std::min(columns, most));
        groups_at_once = evenly(groups(), std::clamp(sums / (places_at_once * columns_at_once), int64_t(1), groups()));
        const int64_t wanted = threads > 1 ? 4 * threads : 1;
        while (items() < wanted && groups_at_once > 1) groups_at_once = (groups_at_once + 1) / 2;
        while (items() < wanted && !whole_rows && columns_at_once > 24) columns_at_once = (columns_at_once + 1) / 2;
        if (items() < wanted) places_at_once = 1;
    }

    // The blocks of an image, each in pieces of about a chunk.
    void cut() {
        const SampleShare share = sample_share(0, images, batch, out_height, out_width);
        const int64_t area = out_height * out_width;
        together = std::clamp(CHUNK_PIXELS / area, int64_t(1), share.images_in_block());
        const int64_t rows = area <= CHUNK_PIXELS ? out_height : std::max(CHUNK_PIXELS / out_width, int64_t(1));
        for (int64_t first = 0; first < out_height; first += share.rows_in_block()) {
            const int64_t last = std::min(first + share.rows_in_block(), out_height);
            blocks.emplace_back();
            for (int64_t row = first; row < last; row += rows)
                blocks.back().push_back(piece(row, std::min(rows, last - row)));
        }
    }

    Piece piece(int64_t row, int64_t rows) const {
        const int64_t top = std::clamp(row * stride - padding, int64_t(0), height);
        const int64_t bottom = std::clamp((row + rows - 1) * stride - padding + kernel_height, top, height);
        Piece made{row, rows, top, bottom, std::vector<std::vector<Meeting>>(size_t(places()))};
        for (int64_t place = 0; place < places(); ++place)
            for (int64_t image = 0; image < together; ++image)
                for (int64_t y = row; y < row + rows; ++y)
                    meet(made, place, image, y);
        return made;
    }

    // Adds the pixels of an output's row to the list of a place.
    void meet(Piece &made, int64_t place, int64_t image, int64_t y) const {
        const int64_t from = y * stride + (whole_rows ? place : place / kernel_width) - padding;
        if (from < 0 || from >= height) return;
        const int64_t x_row = (image * (made.bottom - made.top) + from - made.top) * row_pixels;
        const int64_t grad_row = (image * made.rows + y - made.row) * out_width;
        for (int64_t column = 0; column < out_width; ++column) {
            const int64_t at = column * stride + (whole_rows ? 0 : place % kernel_width - padding);
            if (at < 0 || at >= row_pixels) continue;
            made.places[size_t(place)].push_back(
                {int32_t((x_row + at) * pixel_step), int32_t((grad_row + column) * GROUP)});
        }
    }

    int64_t largest_piece() const { // pixels of x
        int64_t most = 0;
        for (const auto &pieces : blocks)
            for (const Piece &each : pieces) most = std::max(most, together * (each.bottom - each.top) * row_pixels);
        return most;
    }
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
        for (int64_t index = 0; index < SAMPLE_SHARES; ++index) {
            const SampleShare share = sample_share(index, w.images, w.batch, w.out_height, w.out_width);
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
            All::of(last - first)(x.data() + first, of_group, meetings, count, from ? from + at : nullptr, into + at, add);
        }
    }

    // Copies the input's rows of image `number` that a piece meets to be image `i` of the chunk. Where a place is a row
    // of the kernel, the border beside them stays 0.
    void copy_x(int64_t number, int64_t i, const Piece &piece) {
        const int64_t left = w.whole_rows ? w.padding : 0, wide = std::min(w.width, w.row_pixels - left);
        const int64_t channels = w.whole_rows ? w.x.channels : columns;
        for (int64_t row = piece.top; row < piece.bottom; ++row) {
            const Real *from = w.x.values + number * w.x.image + row * w.x.row + first_column;
            Real *to = x.data() + ((i * (piece.bottom - piece.top) + row - piece.top) * w.row_pixels + left) * w.pixel_step;
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
void weight_gradient(const Sizes &a, int64_t batch, const Real *x, const Real *grad, Real *out, int threads) {
    const Work<Real, VECTOR_BYTES> work(a, batch, x, grad, out, threads);
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
// kernel_height, kernel_width] is written whole. The images are those of images / batch steps, one step after another.
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void conv_weight_gradient_##name(const Sizes *sizes, int64_t batch, const Real *x, const Real *grad,    \
                                                Real *out, int threads) {                                              \
        bpsta::weight_gradient<Real>(*sizes, batch, x, grad, out, threads);                                            \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
