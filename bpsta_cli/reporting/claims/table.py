"""The table of claims: a line a claim and data set, for readers and with every number in CSV."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bpsta_cli.reporting.artifacts import Table
from bpsta_cli.reporting.claims.definition import BOUNDS, FAMILIES, Claim, load
from bpsta_cli.reporting.claims.evidence import values
from bpsta_cli.reporting.claims.finding import RULE, data_of, finding, summary
from bpsta_cli.reporting.claims.lines import Line, lines
from bpsta_cli.reporting.claims.printed import NONE
from bpsta_cli.reporting.claims.quantities import QUANTITIES
from bpsta_cli.reporting.claims.verdict import FEWEST_SEEDS, LEVEL
from bpsta_cli.reporting.comparison import probability
from bpsta_cli.reporting.paper.groups import RULES, SELECTIONS
from bpsta_cli.reporting.paper.literature import TITLES
from bpsta_cli.reporting.paper.study import Study
from bpsta_cli.reporting.tables import fewest_to_most, mean_sd

NAME = "claims"
TITLE = "What the texts claim, and what these runs say"
MOST_GROUPS = 4
"""Groups that a claim can have: two sides, each a difference."""
NOTE = (
    "Claims are in our own words. The paper's value is of its own data set; where there is none for these data, the "
    "text claims it of others. Ours: mean ± standard deviation (n - 1) "
    "over seeds; a signed number is a difference of two means. Test: the first side less the second (of energies: over "
    f"it), its {100 * (1 - LEVEL):.0f} % interval, p, and p after Holm's correction over the lines of the same family "
    f"({'; '.join(FAMILIES.values())}). p is two-sided, by Welch's t-test over seeds; of sums of several means with "
    "Welch and Satterthwaite's degrees of freedom; of energies over their logarithms; of one side by Student's t-test "
    "against the bound. "
    f"The rule: 'holds' where the means lie as is claimed and the corrected p is below {LEVEL}; 'fails' where they lie "
    f"the other way and it is below {LEVEL}; 'not told apart' where it is not, or no seed differs from another; 'not "
    f"tested' where there are no runs, fewer than {FEWEST_SEEDS} seeds on a side, or the reason that stands there. "
    f"{RULE} "
    "A printed accuracy is reached above the printed value less its standard error over the n samples of the test "
    "part, sqrt(p (1 - p) / n). That, and a place among other works, is tested on the paper's own data set alone, "
    f"whole, with its structure and T. About half: at most {BOUNDS['about half']}; about 3 %: at most "
    f"{BOUNDS['about 3 %']} %; competitive: at most {-BOUNDS['competitive']:.0f} point below the ReLU twin. Energies "
    "are in percent of the ReLU twin's; by Eq. 1 they grow with T. Fluctuation: the standard deviation of the change "
    "of test accuracy from one evaluation to the next, over the second half of the spiking epochs. First convolutions: "
    "the first half of them, at least one. A verdict on a stand-in names it and says nothing of the paper's data set. "
    "docs/paper.md has the reasons."
)


def table(study: Study, claims: Sequence[Claim] | None = None) -> Table:
    """The claims of the texts, or of `claims`, beside these runs."""
    found = lines(study, load() if claims is None else claims)
    frame = pd.DataFrame([_record(line) for line in found], columns=list(FIELDS))
    whole = [name for name in frame.columns if name.endswith(("_T", "_seeds"))]
    frame[whole] = frame[whole].astype("Int64")
    return Table(
        NAME,
        TITLE,
        f"{summary(found)} {NOTE}",
        frame,
        pd.DataFrame([_display(line) for line in found]),
        text_columns=tuple(_display(found[0])),
        supplementary=False,
        lead=finding(found),
        marks=tuple(line.verdict.replace(" ", "-") for line in found),
    )


def _display(line: Line) -> dict[str, str]:
    """What readers see."""
    return {
        "claim": f"{_data(line)}: {line.claim.claim}" if line.dataset else line.claim.claim,
        "source": line.claim.place,
        "the paper's value": _paper(line),
        "ours": _ours(line) or NONE,
        "on": _on(line) or NONE,
        "seeds": _seeds(line) or NONE,
        "test": _test(line),
        "verdict": _verdict(line),
    }


def _data(line: Line) -> str:
    """The data set that the line is of; a stand-in goes by its own name."""
    title = TITLES[line.dataset]
    return f"{line.evidence.groups[0].dataset}, in place of {title}" if line.evidence.stand_in else title


def _paper(line: Line) -> str:
    if line.paper is None:
        return NONE
    return line.paper.text() if line.named else "none for these data"


def _ours(line: Line) -> str:
    if not (line.evidence.groups and line.evidence.complete(line.claim)):
        return ""
    quantity = QUANTITIES[line.claim.quantity]
    sides = []
    for side in line.evidence.sides:
        columns = [pd.Series(values(group, line.claim.quantity), dtype=float) for group in side]
        if any(column.empty for column in columns):
            return ""
        if len(columns) > 1:
            sides.append(f"{columns[0].mean() - columns[1].mean():+.{quantity.digits}f}")
        else:
            sign = "+" if quantity.signed and columns[0].mean() > 0 else ""
            sides.append(sign + mean_sd(columns[0].mean(), columns[0].std(), quantity.digits))
    differences = any(side.minus for side in line.claim.sides)
    return _with(" against ".join(sides), quantity.distance if differences else quantity.unit)


def _with(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text


def _on(line: Line) -> str:
    """The data that were trained on, in words, and T."""
    groups = line.evidence.groups
    if not groups:
        return ""
    steps = ", ".join(dict.fromkeys(str(group.like["T"]) for group in groups if group.like["method"] in RULES))
    selection = groups[0].like["selection"]
    chosen = "" if selection == "final" else f", {SELECTIONS.get(selection, selection)}"
    return f"{groups[0].trained_on}; T = {steps}{chosen}"


def _seeds(line: Line) -> str:
    counts = [group.seeds for group in line.evidence.groups]
    return fewest_to_most(counts) if counts else ""


def _test(line: Line) -> str:
    """The estimate with its interval, p and the corrected p; or why there is none."""
    estimate = line.estimate
    if estimate is None:
        return line.reason
    quantity = QUANTITIES[line.claim.quantity]
    level = len(line.claim.sides) == 1 and not line.claim.sides[0].minus
    plain = quantity.ratio or (level and not quantity.signed)
    unit = quantity.unit if level else "" if quantity.ratio else quantity.distance
    ends = (estimate.value, estimate.low, estimate.high)
    numbers = [f"{number:{'' if plain else '+'}.{quantity.digits}f}" for number in ends]
    bound = f" against {line.bound:.{quantity.digits}f}" if line.bound else ""
    if math.isnan(estimate.p):
        return f"{_with(numbers[0] + bound, unit)}; no seed differs"
    p, corrected = probability(estimate.p), probability(line.corrected)
    return f"{_with(f'{numbers[0]} [{numbers[1]}, {numbers[2]}]{bound}', unit)}; p {p}, Holm {corrected}"


def _verdict(line: Line) -> str:
    """The verdict; one that rests on other than the paper's data names what it rests on."""
    return f"{line.verdict} on {data_of(line)}" if line.base in {"stand-in", "part"} else line.verdict


