// How the dense convolution and its input's gradient are divided: strips of images that stay in the second-level cache,
// tiles of pixels that stand over the same places of the kernel, and blocks of terms whose weights stay in the
// first-level cache. No division changes a sum: each goes through its terms in the order of the kernel's rows, columns
// and, in a place, of the source's values.
//
// Forward, targets are the output's pixels and sources the image's. For the input's gradient, targets are the image's
// pixels and sources those of the output's gradient.

#pragma once

#include "conv.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace bpsta {

constexpr int64_t BLOCK_BYTES = 20 * 1024;   // of weights
constexpr int64_t STRIP_BYTES = 192 * 1024;  // of sources
constexpr int64_t STRIP_PIXELS = 512;        // targets, where sources are few
constexpr int64_t DIVISIONS_A_THREAD = 4;    // strips x groups at least, so that threads end together

// The places of the kernel, in a row or a column of it, that a target has sources under: `count` from `first` on, the
// kernel's step apart. `at` is the source under the first; the others follow in steps of the sources.
struct Span {
    int64_t first, count, at;
};

// The rows or the columns of all targets, sorted by the places of the kernel under which they have sources.
struct Axis {
    std::vector<Span> kinds;
    std::vector<std::vector<std::pair<int64_t, int64_t>>> members; // of each kind: target, source

    void add(int64_t target, Span span) {
        size_t kind = 0;
        while (kind < kinds.size() && (kinds[kind].first != span.first || kinds[kind].count != span.count)) ++kind;
        if (kind == kinds.size()) kinds.push_back(span), members.emplace_back();
        members[kind].emplace_back(target, span.at);
    }
};

// A walk over sources for each target; `depth` elements a source pixel in `units` terms.
struct Walk {
    int64_t images, height, width, source_height, source_width, depth, units, kernel_height, kernel_width, kernel_step,
        source_step;
    bool without_source_zero; // a target that no source reaches
    Axis rows, columns;

    static Walk forward(const Sizes &a) {
        Walk walk{a.images, a.out_height, a.out_width, a.height, a.width, a.channels, a.channels, a.kernel_height,
                  a.kernel_width, 1, 1, false, {}, {}};
        const auto span = [&](int64_t target, int64_t sources, int64_t kernel) {
            const int64_t start = target * a.stride - a.padding, first = std::max(-start, int64_t(0));
            return Span{first, std::max(std::min(sources - start, kernel) - first, int64_t(0)), start + first};
        };
        for (int64_t y = 0; y < a.out_height; ++y) walk.rows.add(y, span(y, a.height, a.kernel_height));
        for (int64_t x = 0; x < a.out_width; ++x) walk.columns.add(x, span(x, a.width, a.kernel_width));
        return walk;
    }

    // The gradient of the output has `depth` values a pixel: the filters, filled up to whole `unit`s.
    static Walk backward(const Sizes &a, int64_t depth, int64_t unit) {
        Walk walk{a.images, a.height, a.width, a.out_height, a.out_width, depth, depth / unit, a.kernel_height,
                  a.kernel_width, a.stride, -1, true, {}, {}};
        const auto span = [&](int64_t target, int64_t sources, int64_t kernel) {
            const int64_t place = target + a.padding, least = std::max(place - a.stride * (sources - 1), int64_t(0));
            const int64_t first = least + (place - least) % a.stride, last = std::min(kernel - 1, place);
            return Span{first, first > last ? 0 : (last - first) / a.stride + 1, (place - first) / a.stride};
        };
        for (int64_t y = 0; y < a.height; ++y) walk.rows.add(y, span(y, a.out_height, a.kernel_height));
        for (int64_t x = 0; x < a.width; ++x) walk.columns.add(x, span(x, a.out_width, a.kernel_width));
        return walk;
    }
};

// Images and rows of targets that are gone through together.
struct Strip {
    int64_t image, images, top, bottom;
};

inline std::vector<Strip> strips(const Walk &walk, int64_t element, int64_t groups, int threads) {
    const int64_t row_bytes = std::max(walk.source_width * walk.depth * element, int64_t(1));
    const int64_t halo = walk.kernel_height - 1;
    int64_t most = STRIP_PIXELS; // targets
    const int64_t parts = (DIVISIONS_A_THREAD * threads + groups - 1) / groups;
    if (threads > 1) most = std::min(most, std::max(walk.images * walk.height * walk.width / parts, int64_t(1)));
    int64_t rows = std::max(std::min(STRIP_BYTES / row_bytes - halo, most / std::max(walk.width, int64_t(1))),
                            int64_t(1));
    int64_t images = 1;
    if (rows >= walk.height) {
        rows = walk.height;
        const int64_t image = row_bytes * walk.source_height, pixels = std::max(rows * walk.width, int64_t(1));
        images = std::max(std::min(STRIP_BYTES / std::max(image, int64_t(1)), most / pixels), int64_t(1));
    }
    const int64_t pieces = (walk.height + rows - 1) / std::max(rows, int64_t(1));
    std::vector<Strip> found;
    for (int64_t piece = 0; piece < pieces; ++piece)
        for (int64_t image = 0; image < walk.images; image += images)
            found.push_back({image, std::min(images, walk.images - image), piece * walk.height / pieces,
                             (piece + 1) * walk.height / pieces});
    return found;
}

