// The neuron on the CPU, forward and backward: all steps of a chunk of elements in one pass over memory.
//
// The results are those of reference.py, bit for bit where no exponential is taken. Elements do not see each other,
// so the number of threads changes nothing.

#include "rules.hpp"

#include <algorithm>
#include <cstdlib>

using namespace bpsta;

namespace {

constexpr int64_t FORWARD_CHUNK = 256;       // elements
constexpr int64_t SCRATCH_BYTES = 64 * 1024; // potentials of a chunk, kept in the cache between the two passes
constexpr int64_t GRAIN = 32768;             // elements of all steps below which one thread is faster

template <typename Real>
void forward(const Real *x, int64_t x_step, Real *spikes, int64_t steps, int64_t size, double threshold_, double decay_,
             int threads) {
    const Real threshold = Real(threshold_), decay = Real(decay_);
    if (steps * size < GRAIN) threads = 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t start = 0; start < size; start += FORWARD_CHUNK) {
        const int64_t n = size - start < FORWARD_CHUNK ? size - start : FORWARD_CHUNK;
        alignas(64) Real v[FORWARD_CHUNK];
        std::memset(v, 0, sizeof v);
        for (int64_t t = 0; t < steps; ++t) {
            const Real *__restrict x_t = x + t * x_step + start;
            Real *__restrict spikes_t = spikes + t * size + start;
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) {
                const Real u = decay * v[i] + x_t[i];
                const Real o = u >= threshold ? Real(1) : Real(0);
                spikes_t[i] = o;
                v[i] = u - u * o;
            }
        }
    }
}

// One step of a chunk of elements: dL/du[t] = (dL/do[t] + spike cost) do/du + decay dL/du[t+1] dv/du; `after` is null at
// the last step. The bit `bit` of `silent` says where neurons are silent; null: nowhere.
template <typename Real> struct Step {
    const Real *u, *grad_o, *after;
    const typename Silent<Real>::Word *silent;
    typename Silent<Real>::Word bit;
    Real *grad_u;
    int64_t n;
    Real threshold, decay, spike_cost;
    SilentCurve<Real> curve;
};

template <typename Real, typename Rule, bool some_silent>
INLINE void backward_elements(const Step<Real> &step, const Rule rule) {
    const Real threshold = step.threshold, decay = step.decay, cost = step.spike_cost;
    const Real *__restrict u = step.u, *__restrict grad_o = step.grad_o, *__restrict after = step.after;
    const auto *__restrict silent = step.silent;
    const auto bit = step.bit;
    const SilentCurve<Real> curve = step.curve;
    Real *__restrict grad_u = step.grad_u;
    const auto passed = [&](int64_t i, Real spike) {
        if constexpr (some_silent) return silent[i] & bit ? curve(u[i] - threshold) : spike;
        else return spike;
    };
    if (after == nullptr) {
#pragma omp simd
        for (int64_t i = 0; i < step.n; ++i)
            grad_u[i] = (grad_o[i] + cost) * passed(i, rule.spike(u[i], u[i] >= threshold ? Real(1) : Real(0)));
    } else {
#pragma omp simd
        for (int64_t i = 0; i < step.n; ++i) {
            const Real o = u[i] >= threshold ? Real(1) : Real(0);
            const Real spike = rule.spike(u[i], o);
            const Real reset = rule.reset(u[i], o, spike);
            grad_u[i] = decay * after[i] * reset + (grad_o[i] + cost) * passed(i, spike);
        }
    }
}

template <typename Real, typename Rule> void backward_step(const Step<Real> &step, const void *shared) {
    const Rule rule = *static_cast<const Rule *>(shared); // its own, so that its constants stay in registers
    if (step.silent) backward_elements<Real, Rule, true>(step, rule);
    else backward_elements<Real, Rule, false>(step, rule);
}

template <typename Real> struct Arrays {
    const Real *x;
    int64_t x_step;
    const Real *grad_o;
    int64_t grad_o_step;
    Real *grad_x;
    int64_t steps, size;
    Silent<Real> silent;
    Real spike_cost;

    // Of a chunk: potentials of all steps; where neurons may be silent, also their traces and words, each as wide.
    int64_t scratch_steps() const { return steps + (silent.any() ? 1 + silent.words(steps) : 0); }
};

