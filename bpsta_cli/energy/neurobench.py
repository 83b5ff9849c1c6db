"""What NeuroBench's harness counts of the same evaluation."""

from typing import Any

from bpsta_cli.energy.counts import Counts


def account(counts: Counts) -> dict[str, Any]:
    """The values of NeuroBench (github.com/NeuroBench/neurobench, 2.3) as it gives them at batch size 1.

    There a step of a sample whose input is all 0 and 1 costs ACs and any other MACs, a constant input counts at
    every step, and dense operations are those of all T steps.
    """
    samples, rows = counts.evaluation.samples, [row for row in counts.rows if row.kind != "shortcut"]
    steps = counts.updating_steps or counts.frames
    rate = counts.evaluation.firing_rate
    return {
        "effective_macs": sum(row.step_macs for row in rows) / samples,
        "effective_acs": sum(row.step_acs for row in rows) / samples,
        "dense": sum(row.synapses for row in rows) * steps,
        "activation_sparsity": None if rate is None else 1 - rate,
        "connection_sparsity": counts.connection_sparsity,
        "footprint": counts.footprint,
    }
