// A block's backward pass: the potentials of a strip are made again from the convolution's output, then the error goes
// from the last step to the first, through max pooling, neuron, ReLU and norm, all in the cache (block.hpp).

#include "block.hpp"
#include "norm.hpp"
#include "shares.hpp"

using namespace bpsta;

namespace {

// The potentials of one row before the spike, from those of the step before (null: none).
template <typename Real>
INLINE void update_potential(const Real *__restrict x, const Real *__restrict scale, const Real *__restrict shift,
                             const Real *__restrict before, Real *__restrict u, int64_t n, const Block<Real> &a) {
    const Real floor = a.floor, threshold = a.threshold, decay = a.decay;
    if (before == nullptr) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) u[i] = current(x[i], scale[i], shift[i], floor);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i)
            u[i] = decay * after_reset(before[i], threshold) + current(x[i], scale[i], shift[i], floor);
    }
}

// The error of pooled spikes goes to the first neuron of the four that fired, to the first of all if none did.
template <typename Real>
INLINE void unpool(const Real *__restrict grad, const Real *__restrict u_upper, const Real *__restrict u_lower,
                   Real *__restrict g_upper, Real *__restrict g_lower, int64_t columns, int64_t channels,
                   Real threshold) {
    for (int64_t column = 0; column < columns; ++column) {
        const int64_t left = 2 * column * channels, right = left + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
            const Real g = grad[column * channels + c];
            const Real first = u_upper[left + c] >= threshold ? Real(1) : Real(0);
            const Real second = u_upper[right + c] >= threshold ? 1 - first : Real(0);
            const Real third = u_lower[left + c] >= threshold ? 1 - first - second : Real(0);
            const Real fourth = u_lower[right + c] >= threshold ? 1 - first - second - third : Real(0);
            g_upper[left + c] = g * (1 - second - third - fourth);
            g_upper[right + c] = g * second;
            g_lower[left + c] = g * third;
            g_lower[right + c] = g * fourth;
        }
    }
}

// One step of one row, for `backward_step`.
template <typename Real> struct Row {
    const Real *x, *scale, *shift, *mean, *u, *g;
    const typename Silent<Real>::Word *silent; // whose bit `step` says where neurons are silent; null: nowhere
    typename Silent<Real>::Word step;
    Real *carry, *grad, *sum, *sum_x;
    int64_t n;
    bool add; // to what is in grad
};

// dL/du from dL/do and the next step's dL/du (`carry`), through the ReLU to the norm's output, and the sums of that,
// alone and times x - mean.
template <typename Real, typename Rule, bool some_silent>
INLINE void backward_row(const Row<Real> &row, const Block<Real> &a, const Rule rule) {
    const Real floor = a.floor, threshold = a.threshold, decay = a.decay, kept = row.add ? Real(1) : Real(0);
    const Real cost = a.spike_cost;
    const SilentCurve<Real> curve(a.silent);
    const auto *__restrict silent = row.silent;
    const auto step = row.step;
    const Real *__restrict x = row.x, *__restrict scale = row.scale, *__restrict shift = row.shift;
    const Real *__restrict mean = row.mean, *__restrict u = row.u, *__restrict g = row.g;
    Real *__restrict carry = row.carry, *__restrict grad = row.grad;
    Real *__restrict sum = row.sum, *__restrict sum_x = row.sum_x;
#pragma omp simd
    for (int64_t i = 0; i < row.n; ++i) {
        const Real o = u[i] >= threshold ? Real(1) : Real(0);
        const Real spike = rule.spike(u[i], o);
        const Real reset = rule.reset(u[i], o, spike);
        Real passed = spike;
        if constexpr (some_silent) passed = silent[i] & step ? curve(u[i] - threshold) : spike;
        const Real grad_u = decay * carry[i] * reset + (g[i] + cost) * passed;
        carry[i] = grad_u;
        const Real grad_y = fused(x[i], scale[i], shift[i]) <= floor ? Real(0) : grad_u;
        grad[i] = kept != 0 ? grad[i] + grad_y : grad_y; // what was there may be anything, NaN too
        sum[i] += grad_y;
        sum_x[i] = fused(grad_y, x[i] - mean[i], sum_x[i]);
    }
}

template <typename Real, typename Rule>
void backward_step(const Row<Real> &row, const Block<Real> &a, const void *shared) {
    const Rule rule = *static_cast<const Rule *>(shared); // its own, so that its constants stay in registers
    if (row.silent) backward_row<Real, Rule, true>(row, a, rule);
    else backward_row<Real, Rule, false>(row, a, rule);
}

// The rule is a function of one step, not an argument of the templates below, so that these are compiled once.
template <typename Real> using BackwardStep = void (*)(const Row<Real> &, const Block<Real> &, const void *);

