// A vector of 32 or 64 bytes of float or double, for kernels that choose their instructions themselves.
//
// One of 64 bytes is a register of AVX-512 where that is compiled for, and two halves elsewhere: the same values in the
// same lanes either way, so that what is written for it can be tested on any machine. VECTOR_BYTES is the width that
// kernels take. Memory may be aligned to elements alone.

#pragma once

#include "rules.hpp"

#include <immintrin.h>

#ifndef VECTOR_BYTES
#ifdef __AVX512F__
#define VECTOR_BYTES 64
#else
#define VECTOR_BYTES 32
#endif
#endif

namespace bpsta {

// `fma(a, b, c)` is a b + c, rounded once.
template <typename Real, int BYTES> struct Vector;

template <> struct Vector<float, 32> {
    static constexpr int64_t LANES = 8;
    __m256 value;

    INLINE static Vector zero() { return {_mm256_setzero_ps()}; }
    INLINE static Vector broadcast(float x) { return {_mm256_set1_ps(x)}; }
    INLINE static Vector load(const float *from) { return {_mm256_loadu_ps(from)}; }
    INLINE void store(float *to) const { _mm256_storeu_ps(to, value); }
    INLINE friend Vector operator+(Vector a, Vector b) { return {_mm256_add_ps(a.value, b.value)}; }
    INLINE friend Vector operator*(Vector a, Vector b) { return {_mm256_mul_ps(a.value, b.value)}; }
    INLINE friend Vector fma(Vector a, Vector b, Vector c) { return {_mm256_fmadd_ps(a.value, b.value, c.value)}; }
};

template <> struct Vector<double, 32> {
    static constexpr int64_t LANES = 4;
    __m256d value;

    INLINE static Vector zero() { return {_mm256_setzero_pd()}; }
    INLINE static Vector broadcast(double x) { return {_mm256_set1_pd(x)}; }
    INLINE static Vector load(const double *from) { return {_mm256_loadu_pd(from)}; }
    INLINE void store(double *to) const { _mm256_storeu_pd(to, value); }
    INLINE friend Vector operator+(Vector a, Vector b) { return {_mm256_add_pd(a.value, b.value)}; }
    INLINE friend Vector operator*(Vector a, Vector b) { return {_mm256_mul_pd(a.value, b.value)}; }
    INLINE friend Vector fma(Vector a, Vector b, Vector c) { return {_mm256_fmadd_pd(a.value, b.value, c.value)}; }
};

#ifdef __AVX512F__

template <> struct Vector<float, 64> {
    static constexpr int64_t LANES = 16;
    __m512 value;

    INLINE static Vector zero() { return {_mm512_setzero_ps()}; }
    INLINE static Vector broadcast(float x) { return {_mm512_set1_ps(x)}; }
    INLINE static Vector load(const float *from) { return {_mm512_loadu_ps(from)}; }
    INLINE void store(float *to) const { _mm512_storeu_ps(to, value); }
    INLINE friend Vector operator+(Vector a, Vector b) { return {_mm512_add_ps(a.value, b.value)}; }
    INLINE friend Vector operator*(Vector a, Vector b) { return {_mm512_mul_ps(a.value, b.value)}; }
    INLINE friend Vector fma(Vector a, Vector b, Vector c) { return {_mm512_fmadd_ps(a.value, b.value, c.value)}; }
};

template <> struct Vector<double, 64> {
    static constexpr int64_t LANES = 8;
    __m512d value;

    INLINE static Vector zero() { return {_mm512_setzero_pd()}; }
    INLINE static Vector broadcast(double x) { return {_mm512_set1_pd(x)}; }
    INLINE static Vector load(const double *from) { return {_mm512_loadu_pd(from)}; }
    INLINE void store(double *to) const { _mm512_storeu_pd(to, value); }
    INLINE friend Vector operator+(Vector a, Vector b) { return {_mm512_add_pd(a.value, b.value)}; }
    INLINE friend Vector operator*(Vector a, Vector b) { return {_mm512_mul_pd(a.value, b.value)}; }
    INLINE friend Vector fma(Vector a, Vector b, Vector c) { return {_mm512_fmadd_pd(a.value, b.value, c.value)}; }
};

#else

template <typename Real> struct Vector<Real, 64> {
    using Half = Vector<Real, 32>;
    static constexpr int64_t LANES = 2 * Half::LANES;
    Half low, high;

    INLINE static Vector zero() { return {Half::zero(), Half::zero()}; }
    INLINE static Vector broadcast(Real x) { return {Half::broadcast(x), Half::broadcast(x)}; }
    INLINE static Vector load(const Real *from) { return {Half::load(from), Half::load(from + Half::LANES)}; }
    INLINE void store(Real *to) const {
        low.store(to);
        high.store(to + Half::LANES);
    }
    INLINE friend Vector operator+(Vector a, Vector b) { return {a.low + b.low, a.high + b.high}; }
    INLINE friend Vector operator*(Vector a, Vector b) { return {a.low * b.low, a.high * b.high}; }
    INLINE friend Vector fma(Vector a, Vector b, Vector c) {
        return {fma(a.low, b.low, c.low), fma(a.high, b.high, c.high)};
    }
};

#endif

} // namespace bpsta
