// A block's forward pass: the convolution's output is read, and all T steps of a strip of an image go through norm,
// ReLU, neuron and max pooling while they are in the cache (block.hpp).

#include "block.hpp"

using namespace bpsta;

namespace {

// The spikes of one row, from its potentials after the reset; returns how many.
template <typename Real>
INLINE Real fire(const Real *__restrict x, const Real *__restrict scale, const Real *__restrict shift,
                 Real *__restrict v, Real *__restrict spikes, int64_t n, const Block<Real> &a) {
    const Real floor = a.floor, threshold = a.threshold, decay = a.decay;
    Real spike_count = 0;
#pragma omp simd reduction(+ : spike_count)
    for (int64_t i = 0; i < n; ++i) {
        const Real u = decay * v[i] + current(x[i], scale[i], shift[i], floor);
        const Real o = u >= threshold ? Real(1) : Real(0);
        spikes[i] = o;
        v[i] = u - u * o;
        spike_count += o;
    }
    return spike_count;
}

// The spikes of two rows, pooled two by two.
template <typename Real>
INLINE void pool_spikes(const Real *__restrict upper, const Real *__restrict lower, Real *__restrict out,
                        int64_t columns, int64_t channels) {
    for (int64_t column = 0; column < columns; ++column) {
        const int64_t left = 2 * column * channels, right = left + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c)
            out[column * channels + c] =
                std::max(std::max(upper[left + c], upper[right + c]), std::max(lower[left + c], lower[right + c]));
    }
}

// Spikes `out` [T, B, H / pool, W / pool, C]; `spike_count`, how many neurons fired before pooling, is a whole number
// and so exact in whatever order it is added up.
template <typename Real> void forward(const Block<Real> &a, Real *out, double *spike_count, int threads) {
    const Tiling<Real> tiling(a);
    const int64_t row_size = tiling.row_size(), columns = tiling.tiled_columns(), length = columns * a.channels;
    const auto scales = tiled(a.scale, a.sets(), a.channels, columns);
    const auto shifts = tiled(a.shift, a.sets(), a.channels, columns);
    double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
        std::vector<Real> v(size_t(a.pool * row_size)), o(size_t(a.pool * row_size));
#pragma omp for schedule(static)
        for (int64_t index = 0; index < tiling.count; ++index) {
            const Place<Real> place{a, tiling.strip(a, index)};
            const Strip &s = place.s;
            std::fill(v.begin(), v.end(), Real(0));
            for (int64_t t = 0; t < a.steps; ++t) {
                const int64_t tile = (a.norm_step ? t * length : 0) + s.channel;
                Real *const target = out + t * a.pooled_size() + place.pooled();
                place.pieces(row_size, [&](int64_t from, int64_t to) {
                    total += double(fire(a.x + t * a.x_step + from, scales.data() + tile, shifts.data() + tile,
                                         v.data() + to, a.pool == 1 ? target : o.data() + to, s.piece, a));
                });
                if (place.is_pooled())
                    pool_spikes(o.data(), o.data() + row_size, target, s.columns / 2, s.channels);
            }
        }
    }
    *spike_count = total;
}

} // namespace

#define ENTRIES(Real, name)                                                                                            \
    extern "C" void block_forward_##name(const Block<Real> *block, Real *out, double *spike_count, int threads) {      \
        forward<Real>(*block, out, spike_count, threads);                                                              \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