// What the backward pass makes, each where it is not null.
template <typename Real> struct BackwardOutputs {
    double *sums; // [sets, 2, C]: of dL/dy, the error at the norm's output, and of dL/dy (x - mean); with `held`
                  // [parts, sets, 2, C], not added, and 0 before
    Real *total;  // [B, H, W, C]: dL/dy summed over the steps
    Real *grad_x; // [T, B, H, W, C]: gain dL/dy + slope (x - mean) + offset, with the three below; may be x itself
    const Real *gain, *slope, *offset; // [sets, C]
};

// A pass over all strips: what every thread reads.
template <typename Real> struct Pass {
    const Block<Real> &a;
    const Real *grad_out;
    const BackwardOutputs<Real> &out;
    const BackwardStep<Real> step;
    const void *const rule;
    double *part_sums = nullptr; // [parts, sets, 2, C]
    const Tiling<Real> tiling{a};
    const int64_t row_size = tiling.row_size(), columns = tiling.tiled_columns(), length = columns * a.channels;
    const std::vector<Real> scales = tile_of(a.scale), shifts = tile_of(a.shift), means = tile_of(a.mean);
    const std::vector<Real> gains = tile_of(out.gain), slopes = tile_of(out.slope), offsets = tile_of(out.offset);

    std::vector<Real> tile_of(const Real *values) const {
        return tiled(values, a.sets(), a.channels, values ? columns : 0);
    }
    // Where the values that belong to a strip at step t begin in those vectors.
    int64_t tile(const Strip &s, int64_t t) const { return (a.norm_step ? t * length : 0) + s.channel; }
};

// What a thread keeps of a strip.
template <typename Real> struct Scratch {
    std::vector<Real> u;           // potentials of all steps
    std::vector<Real> g;           // dL/do of a step, before pooling
    std::vector<Real> carry;       // dL/du of the step after
    std::vector<Real> grad;        // dL/dy of a step, or summed over the steps
    std::vector<Real> sum, sum_x;  // of dL/dy, alone and times x - mean, on the tiled columns
    std::vector<Real> trace;       // of the neurons, from which it follows where they are silent
    std::vector<typename Silent<Real>::Word> silent; // where: bits, a word a neuron for so many steps

    explicit Scratch(const Pass<Real> &p)
        : u(size_t(p.a.steps * p.a.pool * p.row_size)), g(size_t(p.a.pool * p.row_size)), carry(g.size()),
          grad(g.size()), sum(size_t(p.length)), sum_x(size_t(p.length)), trace(p.a.silent.any() ? g.size() : 0),
          silent(size_t(p.a.silent.words(p.a.steps)) * g.size()) {}

    auto *silent_words(int64_t t) { return silent.data() + t / Silent<Real>::WORD_STEPS * int64_t(g.size()); }
};

// Whether an error can reach a silent neuron of this row. Unpooling gives one to neurons that fired, and to the first of a
// window in which none did: to a silent one in the upper row alone. A cost reaches all.
template <typename Real> bool error_at_silent(const Block<Real> &a, const Place<Real> &place, bool upper) {
    return a.silent.any() && (a.spike_cost != 0 || a.pool == 1 || (upper && place.is_pooled()));
}

// Makes the potentials of all steps again, and from them where neurons are silent.
template <typename Real> void update_potentials(const Pass<Real> &p, const Place<Real> &place, Scratch<Real> &w) {
    const Block<Real> &a = p.a;
    const int64_t step_size = a.pool * p.row_size;
    for (int64_t t = 0; t < a.steps; ++t) {
        const int64_t tile = p.tile(place.s, t);
        Real *const u = w.u.data() + t * step_size;
        place.pieces(p.row_size, [&](int64_t from, int64_t to) {
            update_potential(a.x + t * a.x_step + from, p.scales.data() + tile, p.shifts.data() + tile,
                             t ? u - step_size + to : nullptr, u + to, place.s.piece, a);
            if (error_at_silent(a, place, to < p.row_size))
                silent_step(u + to, w.trace.data() + to, w.silent_words(t) + to, a.silent.bit(t), place.s.piece,
                            a.threshold, a.silent);
        });
    }
}

