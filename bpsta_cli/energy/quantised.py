"""The quantised account: 8-bit weights, and a twin whose few bits tell apart the spike counts of T steps."""

from collections.abc import Callable
from typing import Any

from bpsta_cli.energy import costs, memory, operations
from bpsta_cli.energy.comparison import compare, ratio
from bpsta_cli.energy.costs import Tech
from bpsta_cli.energy.counts import Counts


def account(counts: Counts, tech: Tech) -> dict[str, Any]:
    """The network and its quantised twin, by operations alone and with memory."""
    prices = costs.quantised(tech, counts.T)
    rows = counts.rows
    return {
        "bits": prices.activation_bits,
        "weight_bits": prices.weight_bits,
        "operations": _beside_twin(
            counts,
            lambda rate_factor: sum(operations.snn_pj(row, counts, prices, rate_factor) for row in rows),
            sum(operations.ann_pj(row, prices) for row in rows),
        ),
        "memory": _beside_twin(
            counts,
            lambda rate_factor: sum(memory.snn_parts(row, counts, prices, tech, rate_factor).total for row in rows),
            sum(memory.ann_parts(row, prices, tech).total for row in rows),
        ),
    }


def _beside_twin(counts: Counts, snn_at: Callable[[float], float], e_ann: float) -> dict[str, Any]:
    """The comparison, and the rate at which both cost the same; E_SNN grows in a straight line with the rate."""
    rate = counts.evaluation.firing_rate
    if rate is None:
        return {**compare(None, e_ann, counts.frames), "break_even_rate": None}
    silent, now = snn_at(0.0), snn_at(1.0)
    break_even = ratio((e_ann - silent) * rate, now - silent) if e_ann >= silent else None
    return {**compare(now, e_ann, counts.frames), "break_even_rate": break_even}
