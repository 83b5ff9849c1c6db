// The dense convolution, and the gradient of its input. README.md in the folder above has the order of each sum, which
// depends on nothing else: not on the width of vectors, on tiles, blocks and strips (conv_plan.hpp), or on threads.
//
// Weights lie in groups (of filters, or of the input's channels): [group][kernel row][kernel column][term][vectors of
// the group], as conv_pack.cpp makes them.

#include "conv_plan.hpp"
#include "conv_tile.hpp"

#include <omp.h>

using namespace bpsta;

namespace {

constexpr int GROUP = 2; // vectors

template <typename Real, typename V> using TileFunction = void (*)(const Real *const *, const Real *, const Terms &,
                                                                   const Ends<Real> &);

template <typename Real, typename V, typename Kind, int COUNT, int... P>
TileFunction<Real, V> tile_of(int64_t pixels, std::integer_sequence<int, P...>) {
    constexpr TileFunction<Real, V> functions[] = {tile<Real, V, Kind, P + 1, COUNT, GROUP>...};
    return functions[pixels - 1];
}

template <typename Real, typename V, typename Kind, int PIXELS> struct Convolution {
    static constexpr int64_t WIDTH = GROUP * V::LANES, VALUES = WIDTH / (Kind::UNIT == 1 ? 1 : SHARED_LANES);

    const Walk &walk;
    const Real *sources, *weights, *bias; // `bias` has a vector's value for each lane; null: zeros
    Real *out;
    int64_t channels; // of the targets
    std::vector<Block> all = blocks(walk, BLOCK_BYTES / (WIDTH * int64_t(sizeof(Real))));
    std::vector<std::vector<Cut>> row_cuts{}, column_cuts{};

    int64_t groups() const { return (channels + VALUES - 1) / VALUES; }

    void run(int threads) {
        for (const Block &block : all) {
            row_cuts.push_back(cuts(walk.rows, block.rows, walk.kernel_step));
            column_cuts.push_back(cuts(walk.columns, block.columns, walk.kernel_step));
        }
        const auto divided = strips(walk, sizeof(Real), groups(), threads);
        const int64_t items = int64_t(divided.size()) * groups();
#pragma omp parallel num_threads(threads)
        {
            Plan plan;
            std::vector<Real> sums;
            const int64_t thread = omp_get_thread_num(), all_threads = omp_get_num_threads();
            for (int64_t item = thread * items / all_threads; item < (thread + 1) * items / all_threads; ++item) {
                const Strip &strip = divided[size_t(item / groups())];
                if (!plan.is_for(strip)) plan.make(walk, strip, PIXELS);
                if (all.size() > 1) sums.resize(plan.sources.size() * size_t(WIDTH));
                group_of(strip, plan, item % groups(), sums.data());
            }
        }
    }

    // A group of the targets' channels in a strip.
    void group_of(const Strip &strip, const Plan &plan, int64_t group, Real *sums) const {
        static constexpr Real zeros[WIDTH] = {};
        const int64_t filled = std::min(VALUES, channels - group * VALUES), image = walk.height * walk.width;
        const int64_t vectors = (filled * WIDTH / VALUES + V::LANES - 1) / V::LANES;
        const Real *const source = sources + strip.image * walk.source_height * walk.source_width * walk.depth;
        Real *const target = out + strip.image * image * channels + group * VALUES;
        const int64_t place = walk.units * WIDTH; // elements of the weights
        const Real *const of_group = weights + group * walk.kernel_height * walk.kernel_width * place;
        for (size_t b = 0; b < all.size(); ++b) {
            const Block &block = all[b];
            const bool first = b == 0, last = b + 1 == all.size();
            const int64_t units = block.units.last - block.units.first;
            for (const Tile &tile : plan.tiles) {
                const Cut &rows = row_cuts[b][size_t(tile.row_kind)], &columns = column_cuts[b][size_t(tile.column_kind)];
                const int64_t row = walk.rows.kinds[size_t(tile.row_kind)].first + rows.skipped * walk.kernel_step;
                const int64_t column =
                    walk.columns.kinds[size_t(tile.column_kind)].first + columns.skipped * walk.kernel_step;
                Terms terms{rows.count, columns.count, units,
                            walk.source_step * walk.source_width * walk.depth, walk.source_step * walk.depth,
                            walk.kernel_step * walk.kernel_width * place, walk.kernel_step * place};
                if (Kind::UNIT == 1 && units == walk.units) terms.columns = 1, terms.run *= columns.count;
                const Real *const w =
                    of_group + (row * walk.kernel_width + column) * place + block.units.first * WIDTH;
                const int64_t offset = (rows.skipped * walk.source_width + columns.skipped) * walk.source_step *
                                           walk.depth + block.units.first * Kind::UNIT;
                const Real *from[PIXELS];
                Real *to[PIXELS];
                for (int64_t p = 0; p < tile.count; ++p) {
                    from[p] = source + plan.sources[size_t(tile.begin + p)] + offset;
                    to[p] = target + plan.targets[size_t(tile.begin + p)] * channels;
                }
                Real *const kept = sums + tile.begin * WIDTH;
                const Real *const begin = !first ? kept : bias ? bias + group * WIDTH : zeros;
                const Ends<Real> ends{begin, first ? 0 : WIDTH, kept, last ? to : nullptr, filled};
                constexpr auto counts = std::make_integer_sequence<int, PIXELS>{};
                const auto add = vectors == 1 ? tile_of<Real, V, Kind, 1>(tile.count, counts)
                                              : tile_of<Real, V, Kind, GROUP>(tile.count, counts);
                add(from, w, terms, ends);
            }
        }
    }
};

// As many pixels as there are registers for their sums, beside those for a value and the weights.
template <typename Real> using Forward =
    Convolution<Real, Vector<Real, VECTOR_BYTES>, OfFilters, VECTOR_BYTES == 64 ? 12 : 6>;
constexpr int AT_LEAST_ALL_LANES = 64; // bytes of 8 doubles
template <typename Real> using Backward =
    Convolution<Real, Vector<Real, sizeof(Real) == 4 ? VECTOR_BYTES : AT_LEAST_ALL_LANES>, OfShares,
                VECTOR_BYTES == 64 ? 12 : sizeof(Real) == 4 ? 6 : 3>;

} // namespace

