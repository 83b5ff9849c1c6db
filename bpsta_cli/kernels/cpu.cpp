// The neuron on the CPU, forward and backward: all steps of a block of elements in one pass over memory.
//
// README.md beside this file has the equations and says how each line rounds: `fused` stands where torch rounds a
// product and a sum once, and the compiler fuses nothing by itself (-ffp-contract=off). The results are those of
// reference.py, bit for bit where no exponential is taken. Elements do not see each other, so the number of threads
// changes nothing.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#define INLINE [[gnu::always_inline]] inline // what the compiler would call as a function it would not vectorise

namespace {

constexpr int64_t FORWARD_BLOCK = 256;       // elements
constexpr int64_t SCRATCH_BYTES = 64 * 1024; // potentials of a block, kept in the cache between the two passes
constexpr int64_t GRAIN = 32768;             // elements of all steps below which one thread is faster

INLINE float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
INLINE double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }

// u[t] = decay v[t-1] + x[t] with v = u - u o: u o is exact, and infinity - infinity is NaN as in the reference.
template <typename Real> INLINE Real after_reset(Real u, Real threshold) {
    const Real o = u >= threshold ? Real(1) : Real(0);
    return fused(-u, o, u);
}

template <typename Real>
void forward(const Real *x, int64_t x_step, Real *spikes, int64_t steps, int64_t size, double threshold_, double decay_,
             int threads) {
    const Real threshold = Real(threshold_), decay = Real(decay_);
    if (steps * size < GRAIN) threads = 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t start = 0; start < size; start += FORWARD_BLOCK) {
        const int64_t n = size - start < FORWARD_BLOCK ? size - start : FORWARD_BLOCK;
        alignas(64) Real v[FORWARD_BLOCK];
        std::memset(v, 0, sizeof v);
        for (int64_t t = 0; t < steps; ++t) {
            const Real *__restrict x_t = x + t * x_step + start;
            Real *__restrict spikes_t = spikes + t * size + start;
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) {
                const Real u = fused(decay, v[i], x_t[i]);
                const Real o = u >= threshold ? Real(1) : Real(0);
                spikes_t[i] = o;
                v[i] = fused(-u, o, u);
            }
        }
    }
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

// The rules of rules.py and the curves of surrogates.py: `spike` is do/du and `reset` dv/du, given `spike`.

template <typename Real> struct Bpsta { // bpsa: alpha = 0
    Real threshold, alpha;
    INLINE Real spike(Real u, Real o) const { return 1 / (u < threshold ? threshold : u) * o; }
    INLINE Real reset(Real, Real o, Real spike) const { return fused(alpha, spike, 1 - o); }
};

