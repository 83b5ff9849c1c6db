"""The neuron, on the backend that is chosen: all T steps at once, or one step forward."""

from __future__ import annotations

from torch import Tensor

from bpsta_cli import rules
from bpsta_cli.errors import SettingsError, StructureError
from bpsta_cli.kernels import dispatch, operators, reference
from bpsta_cli.kernels.block_spec import BlockSpec
from bpsta_cli.kernels.capture import captured
from bpsta_cli.kernels.cpu.lif import lif as cpu_lif
from bpsta_cli.kernels.gpu import ops


def lif(
    x: Tensor,
    *,
    threshold: float = 0.5,
    decay: float = 0.9,
    rule: str | rules.Rule = "bpsta",
    silent: rules.SilentGradient | None = None,
    spike_cost: float = 0.0,
    backend: str = "auto",
    **rule_settings: rules.Value,
) -> Tensor:
    """Leaky integrate-and-fire with hard reset, all T steps at once.

        u[t] = decay * v[t-1] + x[t]          (Eq. 4; v[-1] = 0)
        o[t] = 1 if u[t] >= threshold else 0
        v[t] = u[t] * (1 - o[t])

    of Shen, Zhao and Zeng, Patterns 3(6), 2022, doi:10.1016/j.patter.2022.100522. The backward pass takes
    do[t]/du[t] and dv[t]/du[t] from `rule`. It can be differentiated once, not twice.

    The state is float64 for float64 inputs and float32 for all others; `threshold` and `decay` are rounded to
    it. A NaN never fires.

    Args:
        x: input current [T, ...], T >= 1, of any strides, in units of potential.
        threshold: potential at and above which the neuron fires, > 0.
        decay: share of the potential that is left after one step (lambda), in [0, 1].
        rule: a name or file that `bpsta_cli.rules.make` takes, or a Rule.
        silent: what do/du is where a neuron hardly fires; None: the rule's there too.
        spike_cost: what each spike adds to the loss, so that dL/do[t] is larger by it at every neuron and step.
        backend: one of `dispatch.BACKENDS`.
        rule_settings: settings of a `rule` given by name, such as alpha=0.2; a Rule has its own.

    Returns:
        Spikes, 0 or 1, in the shape and dtype of `x`.

    Raises:
        SettingsError: an unusable threshold, decay, rule, setting of the rule or backend, or an unsupported backend.
        StructureError: an input without steps or of an integer or complex dtype.
    """
    check_constants(threshold, decay)
    reference.check_floating(x)
    if x.dim() == 0 or len(x) == 0:
        raise StructureError(
            "neuron input without time steps",
            expected="a tensor [T, ...] with T >= 1",
            got=f"shape {list(x.shape)}",
            todo="Put time first; one step is x.unsqueeze(0).",
        )
    rule = rules.make(rule, **rule_settings)
    chosen = dispatch.choose(backend, device=x.device, dtype=x.dtype, rule=rule).name
    if captured(x) and chosen in operators.LIF:
        return operators.lif(
            x, BlockSpec(x.shape[0], False, 1, threshold, decay, rule, 0.0, silent, spike_cost), chosen
        )
    kernel = {"cpu": cpu_lif, "gpu": ops.lif, "reference": reference.lif}[chosen]
    return kernel(x, threshold=threshold, decay=decay, rule=rule, silent=silent, spike_cost=spike_cost)


def lif_step(v: Tensor | None, x: Tensor, *, threshold: float = 0.5, decay: float = 0.9) -> tuple[Tensor, Tensor]:
    """One step of `lif`, forward only, for a runner that decides after every step whether to go on.

    Args:
        v: potential after the previous step, as this function returned it; None before the first.
        x: input current of this step, any shape.
        threshold: as in `lif`.
        decay: as in `lif`.

    Returns:
        Spikes in the dtype of `x`, and the potential after the reset; neither requires a gradient.

    Raises:
        SettingsError: an unusable threshold or decay.
        StructureError: `x` of an integer or complex dtype, or `v` of another shape.
    """
    check_constants(threshold, decay)
    reference.check_floating(x)
    if v is not None and v.shape != x.shape:
        raise StructureError(
            "neuron state of another shape",
            expected=f"the shape of the input, {list(x.shape)}",
            got=f"{list(v.shape)}",
            todo="Start a new sample or batch with v=None.",
        )
    return reference.lif_step(v, x, threshold=threshold, decay=decay)


def check_constants(threshold: float, decay: float) -> None:
    """Raise SettingsError unless 0 < threshold < infinity and 0 <= decay <= 1."""
    if not 0 < threshold < float("inf"):
        raise SettingsError(
            "unusable threshold",
            expected="a finite number > 0",
            got=repr(threshold),
            todo="0.5 is the paper's value.",
        )
    if not 0 <= decay <= 1:
        raise SettingsError(
            "unusable decay",
            expected="a number from 0 (forgets at once) to 1 (never leaks)",
            got=repr(decay),
            todo="0.9 is the default.",
        )