// `out` [images, out_height, out_width, filters] of `x` [images, height, width, channels]; the packed bias is filled up
// to whole groups.
// And `out` [images, height, width, channels] of the output's gradient [images, out_height, out_width, depth], where
// `depth` is the number of filters, filled up with zeros to a multiple of 8.
#define ENTRIES(Real, name)                                                                                            \
    extern "C" int64_t conv_filters_in_group_##name(int) {                                                             \
        return Forward<Real>::VALUES;                                                                                  \
    }                                                                                                                  \
    extern "C" int64_t conv_channels_in_group_##name(int) {                                                            \
        return Backward<Real>::VALUES;                                                                                 \
    }                                                                                                                  \
    extern "C" void conv_forward_##name(const Sizes *sizes, const Real *x, const Real *weights, const Real *bias,      \
                                        Real *out, int threads) {                                                      \
        const Walk walk = Walk::forward(*sizes);                                                                       \
        Forward<Real>{walk, x, weights, bias, out, sizes->filters}.run(threads);                                       \
    }                                                                                                                  \
    extern "C" void conv_input_gradient_##name(const Sizes *sizes, int64_t depth, const Real *grad,                    \
                                               const Real *weights, Real *out, int threads) {                          \
        const Walk walk = Walk::backward(*sizes, depth, SHARED_LANES);                                                 \
        Backward<Real>{walk, grad, weights, nullptr, out, sizes->channels}.run(threads);                               \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
