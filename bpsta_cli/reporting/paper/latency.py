"""Table 6: networks trained at each T."""

from bpsta_cli.reporting.comparison import BASELINE, P_VALUE
from bpsta_cli.reporting.paper import ablation, literature
from bpsta_cli.reporting.paper.ablation import COLUMNS, FIELDS, TEXT_COLUMNS
from bpsta_cli.reporting.paper.definition import ABOUT_PAPER, MEANS, Layout, Row, absent
from bpsta_cli.reporting.paper.groups import RULES
from bpsta_cli.reporting.paper.study import Study

TIME_STEPS = (32, 16, 8, 4)
"""Each T of the paper, in its order."""


def rows(study: Study, table: int, dataset: str) -> list[Row]:
    """Every rule at every T, of the paper and of ours; a T without a run says so."""
    groups = [group for group in study.groups(dataset) if group.like["method"] in RULES]
    printed = literature.of_paper(study.literature, table, dataset)
    if not groups and printed.empty:
        return [absent(study, dataset)]
    why = "no run at this T" if groups else study.absence(dataset)
    found: list[Row] = []
    for T in sorted({*TIME_STEPS, *(group.like["T"] for group in groups)}, reverse=True):
        at = [group for group in groups if group.like["T"] == T]
        here = [ablation.compared(study, table, dataset, group, at) for group in at]
        methods = {group.like["method"] for group in at}
        others = [
            method for method in RULES if literature.NAMES[method] in set(printed.loc[printed["T"] == T, "method"])
        ]
        here += [ablation.alone(study, table, dataset, method, T, why) for method in others if method not in methods]
        found += here or [absent(study, dataset) | {"T": T, "remark": why}]
    return found


NOTE = (
    f"Each network was trained with T steps and is run for T steps. {MEANS} The column 'to the baseline' is the "
    f"difference to {BASELINE} of the same recipe and T. {P_VALUE} {ABOUT_PAPER}"
)
LAYOUT = Layout(FIELDS, COLUMNS, TEXT_COLUMNS, rows, NOTE)
