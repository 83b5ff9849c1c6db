"""What the texts print for a claim: their own values, other works', and the bound that follows from them."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bpsta_cli.data import catalogue
from bpsta_cli.reporting.claims.definition import BOUNDS, Claim, Side
from bpsta_cli.reporting.claims.quantities import QUANTITIES
from bpsta_cli.reporting.paper import literature
from bpsta_cli.reporting.paper.literature import NAMES, PAPER

PAPER_T = 16
"""The paper's default number of time steps ("Results"), which its tables have where they name none."""
NONE = "-"
BEST, MOST = "best", "most"


@dataclass(frozen=True)
class Printed:
    """The rows of literature.csv that belong to a claim on one data set.

    Attributes:
        claim: the claim.
        dataset: the paper's data set.
        sides: for each of the claim's sides its row, and that of `minus` where there is one; None: not printed.
        rivals: for a rank, the other works' rows.
    """

    claim: Claim
    dataset: str
    sides: tuple[tuple["pd.Series[Any] | None", ...], ...]
    rivals: pd.DataFrame

    @property
    def row(self) -> "pd.Series[Any] | None":
        """The claim's own row: whose structure and T runs must have to be held against it."""
        return self.sides[0][0] if self.sides else None

    @property
    def values(self) -> list[float]:
        """A value a side: what is printed, or the difference of two."""
        quantity = QUANTITIES[self.claim.quantity]
        values = []
        for rows in self.sides:
            first, *others = [math.nan if row is None else quantity.in_paper(row) for row in rows]
            values.append(first - math.fsum(others))
        return values

    @property
    def value(self) -> float:
        """The first side, against the second where there is one: the printed estimate. NaN where one is missing."""
        values = self.values
        if len(values) < 2:
            return values[0] if values else math.nan
        return values[0] / values[1] if QUANTITIES[self.claim.quantity].ratio else values[0] - values[1]

    @property
    def margin(self) -> float:
        """How exact a printed accuracy is, points: the standard error sqrt(p (1 - p) / n) of p over n test samples.

        n is the whole test part's (the data catalogue); of a difference of two, the root of the sum of squares.
        """
        samples = catalogue.get(self.dataset).counts[1]
        rows = [row for row in self.sides[0] if row is not None]
        return math.hypot(*(_error(float(row["accuracy_percent"]), samples) for row in rows))

    @property
    def bound(self) -> float:
        """What a verdict is held against, in the unit of the quantity; NaN where nothing is printed."""
        if self.claim.kind == "level":
            return self.value - self.margin
        if self.claim.kind == "rank":
            return float(self.best_rival["accuracy_percent"]) if self.claim.rivals != MOST else self.median
        return BOUNDS[self.claim.bound]

    @property
    def best_rival(self) -> "pd.Series[Any]":
        """The highest of the rivals; of equals the first."""
        if self.rivals.empty:
            return pd.Series({"accuracy_percent": math.nan, "method": NONE})
        return self.rivals.iloc[int(self.rivals["accuracy_percent"].argmax())]

    @property
    def median(self) -> float:
        """The rivals' median: above it lies who is above most of them."""
        return float(self.rivals["accuracy_percent"].median())

    def text(self) -> str:
        """For readers: in words where the text has words, then the values."""
        claim = self.claim
        parts = [claim.said] if claim.said else []
        values = [value for value in self.values if not math.isnan(value)]
        if values and len(values) == len(self.sides):
            parts.append(self._numbers(values))
        return "; ".join(parts) or NONE

    def _numbers(self, values: list[float]) -> str:
        claim = self.claim
        digits = 3 if claim.quantity == "firing_rate" else 2
        differences = any(side.minus for side in claim.sides)
        text = " against ".join(f"{value:+.{digits}f}" if differences else f"{value:.{digits}f}" for value in values)
        unit = QUANTITIES[claim.quantity].distance if differences else QUANTITIES[claim.quantity].unit
        text += f" {unit}" if unit else ""
        if QUANTITIES[claim.quantity].ratio and len(values) > 1:
            text += f", a ratio of {self.value:.2f}"
        if claim.kind == "rank" and len(self.rivals):
            text += self._place(values[0])
        return text

    def _place(self, value: float) -> str:
        others = self.rivals["accuracy_percent"]
        if self.claim.rivals == MOST:
            return f"; above {int((others < value).sum())} of {len(others)}, median {self.median:.2f}"
        best = self.best_rival
        against = f"{best['accuracy_percent']:.2f} of {best['method']}"
        if self.claim.rivals != BEST:
            return f" against {against}"
        return f"; rank {int((others > value).sum()) + 1} of {len(others) + 1}, best other {against}"


def printed(rows: pd.DataFrame, claim: Claim, dataset: str) -> Printed:
    """What `rows`, as `literature.load` gives them, have for a claim on a data set."""
    sides = tuple(
        tuple(_own(rows, claim, side, method, dataset) for method in (side.method, side.minus) if method)
        for side in claim.sides
    )
    return Printed(claim, dataset, sides, _rivals(rows, claim, dataset))


def _own(rows: pd.DataFrame, claim: Claim, side: Side, method: str, dataset: str) -> "pd.Series[Any] | None":
    for table in claim.tables:
        if claim.reference != PAPER:
            own = _there(rows, claim, table, dataset)
            own = own[own["reference"] == claim.reference]
        else:
            own = literature.of_paper(rows, table, dataset, method)
            own = own[own["structure"] == side.structure] if side.structure else own
            own = own[own["T"] == _steps(side, own)]
        if len(own):
            return own.iloc[0]
    return None


def _steps(side: Side, own: pd.DataFrame) -> float:
    if side.T == "shortest":
        return float(own["T"].min())
    if side.T == "longest":
        return float(own["T"].max())
    return float(side.T or PAPER_T)


def _rivals(rows: pd.DataFrame, claim: Claim, dataset: str) -> pd.DataFrame:
    if claim.kind != "rank":
        return rows.iloc[:0]
    found = pd.concat([_there(rows, claim, table, dataset) for table in claim.tables])
    found = found[found["reference"] != claim.reference]
    if claim.rival_training:
        found = found[found["training"] == claim.rival_training]
    return found if claim.rivals in {BEST, MOST} else found[found["method"] == claim.rivals]


def _there(rows: pd.DataFrame, claim: Claim, table: int, dataset: str) -> pd.DataFrame:
    """The rows of a table: the paper's; or of one structure, also of works that the paper does not print."""
    here = rows[(rows["table"] == table) & (rows["dataset"] == dataset)]
    if claim.rival_structure:
        return here[here["structure"] == claim.rival_structure]
    return here[literature.in_paper(here)]


def _error(percent: float, samples: int) -> float:
    return math.sqrt(percent * (100 - percent) / samples)


def name_of(method: str) -> str:
    """A method as the table calls it."""
    return {"ann": "the ReLU twin", "stbp": "the baseline"}.get(method) or NAMES.get(method, method)
