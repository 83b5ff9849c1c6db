// The dense convolution, and the gradient of its input. README.md in the folder above has the order of each sum, which
// depends on nothing else: not on the width of vectors, on tiles, blocks and strips (conv_plan.hpp), or on threads.
//
// Weights lie in groups (of filters, or of the input's channels): [group][kernel row][kernel column][term][vectors of
// the group], as conv_pack.cpp makes them.

#include "conv_tile.hpp"

#include <omp.h>

using namespace bpsta;

namespace {

constexpr int GROUP = 4; // vectors of weights that a value is multiplied with
// Registers for sums, beside those for a value and the weights: so many pixels times vectors.
constexpr int SUMS = VECTOR_BYTES == 64 ? 24 : 12;
constexpr int MOST_PIXELS = 12; // as many as there are registers for their addresses

template <typename Real> using TileFunction = void (*)(const Real *const *, const Real *, const Terms &,
                                                       const Ends<Real> &);

// The tile of so many pixels, from 1 to most_pixels(COUNT), and COUNT vectors.
template <typename Real, typename V, typename Kind, int COUNT, int... P>
TileFunction<Real> tile_of(int64_t pixels, std::integer_sequence<int, P...>) {
    static constexpr TileFunction<Real> functions[] = {tile<Real, V, Kind, P + 1, COUNT, GROUP>...};
    return functions[pixels - 1];
}

template <typename Real, typename V, typename Kind> struct Convolution {
    static constexpr int64_t WIDTH = GROUP * V::LANES, VALUES = WIDTH / (Kind::UNIT == 1 ? 1 : SHARED_LANES);

    const Walk &walk;
    const Real *sources, *weights, *bias; // `bias` has a value for each lane of all groups; null: zeros
    Real *out;
    int64_t channels; // of the targets
    std::vector<std::vector<Work>> blocks{}; // of each block, for each kind of rows and columns

    static constexpr int most_pixels(int64_t count) {
        return int(std::min(int64_t(MOST_PIXELS), SUMS * VECTOR_BYTES / (count * V::LANES * int64_t(sizeof(Real)))));
    }

    int64_t groups() const { return (channels + VALUES - 1) / VALUES; }
    int64_t filled(int64_t group) const { return std::min(VALUES, channels - group * VALUES); }
    int64_t vectors(int64_t group) const { return (filled(group) * WIDTH / VALUES + V::LANES - 1) / V::LANES; }

    void run(int threads) {
        for (const Block &block : bpsta::blocks(walk, BLOCK_BYTES / (WIDTH * int64_t(sizeof(Real))))) {
            blocks.emplace_back();
            for (const Span &row : walk.rows.kinds)
                for (const Span &column : walk.columns.kinds)
                    blocks.back().push_back(work(walk, block, row, column, Kind::UNIT, WIDTH));
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
                if (!plan.is_for(strip)) plan.make(walk, strip, most_pixels(vectors(0)));
                if (blocks.size() > 1) sums.resize(plan.sources.size() * size_t(WIDTH));
                const int64_t group = item % groups();
                const auto add = vectors(group) == 4   ? &Convolution::group_of<4>
                                 : vectors(group) == 3 ? &Convolution::group_of<3>
                                 : vectors(group) == 2 ? &Convolution::group_of<2>
                                                       : &Convolution::group_of<1>;
                (this->*add)(strip, plan, group, sums.data());
            }
        }
    }

    // A group of the targets' channels in a strip.
    template <int COUNT> void group_of(const Strip &strip, const Plan &plan, int64_t group, Real *sums) const {
        static constexpr Real zeros[WIDTH] = {};
        const Real *const source = sources + strip.image * walk.source_height * walk.source_width * walk.depth;
        Real *const target = out + strip.image * walk.height * walk.width * channels + group * VALUES;
        const Real *const of_group = weights + group * walk.kernel_height * walk.kernel_width * walk.units * WIDTH;
        for (const int64_t bare : plan.bare) std::fill_n(target + bare * channels, filled(group), Real(0));
        for (size_t b = 0; b < blocks.size(); ++b) {
            const bool first = b == 0, last = b + 1 == blocks.size();
            for (const Tile &tile : plan.tiles) {
                const Work &work = blocks[b][size_t(tile.kind)];
                const Terms terms{work.places.data(), int64_t(work.places.size()), work.run};
                const Real *from[MOST_PIXELS];
                Real *to[MOST_PIXELS];
                for (int64_t p = 0; p < tile.count; ++p) {
                    from[p] = source + plan.sources[size_t(tile.begin + p)];
                    to[p] = target + plan.targets[size_t(tile.begin + p)] * channels;
                }
                Real *const kept = sums + tile.begin * WIDTH;
                const Real *const begin = !first ? kept : bias ? bias + group * WIDTH : zeros;
                const Ends<Real> ends{begin, first ? 0 : WIDTH, kept, last ? to : nullptr, filled(group)};
                constexpr std::make_integer_sequence<int, most_pixels(COUNT)> pixels{};
                tile_of<Real, V, Kind, COUNT>(tile.count, pixels)(from, of_group, terms, ends);
            }
        }
    }
};

template <typename Real> using Forward = Convolution<Real, Vector<Real, VECTOR_BYTES>, OfFilters>;
constexpr int ALL_LANES = 64; // bytes of 8 doubles
template <typename Real> using Backward =
    Convolution<Real, Vector<Real, sizeof(Real) == 4 ? VECTOR_BYTES : ALL_LANES>, OfShares>;

} // namespace

// `out` [images, out_height, out_width, filters] of `x` [images, height, width, channels]; `bias` is filled up to whole
// groups. And `out` [images, height, width, channels] of the output's gradient [images, out_height, out_width, depth],
// where `depth` is the number of filters, filled up with zeros to a multiple of 8.
#define ENTRIES(Real, name)                                                                                            \
    extern "C" int64_t conv_filters_in_group_##name(int) { return Forward<Real>::VALUES; }                             \
    extern "C" int64_t conv_channels_in_group_##name(int) { return Backward<Real>::VALUES; }                           \
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
