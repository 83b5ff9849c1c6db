// The few values of a norm that are computed from its sums: as block_spec.py has them, operation for operation, in one
// call instead of a dozen small ones. All are [sets, channels], a set for all steps or one a step, in double; what the
// passes over images read is rounded to Real.

#include <cmath>
#include <cstdint>

namespace {

double inverse_deviation(double var, double eps) { return 1 / std::sqrt(var + eps); }

// x scale + shift is the norm; `mean` is also what x - mean is taken with.
template <typename Real>
void affine(const double *mean, const double *var, int64_t sets, int64_t channels, const Real *weight,
            const Real *bias, double eps, Real *scale, Real *shift, Real *rounded_mean) {
    for (int64_t i = 0; i < sets * channels; ++i) {
        const double factor = double(weight[i % channels]) * inverse_deviation(var[i], eps);
        scale[i] = Real(factor);
        shift[i] = Real(double(bias[i % channels]) - mean[i] * factor);
        rounded_mean[i] = Real(mean[i]);
    }
}

// Gradients of weight and bias, and dL/dx = gain g + slope (x - mean) + offset, from the sums [sets, 2, channels] of g
// and of g (x - mean) over `rows` values; where the statistics are constants slope and offset are 0.
template <typename Real>
void coefficients(const double *var, const double *sums, int64_t sets, int64_t channels, int64_t rows,
                  const Real *weight, double eps, bool through_stats, Real *gain, Real *slope, Real *offset,
                  Real *grad_weight, Real *grad_bias) {
    for (int64_t c = 0; c < channels; ++c) {
        double of_weight = 0, of_bias = 0;
        for (int64_t set = 0; set < sets; ++set) {
            const int64_t i = set * channels + c;
            const double sum = sums[2 * set * channels + c], sum_x = sums[(2 * set + 1) * channels + c];
            const double inverse = inverse_deviation(var[i], eps), factor = double(weight[c]) * inverse;
            gain[i] = Real(factor);
            slope[i] = through_stats ? Real(-factor * (inverse * inverse) * sum_x / double(rows)) : Real(0);
            offset[i] = through_stats ? Real(-factor * sum / double(rows)) : Real(0);
            of_weight += sum_x * inverse;
            of_bias += sum;
        }
        grad_weight[c] = Real(of_weight);
        grad_bias[c] = Real(of_bias);
    }
}

// running <- running (1 - momentum) + new momentum, for means and for variances times `unbiased`.
template <typename Real>
void track(Real *running_mean, Real *running_var, const double *mean, const double *var, int64_t channels,
           double unbiased, double momentum) {
    for (int64_t c = 0; c < channels; ++c) {
        running_mean[c] = Real(double(running_mean[c]) * (1 - momentum) + mean[c] * momentum);
        running_var[c] = Real(double(running_var[c]) * (1 - momentum) + var[c] * unbiased * momentum);
    }
}

} // namespace

#define ENTRIES(Real, name)                                                                                            \
    extern "C" void norm_affine_##name(const double *mean, const double *var, int64_t sets, int64_t channels,          \
                                       const Real *weight, const Real *bias, double eps, Real *scale, Real *shift,     \
                                       Real *rounded_mean, int) {                                                      \
        affine<Real>(mean, var, sets, channels, weight, bias, eps, scale, shift, rounded_mean);                        \
    }                                                                                                                  \
    extern "C" void norm_coefficients_##name(const double *var, const double *sums, int64_t sets, int64_t channels,    \
                                             int64_t rows, const Real *weight, double eps, int64_t through_stats,      \
                                             Real *gain, Real *slope, Real *offset, Real *grad_weight,                 \
                                             Real *grad_bias, int) {                                                   \
        coefficients<Real>(var, sums, sets, channels, rows, weight, eps, through_stats != 0, gain, slope, offset,      \
                           grad_weight, grad_bias);                                                                    \
    }                                                                                                                  \
    extern "C" void norm_track_##name(Real *running_mean, Real *running_var, const double *mean, const double *var,    \
                                      int64_t channels, double unbiased, double momentum, int) {                       \
        track<Real>(running_mean, running_var, mean, var, channels, unbiased, momentum);                               \
    }

ENTRIES(float, float32)
ENTRIES(double, float64)
