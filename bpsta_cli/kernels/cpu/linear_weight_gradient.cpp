// The gradient of a linear layer's weights where there are few images: a matrix product over the images, in the order
// of weight_sums.hpp, in which a share is one block.
//
// Both factors are copied into panels with their images in the order of the shares. A tile is a few filters times two
// vectors of inputs. It goes through all shares before the next one, and so the result, which may be far larger than
// both factors, is written once, by whole vectors.

#include <cstring>
#include <utility>
#include <vector>

#include "vector.hpp"
#include "weight_sums.hpp"

namespace bpsta {
namespace {

constexpr int64_t PANEL_BYTES = 128 * 1024; // of the inputs, and half of it of the filters, that are worked on at once
constexpr int64_t LINE_BYTES = 64;

// COLUMNS filters times V vectors: `x` has 2 vectors an image, `grad` one value of each filter every `step`; a share
// ends where `ends` says. Rows of `out` are `inputs` apart, and take `width` values.
template <typename Real, int BYTES, int V, int COLUMNS>
void sum_tile(const Real *x, const Real *grad, int64_t step, const std::vector<int64_t> &ends, Real *out,
              int64_t inputs, int64_t width) {
    using Lanes = Vector<Real, BYTES>;
    constexpr int64_t L = Lanes::LANES;
    Real total[COLUMNS * V * L]; // in memory: all registers are for the sums of a share
    int64_t begin = 0;
    for (const int64_t end : ends) {
        Lanes sum[COLUMNS][V];
#pragma GCC unroll 12
        for (int column = 0; column < COLUMNS; ++column)
            for (int v = 0; v < V; ++v) sum[column][v] = Lanes::zero();
        const Real *g = grad + begin * step;
        for (const Real *value = x + begin * 2 * L, *const last = x + end * 2 * L; value != last; value += 2 * L) {
            Lanes values[V];
            for (int v = 0; v < V; ++v) values[v] = Lanes::load(value + v * L);
#pragma GCC unroll 12
            for (int column = 0; column < COLUMNS; ++column) {
                const Lanes factor = Lanes::broadcast(g[column]);
                for (int v = 0; v < V; ++v) sum[column][v] = fma(factor, values[v], sum[column][v]);
            }
            g += step;
        }
#pragma GCC unroll 12
        for (int column = 0; column < COLUMNS; ++column)
            for (int v = 0; v < V; ++v) {
                Real *const to = total + (column * V + v) * L;
                (begin ? Lanes::load(to) + sum[column][v] : sum[column][v]).store(to);
            }
        begin = end;
    }
    for (int column = 0; column < COLUMNS; ++column, out += inputs) {
        Real *const row = total + column * V * L;
        for (int v = 0; v < V; ++v)
            (Lanes::load(row + v * L) + Lanes::zero()).store(width == V * L ? out + v * L : row + v * L);
        if (width != V * L) std::memcpy(out, row, size_t(width) * sizeof(Real));
    }
}

template <typename Real>
using Tile = void (*)(const Real *, const Real *, int64_t, const std::vector<int64_t> &, Real *, int64_t, int64_t);

// The tiles of V vectors for 1, 2, ... filters: as many sums as registers hold.
template <typename Real, int BYTES, int V> struct Tiles {
    static constexpr int64_t MOST = V == 2 && BYTES == 32 ? 6 : 12;
    template <size_t... COLUMNS> static Tile<Real> choose(int64_t columns, std::index_sequence<COLUMNS...>) {
        static constexpr Tile<Real> all[] = {sum_tile<Real, BYTES, V, int(COLUMNS) + 1>...};
        return all[columns - 1];
    }
    static Tile<Real> of(int64_t columns) { return choose(columns, std::make_index_sequence<size_t(MOST)>{}); }
};

// The images of the shares that are added, in the order of these, and where each share that is not empty ends.
struct Order {
    std::vector<int64_t> images, ends;