// Takes the error of step t to the norm's output, and on to the input where the pass makes that.
template <typename Real>
void step_back(const Pass<Real> &p, const Place<Real> &place, int64_t t, Scratch<Real> &w) {
    const Block<Real> &a = p.a;
    const Strip &s = place.s;
    const int64_t tile = p.tile(s, t);
    const Real *const u = w.u.data() + t * a.pool * p.row_size;
    const Real *const g = p.grad_out + t * a.pooled_size() + place.pooled();
    if (place.is_pooled())
        unpool(g, u, u + p.row_size, w.g.data(), w.g.data() + p.row_size, s.columns / 2, s.channels, a.threshold);
    place.pieces(p.row_size, [&](int64_t from, int64_t to) {
        const Real *const x = a.x + t * a.x_step + from, *const mean = p.means.data() + tile;
        Real *const grad = w.grad.data() + to;
        const auto *const silent = error_at_silent(a, place, to < p.row_size) ? w.silent_words(t) + to : nullptr;
        p.step({x, p.scales.data() + tile, p.shifts.data() + tile, mean, u + to, a.pool == 1 ? g : w.g.data() + to,
                silent, a.silent.bit(t), w.carry.data() + to, grad, w.sum.data() + s.channel, w.sum_x.data() + s.channel, s.piece,
                p.out.total != nullptr},
               a, p.rule);
        if (p.out.grad_x)
            norm_backward(x, grad, mean, p.gains.data() + tile, p.slopes.data() + tile, p.offsets.data() + tile,
                          p.out.grad_x + t * a.step_size() + from, s.piece);
    });
}

// Adds a strip's sums to those of its part.
template <typename Real>
void flush_sums(const Pass<Real> &p, const Strip &s, int64_t part, int64_t set, Scratch<Real> &w) {
    double *const sums = p.part_sums + (part * p.a.sets() + set) * 2 * p.a.channels + s.channel;
    flush(w.sum.data() + s.channel, w.sum_x.data() + s.channel, sums, sums + p.a.channels,
          s.pieces == 1 ? s.columns : 1, s.channels);
}

// All steps of one strip, which belongs to a part of the sums.
template <typename Real>
void backward_strip(const Pass<Real> &p, const Place<Real> &place, int64_t part, Scratch<Real> &w) {
    const Block<Real> &a = p.a;
    std::fill(w.trace.begin(), w.trace.end(), Real(0));
    std::fill(w.silent.begin(), w.silent.end(), 0);
    update_potentials(p, place, w);
    std::fill(w.carry.begin(), w.carry.end(), Real(0));
    std::fill(w.grad.begin(), w.grad.end(), Real(0));
    if (a.pool == 2) std::fill(w.g.begin(), w.g.end(), Real(0)); // a last odd row or column gets no error
    for (int64_t t = a.steps - 1; t >= 0; --t) {
        step_back(p, place, t, w);
        if (a.norm_step && p.out.sums) flush_sums(p, place.s, part, t, w);
    }
    if (!a.norm_step && p.out.sums) flush_sums(p, place.s, part, 0, w);
    if (p.out.total)
        place.pieces(p.row_size, [&](int64_t from, int64_t to) {
            std::copy_n(w.grad.data() + to, place.s.piece, p.out.total + from);
        });
}

// From `grad_out`, dL/do after pooling, in the shape of the forward pass's `out`. `some` says which parts of the sums are
// made and stay apart; null: all, and they are added.
template <typename Real> void backward(Pass<Real> &&p, const Held *some, int threads) {
    const Held held = some ? *some : Held{p.a.batch, 0, p.a.batch, 0, SAMPLE_SHARES};
    const int64_t sums = p.out.sums ? p.a.sets() * 2 * p.a.channels : 0, parts = held.shares() * QUARTERS;
    std::vector<double> part_sums(size_t(some ? 0 : parts * sums), 0);
    p.part_sums = some ? p.out.sums : part_sums.data();
#pragma omp parallel num_threads(threads)
    {
        Scratch<Real> w(p);
#pragma omp for schedule(static, 1) // in a small batch many parts are empty, and they are neighbours
        for (int64_t part = 0; part < parts; ++part) {
            const Range range = part_of(part, held, p.tiling.of_image);
            for (int64_t index = range.begin; index < range.end; ++index)
                backward_strip(p, Place<Real>{p.a, p.tiling.strip(p.a, index)}, part, w);
        }
    }
    if (sums && !some) add_parts(part_sums.data(), parts, p.out.sums, sums);
}

} // namespace

#define ENTRIES(Real, name)                                                                                            \
    extern "C" void block_backward_##name(const Block<Real> *block, const Real *grad_out,                              \
                                          const BackwardOutputs<Real> *out, const Held *held, int64_t rule,            \
                                          double parameter, int64_t detach_reset, int threads) {                       \
        with_rule<Real>(rule, parameter, detach_reset != 0, double(block->threshold), [&](const auto &chosen) {        \
            using Rule = std::decay_t<decltype(chosen)>;                                                               \
            backward<Real>({*block, grad_out, *out, backward_step<Real, Rule>, &chosen}, held, threads);               \
            return true;                                                                                               \
        });                                                                                                            \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
