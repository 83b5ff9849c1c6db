// A step of AdamW over all tensors of a group in one pass over memory: README.md in the folder above has the equations.
//
// No product and sum are fused (-ffp-contract=off), so that elementwise operations anywhere give the same bits.

#include <cmath>
#include <cstdint>

namespace {

constexpr int64_t GRAIN = 16384; // elements below which one thread is faster

// What is the same for all elements, rounded to their dtype.
template <typename Real> struct Constants {
    Real decay, beta1, rest1, beta2, rest2, root, eps, step_size;
};

template <typename Real>
void update(Real *__restrict p, const Real *__restrict g, Real *__restrict mean, Real *__restrict square, int64_t n,
            const Constants<Real> c, int threads) {
#pragma omp parallel for simd schedule(static) num_threads(n < GRAIN ? 1 : threads)
    for (int64_t i = 0; i < n; ++i) {
        const Real m = mean[i] * c.beta1 + g[i] * c.rest1;
        const Real s = square[i] * c.beta2 + g[i] * g[i] * c.rest2;
        mean[i] = m;
        square[i] = s;
        p[i] = p[i] * c.decay - m / (std::sqrt(s) / c.root + c.eps) * c.step_size;
    }
}

} // namespace

// `count` parameters of so many elements (sizes) with their gradients, and the running means of these and their squares.
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void adamw_##name(Real *const *p, const Real *const *g, Real *const *mean, Real *const *square,         \
                                 const int64_t *sizes, int64_t count, double decay, double beta1, double rest1,        \
                                 double beta2, double rest2, double root, double eps, double step_size, int threads) { \
        const Constants<Real> constants{Real(decay), Real(beta1), Real(rest1), Real(beta2),                            \
                                        Real(rest2), Real(root),  Real(eps),   Real(step_size)};                       \
        for (int64_t i = 0; i < count; ++i) update(p[i], g[i], mean[i], square[i], sizes[i], constants, threads);      \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
