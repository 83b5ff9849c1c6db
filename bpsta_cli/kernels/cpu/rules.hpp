// What the kernels share: how they round, e^x, the learning rules and the surrogates' curves.
//
// README.md in the folder above has the equations and says how each line rounds: the compiler fuses nothing by itself
// (-ffp-contract=off), so that the neuron has the bits of separate products and sums; `fused` stands where a product and
// a sum are rounded once.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define INLINE [[gnu::always_inline]] inline // what the compiler would call as a function it would not vectorise

namespace bpsta {

INLINE float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
INLINE double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }

// u[t] = decay v[t-1] + x[t] with v = u - u o: u o is exact, and infinity - infinity is NaN as in the reference.
template <typename Real> INLINE Real after_reset(Real u, Real threshold) {
    const Real o = u >= threshold ? Real(1) : Real(0);
    return u - u * o;
}

constexpr double factorial(int k) { return k < 2 ? 1 : k * factorial(k - 1); }

// The Taylor series of e^r from r^k on, over r^k.
template <int k, int last, typename Real> INLINE Real series(Real r) {
    constexpr Real coefficient = Real(1 / factorial(k));
    if constexpr (k == last) return coefficient;
    else return fused(series<k + 1, last>(r), r, coefficient);
}

// e^x = 2^n e^r with n = x / ln 2 rounded, so that |r| <= ln 2 / 2: within 2 units in the last place. Below the
// smallest normal number it is 0, above (about) the largest infinity; a NaN stays one.
template <typename Real> INLINE Real exponential(Real x) {
    constexpr bool single = std::is_same<Real, float>::value;
    using Bits = typename std::conditional<single, uint32_t, uint64_t>::type;
    constexpr int mantissa = single ? 23 : 52, bias = single ? 127 : 1023;
    constexpr Real lowest = single ? -87.3 : -708.3, highest = single ? 88.3 : 709.4;
    constexpr double ln2 = 0.69314718055994530942, ln2_rest = 2.3190468138462996e-17; // what the double leaves out
    constexpr Real ln2_low = single ? Real(ln2 - Real(ln2)) : Real(ln2_rest);
    constexpr Real shift = Real(Bits(3) << (mantissa - 1)); // once added, the low bits are the sum as an integer
    Real inside = x < lowest ? lowest : x;
    inside = inside > highest ? highest : inside;
    const Real shifted = fused(inside, Real(1 / ln2), shift);
    const Real n = shifted - shift;
    const Real r = fused(-n, ln2_low, fused(-n, Real(ln2), inside));
    Bits bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + bias) << mantissa; // of 2^n
    Real power;
    std::memcpy(&power, &bits, sizeof power);
    const Real vanished = x < lowest ? Real(0) : Real(1), overflown = x > highest ? Real(HUGE_VAL) : Real(0);
    return series<0, single ? 7 : 13>(r) * power * vanished + overflown;
}

// The rules of rules/ and the curves of surrogates.py: `spike` is do/du and `reset` dv/du, given `spike`.

template <typename Real> struct Bpsta { // bpsa: alpha = 0
    Real threshold, alpha;
    INLINE Real spike(Real u, Real o) const { return 1 / (u < threshold ? threshold : u) * o; }
    INLINE Real reset(Real, Real o, Real spike) const { return alpha * spike + (1 - o); }
};

template <typename Real, typename Curve, bool detach_reset> struct Stbp {
    Real threshold;
    Curve curve;
    INLINE Real spike(Real u, Real) const { return curve(u - threshold); }
    INLINE Real reset(Real u, Real o, Real spike) const { return detach_reset ? 1 - o : (1 - o) - u * spike; }
};

template <typename Real> struct Rectangular {
    Real half, height;
    explicit Rectangular(double a) : half(Real(a / 2)), height(1 / Real(a)) {}
    INLINE Real operator()(Real x) const { return std::fabs(x) < half ? height : Real(0); }
};

template <typename Real> struct Polynomial {
    Real top, slope;
    explicit Polynomial(double a) : top(Real(std::sqrt(a) / 2)), slope(Real(a / 4)) {}
    INLINE Real operator()(Real x) const {
        const Real height = top - std::fabs(x) * slope;
        return height < 0 ? Real(0) : height;
    }
};

template <typename Real> struct Sigmoid {
    Real width;
    explicit Sigmoid(double a) : width(Real(a)) {}
    INLINE Real operator()(Real x) const {
        const Real s = 1 / (1 + exponential(-(x / width)));
        return s * (1 - s) / width;
    }
};

template <typename Real> struct Gaussian {
    Real scale, area;
    explicit Gaussian(double a) : scale(Real(-2 * a)), area(Real(std::sqrt(2 * M_PI * a))) {}
    INLINE Real operator()(Real x) const { return exponential(x * x / scale) / area; }
};

// What a neuron that hardly fires passes instead of the rule's do/du (rules/silent.py). A width of 0: nothing.
template <typename Real> struct Silent {
    // A bit for each step of a neuron: where it is silent. As wide as Real, so that their vectors have the same lanes.
    using Word = typename std::conditional<std::is_same<Real, float>::value, uint32_t, uint64_t>::type;
    static constexpr int64_t WORD_STEPS = 8 * sizeof(Word);

    Real rate, limit, width; // 1 / tau, the trace below which a neuron is silent, the sigmoid's width

    bool any() const { return width > 0; }
    int64_t words(int64_t steps) const { return any() ? (steps + WORD_STEPS - 1) / WORD_STEPS : 0; }
    static Word bit(int64_t t) { return Word(1) << (t % WORD_STEPS); }
};

// The derivative of 1 / (1 + e^(-x / width)), written for x < 0: there no silent neuron's e^(x / width) overflows, and
// one quotient does for what would be three.
template <typename Real> struct SilentCurve {
    Real inverse, width;
    explicit SilentCurve(const Silent<Real> &silent) : inverse(1 / silent.width), width(silent.width) {}
    INLINE Real operator()(Real x) const {
        const Real e = exponential(x * inverse), sum = 1 + e;
        return e / (sum * sum * width);
    }
};

// One step of n neurons: their traces, and the step's bit of their words, which was 0, where they are silent.
template <typename Real>
INLINE void silent_step(const Real *__restrict u, Real *__restrict trace, typename Silent<Real>::Word *__restrict words,
                        typename Silent<Real>::Word bit, int64_t n, Real threshold, const Silent<Real> &silent) {
    const Real rate = silent.rate, limit = silent.limit;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        const Real o = u[i] >= threshold ? Real(1) : Real(0);
        const Real s = trace[i] + (o - trace[i]) * rate;
        trace[i] = s;
        words[i] |= s < limit ? bit : 0;
    }
}

// Calls `visit` with the rule that rule_codes.py numbers so; false if there is none.
template <typename Real, typename Visit>
bool with_rule(int64_t rule, double parameter, bool detach_reset, double threshold, const Visit &visit) {
    const Real th = Real(threshold);
    const auto stbp = [&](auto curve) {
        using Curve = decltype(curve);
        return detach_reset ? visit(Stbp<Real, Curve, true>{th, curve}) : visit(Stbp<Real, Curve, false>{th, curve});
    };
    switch (rule) {
    case 0: return visit(Bpsta<Real>{th, Real(parameter)});
    case 1: return stbp(Rectangular<Real>(parameter));
    case 2: return stbp(Polynomial<Real>(parameter));
    case 3: return stbp(Sigmoid<Real>(parameter));
    case 4: return stbp(Gaussian<Real>(parameter));
    default: return false;
    }
}

} // namespace bpsta