CLAIM = ("id", "family", "claim", "place", "kind", "quantity", "direction", "dataset", "named")
RESULT = (
    *("printed", "printed_value", "bound", "estimate", "low", "high", "p", "p_holm", "verdict", "base", "reason"),
    *("trained_on", "stand_in", "split"),
)
GROUP = ("method", "structure", "T", "seeds", "mean", "sd")
FIELDS = (*CLAIM, *RESULT, *(f"group_{n}_{name}" for n in range(1, MOST_GROUPS + 1) for name in GROUP))
"""CSV's columns: the claim, the verdict and what it rests on, and each group of runs."""


def _record(line: Line) -> dict[str, Any]:
    """Every number, for CSV."""
    row: dict[str, Any] = {name: getattr(line.claim, name) for name in CLAIM[:7]}
    row |= {"dataset": line.dataset, "named": line.named, "bound": line.bound, "p_holm": line.corrected}
    row |= {"verdict": line.verdict, "base": line.base, "reason": line.reason}
    if line.paper is not None:
        row |= {"printed": line.paper.text(), "printed_value": line.paper.value}
    if line.estimate is not None:
        row |= {name: getattr(line.estimate, to) for name, to in zip(RESULT[3:7], _ESTIMATE, strict=True)}
    for n, group in enumerate(line.evidence.groups, start=1):
        column = pd.Series(values(group, line.claim.quantity), dtype=float)
        like = group.like
        measured = (like["method"], like["network"], like["T"], group.seeds, column.mean(), column.std())
        row |= {f"group_{n}_{name}": value for name, value in zip(GROUP, measured, strict=True)}
        row |= {"trained_on": group.dataset, "stand_in": group.stand_in, "split": like["split"]}
    return row


_ESTIMATE = ("value", "low", "high", "p")
