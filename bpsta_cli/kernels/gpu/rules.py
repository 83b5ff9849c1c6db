"""The learning rules and the surrogates' curves for kernels.py, and how it rounds: rules.hpp in Triton.

README.md in the folder above has the equations, and says how each line rounds. `fused` stands where the CPU's kernels
round a product and a sum once; launch.py has the compiler fuse nothing by itself.
"""

import triton
import triton.language as tl


@triton.jit
def fused(a, b, c):
    """Rounded once: a b + c."""
    return tl.math.fma(a, b, c)


@triton.jit
def quotient(a, b, STATE: tl.constexpr):
    """Rounded as IEEE 754 has it: a / b, which Triton's own division in float32 is not."""
    if STATE == tl.float64:
        result = a / b
    else:
        result = tl.math.div_rn(a, b)
    return result


# The curves of surrogates.py and the rules of rules/, by the numbers of rule_codes.py


@triton.jit
def curve(x, RULE: tl.constexpr, WIDTH: tl.constexpr, STATE: tl.constexpr):
    """h(x) of Wu et al., Eq. 24-27."""
    one = tl.full((), 1, STATE)
    width = tl.full((), WIDTH, STATE)
    if RULE == 1:  # rectangular
        result = tl.where(tl.abs(x) < tl.full((), WIDTH / 2, STATE), quotient(one, width, STATE), 0)
    elif RULE == 2:  # polynomial
        result = tl.full((), WIDTH**0.5 / 2, STATE) - tl.abs(x) * tl.full((), WIDTH / 4, STATE)
        result = tl.where(result < 0, 0, result)
    elif RULE == 3:  # sigmoid
        s = quotient(one, one + tl.exp(-quotient(x, width, STATE)), STATE)
        result = quotient(s * (one - s), width, STATE)
    else:  # Gaussian
        tl.static_assert(RULE == 4)
        power = quotient(x * x, tl.full((), -2 * WIDTH, STATE), STATE)
        result = quotient(tl.exp(power), tl.full((), (6.283185307179586 * WIDTH) ** 0.5, STATE), STATE)
    return result


@triton.jit
def spike_gradient(u, fires, threshold, RULE: tl.constexpr, PARAMETER: tl.constexpr, STATE: tl.constexpr):
    """do/du: o/u (Eq. 9) for rule 0, bpsa and bpsta."""
    if RULE == 0:
        # where it did not fire the quotient is not used; the threshold keeps 0/0 out
        result = quotient(tl.full((), 1, STATE), tl.where(u < threshold, threshold, u), STATE) * fires.to(STATE)
    else:
        result = curve(u - threshold, RULE, PARAMETER, STATE)
    return result


@triton.jit
def update_trace(trace, u, threshold, RATE: tl.constexpr, STATE: tl.constexpr):
    """The trace of rules/silent.py after a step, RATE = 1 / tau: by which a neuron is silent or not."""
    return trace + ((u >= threshold).to(STATE) - trace) * tl.full((), RATE, STATE)


@triton.jit
def silent_gradient(u, threshold, WIDTH: tl.constexpr, STATE: tl.constexpr):
    """do/du of a silent neuron, the derivative of a sigmoid."""
    return curve(u - threshold, 3, WIDTH, STATE)


@triton.jit
def reset_gradient(
    u, fires, spike, RULE: tl.constexpr, PARAMETER: tl.constexpr, DETACH: tl.constexpr, STATE: tl.constexpr
):
    """dv/du, given do/du: Eq. 10 for rule 0 (bpsa: alpha = 0)."""
    kept = tl.full((), 1, STATE) - fires.to(STATE)
    if RULE == 0:
        kept = tl.full((), PARAMETER, STATE) * spike + kept
    elif not DETACH:
        kept = kept - u * spike
    return kept
