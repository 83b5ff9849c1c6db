// The innermost loop of the dense convolution and of its input's gradient: a tile of pixels, whose sums stay in
// registers while a block of the terms is added to them, one fused multiply-add after another.
//
// Forward, a lane of a vector is a filter, and a term is a value of the image times the weights of a group of filters.
// For the input's gradient a lane is one of the 8 shares of the sum over filters, and a term is 8 values of the output's
// gradient times the weights that they meet in a channel; a group is of channels.

#pragma once

#include "conv_plan.hpp"
#include "vector.hpp"

namespace bpsta {

constexpr int64_t SHARED_LANES = 8; // chains that a value of the input's gradient is summed in

// What a tile adds: at each place `run` terms, one unit of the sources after another.
struct Terms {
    const Place *places;
    int64_t count, run;
};

// Where a tile's sums come from and go to: vectors `begin_step` apart for each pixel, and what is set of `sums` (to go
// on later) and `targets` (one address a pixel, for `filled` values each).
template <typename Real> struct Ends {
    const Real *begin;
    int64_t begin_step;
    Real *sums;
    Real *const *targets;
    int64_t filled;
};

struct OfFilters { // lanes are filters
    static constexpr int64_t UNIT = 1;

    template <typename V, typename Real> INLINE static V source(const Real *from) { return V::broadcast(*from); }

    template <typename Real, typename V, int COUNT>
    INLINE static void finish(const V *sums, Real *target, int64_t filled) {
        V y[COUNT];
#pragma GCC unroll 4
        for (int v = 0; v < COUNT; ++v) y[v] = sums[v] + V::zero(); // a zero is +0
        if (filled == COUNT * V::LANES) {
#pragma GCC unroll 4
            for (int v = 0; v < COUNT; ++v) y[v].store(target + v * V::LANES);
            return;
        }
        Real kept[COUNT * V::LANES];
#pragma GCC unroll 4
        for (int v = 0; v < COUNT; ++v) y[v].store(kept + v * V::LANES);
        for (int64_t i = 0; i < filled; ++i) target[i] = kept[i];
    }
};

struct OfShares { // lanes are shares of a sum; a vector has those of one channel or two
    static constexpr int64_t UNIT = SHARED_LANES;

    template <typename V, typename Real> INLINE static V source(const Real *from) {
        if constexpr (V::LANES == SHARED_LANES) return kept(V::load(from));
        else return repeated(from);
    }

    // In a register: the compiler would load it anew for each vector of weights, and loads are what limits this loop.
    INLINE static Vector<float, 32> kept(Vector<float, 32> loaded) {
        asm("" : "+x"(loaded.value));
        return loaded;
    }
    INLINE static Vector<double, 64> kept(Vector<double, 64> loaded) { return loaded; }

#ifdef __AVX512F__
    INLINE static Vector<float, 64> repeated(const float *from) {
        return {_mm512_broadcast_f32x8(_mm256_loadu_ps(from))};
    }
#else
    INLINE static Vector<float, 64> repeated(const float *from) {
        const auto once = Vector<float, 32>::load(from);
        return {once, once};
    }
#endif

    template <typename Real, typename V, int COUNT>
    INLINE static void finish(const V *sums, Real *target, int64_t filled) {
        Real s[COUNT * V::LANES];
#pragma GCC unroll 4
        for (int v = 0; v < COUNT; ++v) sums[v].store(s + v * V::LANES);
        constexpr int64_t many = COUNT * V::LANES / SHARED_LANES;
        for (int64_t i = 0; i < many && i < filled; ++i) target[i] = tree(s + i * SHARED_LANES);
    }

    INLINE static float tree(const float *s) {
        const __m128 four = _mm_add_ps(_mm_loadu_ps(s), _mm_loadu_ps(s + 4));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(_mm_add_ss(two, _mm_movehdup_ps(two)), _mm_setzero_ps()));
    }
    INLINE static double tree(const double *s) {
        return (((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))) + 0.0;
    }
};

// Adds `terms` to the sums of P pixels, COUNT vectors each of a group of GROUP. `sources` are the pixels' first terms.
template <typename Real, typename V, typename Kind, int P, int COUNT, int GROUP>
void tile(const Real *const *sources, const Real *weights, const Terms &terms, const Ends<Real> &ends) {
    V sum[P][COUNT];
    const Real *source[P];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) {
        source[p] = sources[p];
#pragma GCC unroll 4
        for (int v = 0; v < COUNT; ++v) sum[p][v] = V::load(ends.begin + p * ends.begin_step + v * V::LANES);
    }
    const Place *const last = terms.places + terms.count;
    for (const Place *place = terms.places; place < last; ++place) {
        const Real *w = weights + place->weight;
        int64_t at = place->source;
        for (const int64_t end = at + terms.run * Kind::UNIT; at < end; at += Kind::UNIT, w += GROUP * V::LANES) {
            V multiplied[COUNT];
#pragma GCC unroll 4
            for (int v = 0; v < COUNT; ++v) multiplied[v] = V::load(w + v * V::LANES);
#pragma GCC unroll 16
            for (int p = 0; p < P; ++p) {
                const V value = Kind::template source<V>(source[p] + at);
#pragma GCC unroll 4
                for (int v = 0; v < COUNT; ++v) sum[p][v] = fma(value, multiplied[v], sum[p][v]);
            }
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
        if (ends.targets) Kind::template finish<Real, V, COUNT>(sum[p], ends.targets[p], ends.filled);
        else
#pragma GCC unroll 4
            for (int v = 0; v < COUNT; ++v) sum[p][v].store(ends.sums + (p * GROUP + v) * V::LANES);
}

} // namespace bpsta