template <typename Real, typename Curve, bool detach_reset> struct Stbp {
    Real threshold;
    Curve curve;
    INLINE Real spike(Real u, Real) const { return curve(u - threshold); }
    INLINE Real reset(Real u, Real o, Real spike) const { return detach_reset ? 1 - o : fused(-u, spike, 1 - o); }
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

template <typename Real> struct Arrays {
    const Real *x;
    int64_t x_step;
    const Real *grad_o;
    int64_t grad_o_step;
    Real *grad_x;
    int64_t steps, size;
};

// dL/du[t] = dL/do[t] do/du + decay dL/du[t+1] dv/du from the last step to the first; u is made again from x.
template <typename Real, typename Rule>
bool backward(const Arrays<Real> &a, double threshold_, double decay_, const Rule &shared, int threads) {
    const Real threshold = Real(threshold_), decay = Real(decay_);
    const int64_t fitting = SCRATCH_BYTES / int64_t(sizeof(Real)) / a.steps / 64 * 64;
    const int64_t block = fitting < 64 ? 64 : fitting > 1024 ? 1024 : fitting;
    if (a.steps * a.size < GRAIN) threads = 1;
    bool complete = true;
#pragma omp parallel num_threads(threads) reduction(&& : complete)
    {
        Real *const u = static_cast<Real *>(std::aligned_alloc(64, size_t(a.steps * block) * sizeof(Real)));
        complete = u != nullptr;
        const Rule rule = shared; // its own, so that its constants stay in registers
#pragma omp for schedule(static)
        for (int64_t start = 0; start < a.size; start += block) {
            if (u == nullptr) continue;
            const int64_t n = a.size - start < block ? a.size - start : block;
            std::memcpy(u, a.x + start, size_t(n) * sizeof(Real));
            for (int64_t t = 1; t < a.steps; ++t) {
                const Real *__restrict x_t = a.x + t * a.x_step + start;
                const Real *__restrict u_before = u + (t - 1) * block;
                Real *__restrict u_t = u + t * block;
#pragma omp simd
                for (int64_t i = 0; i < n; ++i) u_t[i] = fused(decay, after_reset(u_before[i], threshold), x_t[i]);
            }
            for (int64_t t = a.steps - 1; t >= 0; --t) {
                const Real *__restrict u_t = u + t * block;
                const Real *__restrict grad_o = a.grad_o + t * a.grad_o_step + start;
                Real *__restrict grad_u = a.grad_x + t * a.size + start;
                if (t == a.steps - 1) {
#pragma omp simd
                    for (int64_t i = 0; i < n; ++i)
                        grad_u[i] = grad_o[i] * rule.spike(u_t[i], u_t[i] >= threshold ? Real(1) : Real(0));
                } else {
                    const Real *__restrict grad_u_after = a.grad_x + (t + 1) * a.size + start;
#pragma omp simd
                    for (int64_t i = 0; i < n; ++i) {
                        const Real o = u_t[i] >= threshold ? Real(1) : Real(0);
                        const Real spike = rule.spike(u_t[i], o);
                        const Real reset = rule.reset(u_t[i], o, spike);
                        grad_u[i] = fused(decay * grad_u_after[i], reset, grad_o[i] * spike);
                    }
                }
            }
        }
        std::free(u);
    }
    return complete;
}

template <typename Real>
bool backward_of(int rule, double parameter, bool detach, const Arrays<Real> &a, double threshold, double decay,
                 int threads) {
    const Real th = Real(threshold);
    const auto stbp = [&](auto curve) {
        using Curve = decltype(curve);
        return detach ? backward(a, threshold, decay, Stbp<Real, Curve, true>{th, curve}, threads)
                      : backward(a, threshold, decay, Stbp<Real, Curve, false>{th, curve}, threads);
    };
    switch (rule) { // cpu.py numbers them
    case 0: return backward(a, threshold, decay, Bpsta<Real>{th, Real(parameter)}, threads);
    case 1: return stbp(Rectangular<Real>(parameter));
    case 2: return stbp(Polynomial<Real>(parameter));
    case 3: return stbp(Sigmoid<Real>(parameter));
    case 4: return stbp(Gaussian<Real>(parameter));
    default: return false;
    }
}

} // namespace

// x and grad_o: step t begins at t times their step; spikes and grad_x: at t times size. All in elements.
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void forward_##name(const Real *x, int64_t x_step, Real *spikes, int64_t steps, int64_t size,           \
                                   double threshold, double decay, int threads) {                                      \
        forward<Real>(x, x_step, spikes, steps, size, threshold, decay, threads);                                      \
    }                                                                                                                  \
    extern "C" int backward_##name(const Real *x, int64_t x_step, const Real *grad_o, int64_t grad_o_step,             \
                                   Real *grad_x, int64_t steps, int64_t size, double threshold, double decay,          \
                                   int rule, double parameter, int detach_reset, int threads) {                        \
        return backward_of<Real>(rule, parameter, detach_reset != 0,                                                   \
                                 Arrays<Real>{x, x_step, grad_o, grad_o_step, grad_x, steps, size}, threshold, decay,  \
                                 threads);                                                                             \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