    Order(int64_t number, const Held &held) {
        for (int64_t index = held.begin; index < held.end; ++index) {
            const SampleShare share = sample_share(index, number, held, 1, 1);
            for (int64_t i = 0; i < share.images(); ++i) images.push_back(share.image(i));
            if (share.images()) ends.push_back(int64_t(images.size()));
        }
    }
};

template <typename Real, int BYTES>
void weight_gradient(const Real *x, const Real *grad, int64_t in_memory, const Held &held, int64_t inputs,
                     int64_t filters, Real *out, int threads) {
    constexpr int64_t GROUP = 2 * Vector<Real, BYTES>::LANES, SIZE = int64_t(sizeof(Real)), LINE = LINE_BYTES / SIZE;
    const Order order(in_memory, held);
    const int64_t number = int64_t(order.images.size());
    if (number == 0) {
        std::fill_n(out, filters * inputs, Real(0));
        return;
    }
    const int64_t groups = (inputs + GROUP - 1) / GROUP;
    const int64_t fair = (groups + threads - 1) / threads;
    const int64_t together = std::clamp(PANEL_BYTES / (number * GROUP * SIZE), int64_t(1), fair);
    const int64_t wide = std::min(std::max(PANEL_BYTES / 2 / (number * SIZE) / 12 * 12, int64_t(12)), filters);
    constexpr int64_t most = Tiles<Real, BYTES, 2>::MOST;
    const int64_t parts = (filters + wide - 1) / wide, step = (wide + LINE - 1) / LINE / 2 * 2 * LINE + LINE;
    std::vector<Real> of_filters(size_t(parts * number * step)); // [part][image][step]
#pragma omp parallel num_threads(threads)
    {
        std::vector<Real> panel(size_t(number * together * GROUP)); // [group][image][GROUP]
#pragma omp for schedule(static)
        for (int64_t part = 0; part < parts; ++part)
            for (int64_t i = 0; i < number; ++i)
                std::memcpy(&of_filters[size_t((part * number + i) * step)],
                            grad + order.images[size_t(i)] * filters + part * wide,
                            size_t(std::min(wide, filters - part * wide) * SIZE));
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < groups; first += together) {
            const int64_t last = std::min(first + together, groups);
            for (int64_t i = 0; i < number; ++i)
                for (int64_t group = first; group < last; ++group)
                    std::memcpy(&panel[size_t(((group - first) * number + i) * GROUP)],
                                x + order.images[size_t(i)] * inputs + group * GROUP,
                                size_t(std::min(GROUP, inputs - group * GROUP) * SIZE));
            for (int64_t filter = 0; filter < filters;) { // a tile's rows are written on, for all inputs of the panel
                const int64_t part = filter / wide, within = filter % wide;
                const int64_t columns = std::min({most, filters - filter, wide - within});
                const Real *const factors = &of_filters[size_t(part * number * step + within)];
                for (int64_t group = first; group < last; ++group) {
                    const int64_t width = std::min(GROUP, inputs - group * GROUP);
                    const Tile<Real> chosen = width > GROUP / 2 ? Tiles<Real, BYTES, 2>::of(columns)
                                                                : Tiles<Real, BYTES, 1>::of(columns);
                    chosen(&panel[size_t((group - first) * number * GROUP)], factors, step, order.ends,
                           out + filter * inputs + group * GROUP, inputs, width);
                }
                filter += columns;
            }
        }
    }
}

} // namespace
} // namespace bpsta

// `x` [images, inputs], `grad` [images, filters], of images / held.batch steps, at most BLOCK_PIXELS images in a share;
// `out` [filters, inputs].
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void linear_weight_gradient_##name(const Real *x, const Real *grad, int64_t images,                     \
                                                  const bpsta::Held *held, int64_t inputs, int64_t filters, Real *out, \
                                                  int threads) {                                                       \
        bpsta::weight_gradient<Real, VECTOR_BYTES>(x, grad, images, *held, inputs, filters, out, threads);             \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