// From the last step to the first; u is made again from x. The rule is a function of one step, not a template's
// argument, so that this is compiled once.
template <typename Real>
bool backward(const Arrays<Real> &a, double threshold_, double decay_,
              void (*step)(const Step<Real> &, const void *), const void *rule, int threads) {
    const Real threshold = Real(threshold_), decay = Real(decay_);
    const int64_t fitting = SCRATCH_BYTES / int64_t(sizeof(Real)) / a.scratch_steps() / 64 * 64;
    const int64_t chunk = fitting < 64 ? 64 : fitting > 1024 ? 1024 : fitting;
    if (a.steps * a.size < GRAIN) threads = 1;
    bool complete = true;
#pragma omp parallel num_threads(threads) reduction(&& : complete)
    {
        Real *const u = static_cast<Real *>(std::aligned_alloc(64, size_t(a.scratch_steps() * chunk) * sizeof(Real)));
        Real *const trace = u + a.steps * chunk;
        auto *const words = reinterpret_cast<typename Silent<Real>::Word *>(trace + chunk);
        const auto words_of = [&](int64_t t) { return words + t / Silent<Real>::WORD_STEPS * chunk; };
        complete = u != nullptr;
#pragma omp for schedule(static)
        for (int64_t start = 0; start < a.size; start += chunk) {
            if (u == nullptr) continue;
            const int64_t n = a.size - start < chunk ? a.size - start : chunk;
            std::memcpy(u, a.x + start, size_t(n) * sizeof(Real));
            for (int64_t t = 1; t < a.steps; ++t) {
                const Real *__restrict x_t = a.x + t * a.x_step + start;
                const Real *__restrict u_before = u + (t - 1) * chunk;
                Real *__restrict u_t = u + t * chunk;
#pragma omp simd
                for (int64_t i = 0; i < n; ++i) u_t[i] = decay * after_reset(u_before[i], threshold) + x_t[i];
            }
            if (a.silent.any()) {
                std::fill_n(trace, n, Real(0));
                std::fill_n(words, a.silent.words(a.steps) * chunk, 0);
                for (int64_t t = 0; t < a.steps; ++t)
                    silent_step(u + t * chunk, trace, words_of(t), a.silent.bit(t), n, threshold, a.silent);
            }
            for (int64_t t = a.steps - 1; t >= 0; --t) {
                Real *const grad_u = a.grad_x + t * a.size + start;
                const Real *const after = t == a.steps - 1 ? nullptr : grad_u + a.size;
                step({u + t * chunk, a.grad_o + t * a.grad_o_step + start, after,
                      a.silent.any() ? words_of(t) : nullptr, a.silent.bit(t), grad_u, n, threshold, decay,
                      a.spike_cost, SilentCurve<Real>(a.silent)},
                     rule);
            }
        }
        std::free(u);
    }
    return complete;
}

} // namespace

// x and grad_o: step t begins at t times their step; spikes and grad_x: at t times size. All in elements.
#define ENTRIES(Real, name)                                                                                            \
    extern "C" void lif_forward_##name(const Real *x, int64_t x_step, Real *spikes, int64_t steps, int64_t size,       \
                                       double threshold, double decay, int threads) {                                  \
        forward<Real>(x, x_step, spikes, steps, size, threshold, decay, threads);                                      \
    }                                                                                                                  \
    extern "C" int64_t lif_backward_##name(const Real *x, int64_t x_step, const Real *grad_o, int64_t grad_o_step,     \
                                           Real *grad_x, int64_t steps, int64_t size, double threshold, double decay,  \
                                           double silent_rate, double silent_limit, double silent_width,               \
                                           double spike_cost, int64_t rule, double parameter, int64_t detach_reset,    \
                                           int threads) {                                                              \
        const Silent<Real> silent{Real(silent_rate), Real(silent_limit), Real(silent_width)};                          \
        const Arrays<Real> arrays{x, x_step, grad_o, grad_o_step, grad_x, steps, size, silent, Real(spike_cost)};      \
        return with_rule<Real>(rule, parameter, detach_reset != 0, threshold, [&](const auto &chosen) {                \
            using Rule = std::decay_t<decltype(chosen)>;                                                               \
            return backward<Real>(arrays, threshold, decay, backward_step<Real, Rule>, &chosen, threads);              \
        });                                                                                                            \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