// A tile: so many targets of a strip, from `begin` on, of one kind of rows and columns (row kind x column kinds + column
// kind).
struct Tile {
    int64_t begin, count, kind;
};

// The targets of a strip in the order of the tiles: their sources (the first of each, in elements) and their places
// among the strip's images, from its first image on.
struct Plan {
    int64_t images = -1, top = 0, bottom = 0;
    std::vector<int64_t> sources, targets;
    std::vector<Tile> tiles;
    std::vector<int64_t> bare; // targets that no source reaches, by their places

    bool is_for(const Strip &strip) const {
        return images == strip.images && top == strip.top && bottom == strip.bottom;
    }

    void make(const Walk &walk, const Strip &strip, int64_t most) {
        images = strip.images, top = strip.top, bottom = strip.bottom;
        sources.clear(), targets.clear(), tiles.clear(), bare.clear();
        for (size_t row_kind = 0; row_kind < walk.rows.kinds.size(); ++row_kind)
            for (size_t column_kind = 0; column_kind < walk.columns.kinds.size(); ++column_kind) {
                const auto begin = int64_t(sources.size());
                const bool is_bare = walk.without_source_zero && (walk.rows.kinds[row_kind].count == 0 ||
                                                                  walk.columns.kinds[column_kind].count == 0);
                for (int64_t image = 0; image < images; ++image)
                    for (const auto &[y, source_y] : walk.rows.members[row_kind])
                        if (y >= top && y < bottom)
                            for (const auto &[x, source_x] : walk.columns.members[column_kind]) {
                                const int64_t target = (image * walk.height + y) * walk.width + x;
                                if (is_bare) {
                                    bare.push_back(target);
                                    continue;
                                }
                                sources.push_back(((image * walk.source_height + source_y) * walk.source_width +
                                                   source_x) * walk.depth);
                                targets.push_back(target);
                            }
                const int64_t count = int64_t(sources.size()) - begin, parts = (count + most - 1) / most;
                for (int64_t part = 0; part < parts; ++part) {
                    const int64_t first = part * count / parts, last = (part + 1) * count / parts;
                    tiles.push_back({begin + first, last - first,
                                     int64_t(row_kind * walk.columns.kinds.size() + column_kind)});
                }
            }
    }
};

// Where terms are: elements from a target's first source, and from the group's weights.
struct Place {
    int64_t source, weight;
};

// Terms [first, last) in each direction; a block of several rows has whole rows, one of several columns whole columns.
struct Range {
    int64_t first, last;
};
struct Block {
    Range rows, columns, units;
};

// `length` in parts of at most `most`, as even as can be.
inline std::vector<Range> parts(int64_t length, int64_t most) {
    const int64_t many = (length + most - 1) / most;
    std::vector<Range> found;
    for (int64_t part = 0; part < many; ++part) found.push_back({part * length / many, (part + 1) * length / many});
    return found;
}

// All terms in blocks of at most `most`, if a block can be so small.
inline std::vector<Block> blocks(const Walk &walk, int64_t most) {
    const int64_t row = walk.kernel_width * walk.units;
    std::vector<Block> found;
    const auto rows = parts(walk.kernel_height, std::max(most / row, int64_t(1)));
    const auto columns = parts(walk.kernel_width, row <= most ? walk.kernel_width
                                                              : std::max(most / walk.units, int64_t(1)));
    const auto units = parts(walk.units, std::max(std::min(most, walk.units), int64_t(1)));
    for (const Range &of_rows : rows)
        for (const Range &of_columns : columns)
            for (const Range &of_units : units) found.push_back({of_rows, of_columns, of_units});
    return found;
}

// The places of a block's terms for targets of one kind of rows and one of columns, `run` terms at each.
struct Work {
    std::vector<Place> places;
    int64_t run;
};

// The places of the kernel in `range` that a span has, as how manieth of the span.
inline Range within(const Span &span, const Range &range, int64_t step) {
    const auto before = [&](int64_t place) {
        return std::clamp((place - span.first + step - 1) / step, int64_t(0), span.count);
    };
    return {range.first > span.first ? before(range.first) : 0, range.last > span.first ? before(range.last) : 0};
}

// `unit` elements of the source and `width` elements of the weights a term.
inline Work work(const Walk &walk, const Block &block, const Span &row, const Span &column, int64_t unit,
                 int64_t width) {
    const int64_t step = walk.kernel_step;
    const Range rows = within(row, block.rows, step), columns = within(column, block.columns, step);
    Work found{{}, block.units.last - block.units.first};
    const bool neighbours = walk.source_step == 1 && step == 1 && found.run == walk.units; // columns in one run
    const int64_t together = neighbours ? std::max(columns.last - columns.first, int64_t(1)) : 1;
    found.run *= together;
    for (int64_t i = rows.first; i < rows.last; ++i)
        for (int64_t j = columns.first; j < columns.last; j += together) {
            const int64_t y = row.first + i * step, x = column.first + j * step, first = block.units.first;
            found.places.push_back({(i * walk.source_width + j) * walk.source_step * walk.depth + first * unit,
                                    ((y * walk.kernel_width + x) * walk.units + first) * width});
        }
    return found;
}

} // namespace bpsta
