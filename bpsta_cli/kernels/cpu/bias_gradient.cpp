// The gradient of a bias: for each filter the sum of the output's gradient over all pixels, in the order of
// weight_sums.hpp, as the weights' gradient with an input of ones.

#include "vector.hpp"
#include "weight_sums.hpp"

namespace bpsta {
namespace {

// One number, for the filters that do not fill a vector.
template <typename Real> struct Scalar {
    static constexpr int64_t LANES = 1;
    Real value;

    static Scalar zero() { return {0}; }
    static Scalar load(const Real *from) { return {*from}; }
    void store(Real *to) const { *to = value; }
    friend Scalar operator+(Scalar a, Scalar b) { return {a.value + b.value}; }
};

// The sums of COUNT times as many filters as `Lanes` holds; `grad` and `out` begin at the first of them.
template <typename Real, typename Lanes, int COUNT>
void sum_filters(const Real *grad, int64_t filters, int64_t images, const Held &held, int64_t height, int64_t width,
                 Real *out) {
    Lanes total[COUNT], of_share[COUNT];
    bool any = false;
    for (Lanes &each : total) each = Lanes::zero();
    for (int64_t index = held.begin; index < held.end; ++index) {
        const SampleShare share = sample_share(index, images, held, height, width);
        const int64_t blocks = share.blocks();
        for (int64_t number = 0; number < blocks; ++number) {
            const SumBlock block = share.block(number);
            Lanes sum[COUNT];
            for (Lanes &each : sum) each = Lanes::zero();
            for (int64_t image = block.image; image < block.image + block.images; ++image) {
                const Real *g = grad + (share.image(image) * height + block.row) * width * filters;
                for (const Real *const end = g + block.rows * width * filters; g != end; g += filters)
                    for (int i = 0; i < COUNT; ++i) sum[i] = sum[i] + Lanes::load(g + i * Lanes::LANES);
            }
            for (int i = 0; i < COUNT; ++i) of_share[i] = number ? of_share[i] + sum[i] : sum[i];
        }
        for (int i = 0; i < COUNT && blocks; ++i) total[i] = any ? total[i] + of_share[i] : of_share[i];
        any |= blocks > 0;
    }
    for (int i = 0; i < COUNT; ++i) (total[i] + Lanes::zero()).store(out + i * Lanes::LANES);
}

// The filters in groups of four vectors, then of one, then each by itself.
template <typename Real>
void bias_gradient(const Real *grad, int64_t filters, int64_t images, const Held &held, int64_t height, int64_t width,
                   Real *out, int threads) {
    using Lanes = Vector<Real, VECTOR_BYTES>;
    constexpr int64_t L = Lanes::LANES, WIDE = 4 * L;
    const int64_t wide = filters / WIDE, narrow = filters % WIDE / L, single = filters % L;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t group = 0; group < wide + narrow + single; ++group) {
        const int64_t first = group < wide ? group * WIDE
                              : group < wide + narrow ? wide * WIDE + (group - wide) * L
                                                      : filters - single + (group - wide - narrow);
        const auto chosen = group < wide ? sum_filters<Real, Lanes, 4>
                            : group < wide + narrow ? sum_filters<Real, Lanes, 1>
                                                    : sum_filters<Real, Scalar<Real>, 1>;
        chosen(grad + first, filters, images, held, height, width, out + first);
    }
}

} // namespace
} // namespace bpsta

// `grad` [images, height, width, filters] channels last, of images / held.batch steps; `out` [filters].
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void bias_gradient_##name(const Real *grad, int64_t filters, int64_t images, const bpsta::Held *held,   \
                                         int64_t height, int64_t width, Real *out, int threads) {                      \
        bpsta::bias_gradient<Real>(grad, filters, images, *held, height, width, out, threads);                         \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
