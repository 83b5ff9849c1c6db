"""The paper's Tables 1 to 6 and Figures 1 to 3, from the runs that are there."""

from bpsta_cli.reporting.artifacts import Table
from bpsta_cli.reporting.paper import ablation, accuracy, energy, latency
from bpsta_cli.reporting.paper.definition import Definition
from bpsta_cli.reporting.paper.figures import draw_figures
from bpsta_cli.reporting.paper.study import Study

__all__ = ["TABLES", "draw_figures", "tables"]

TABLES = (
    Definition(1, "Accuracy on still images", accuracy.LAYOUT, ("mnist", "cifar10", "cifar100")),
    Definition(2, "Accuracy on event data", accuracy.LAYOUT, ("n-mnist", "dvs-gesture", "dvs-cifar10")),
    Definition(3, "Accuracy on speech", accuracy.LAYOUT, ("speech-commands",)),
    Definition(4, "Ablation: what BPSA and BPTA add to the baseline", ablation.LAYOUT),
    Definition(5, "Firing rate and energy", energy.LAYOUT),
    Definition(6, "Latency: accuracy of networks trained at each T", latency.LAYOUT),
)


def tables(study: Study) -> list[Table]:
    """Every table of the paper; a data set without a run is a row that says so."""
    return [definition.table(study) for definition in TABLES]
