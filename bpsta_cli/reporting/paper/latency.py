"""Table 6: networks trained at each simulation length T."""

from bpsta_cli.reporting.comparison import BASELINE
from bpsta_cli.reporting.paper import ablation, literature
from bpsta_cli.reporting.paper.ablation import COLUMNS, FIELDS, WORDS
from bpsta_cli.reporting.paper.definition import Layout, Row, absent, unknown
from bpsta_cli.reporting.paper.study import RULES, Study

LENGTHS = (4, 8, 16, 32)
"""The paper's."""


def rows(study: Study, table: int, dataset: str) -> list[Row]:
    """Every rule at every T, of the paper and of ours; a T without a run says so."""
    groups = [group for group in study.groups(dataset) if group.like["method"] in RULES]
    own = literature.of_paper(study.literature, table, dataset)
    if not groups and own.empty:
        return [absent(study, dataset)]
    found: list[Row] = []
    for T in sorted({*LENGTHS, *(group.like["T"] for group in groups)}):
        at = [group for group in groups if group.like["T"] == T]
        found += [ablation.compared(study, table, dataset, group, at) for group in at]
        methods = {group.like["method"] for group in at}
        printed = set(own.loc[own["T"] == T, "method"])
        alone = [method for method in RULES if method not in methods and literature.NAMES[method] in printed]
        none = absent(study, dataset) if not groups else {**absent(study, dataset), "remark": "no run at this T"}
        none["T"] = T
        found += [none | ablation.papers(study, table, dataset, method, T) for method in alone]
        if not at and not alone:
            found.append(none)
    return found


def note(study: Study, table: int) -> str:
    """What is compared with what."""
    return (
        "Networks trained with T steps and run for as many. Our figures: mean ± standard deviation (n - 1) over seeds, "
        f"with the weights of the epoch that the column names. To the baseline: {BASELINE} of the same settings and "
        "T. p: two-sided, Welch's t-test over seeds, not corrected for the number of rows. The paper's columns are of "
        f"its own data set, also where ours is a stand-in. {unknown(study, table)}"
    )


LAYOUT = Layout(FIELDS, COLUMNS, WORDS, rows, note)
