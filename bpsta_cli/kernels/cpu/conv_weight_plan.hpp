// How the gradient of a convolution's weights is divided: pieces of work, chunks of pixels, and which pixels meet.

#pragma once

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
    const Held held;
    int64_t images, height, width, out_height, out_width; // height and width of x
    int64_t kernel_height, kernel_width, stride, padding;
    int64_t lane_step, column_step; // between the results of two lanes and two channels
    Real *out;
    bool whole_rows;                    // of the kernel: a place is one row of it
    int64_t columns;                    // at a place
    int64_t pixel_step, row_pixels;     // in the copy of x
    int64_t groups_at_once, columns_at_once, places_at_once;
    int64_t together;                   // whole images in a chunk
    std::vector<std::vector<Piece>> blocks; // of an image

    Work(const Sizes &a, const Held &samples, const Real *input, const Real *gradient, Real *result, int threads)
        : x{input, a.height * a.width * a.channels, a.width * a.channels, a.channels, a.channels},
          grad{gradient, a.out_height * a.out_width * a.filters, a.out_width * a.filters, a.filters, a.filters},
          held(samples), images(a.images), height(a.height), width(a.width), out_height(a.out_height),
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
        const SampleShare share = sample_share(0, images, held, out_height, out_width);
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

} // namespace
} // namespace bpsta
