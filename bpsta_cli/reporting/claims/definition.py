"""What a claim is: the entries of claims.toml, checked when they are read."""

import tomllib
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bpsta_cli.config import validate
from bpsta_cli.reporting.claims.quantities import QUANTITIES
from bpsta_cli.reporting.paper.groups import METHODS
from bpsta_cli.reporting.paper.literature import PAPER, TITLES

FAMILIES = {
    "accuracy": "Printed accuracy",
    "rank": "Beside other works",
    "order": "What each adjustment adds",
    "rates": "Firing rates",
    "energy": "Energy",
    "steps": "Fewer steps",
    "curves": "Smoother curves",
    "depth": "Deeper networks",
    "stbp": "STBP's own claims",
    "mechanism": "Not measured by runs",
}
"""A family -> its name: the lines over which one correction is made."""
BOUNDS = {"nothing": 0.0, "about half": 0.6, "about 3 %": 3.5, "competitive": -1.0}
"""How words are read as a number, in the unit of the claim's quantity.

about half: at most 0.6 of the other's energy, the tenth above 0.50 and 0.55, which the press note calls about half
(Table 5: 17.4 / 34.6 and 16.2 / 29.5). about 3 %: at most 3.5 % of the twin's energy, what rounds to 3 %.
competitive: no more than one percentage point of accuracy below the twin.
"""

Method = Literal["ann", "stbp", "bpsa", "bpsta"]
Direction = Literal["above", "below"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Side(_Entry):
    """What stands on one side of a comparison: a mean over seeds, or a difference of two.

    Attributes:
        method: the learning rule, or "ann", the ReLU twin.
        minus: the rule whose mean is taken away.
        T: number of time steps; None: that of the study's tables (`Study.main`), "shortest" and "longest": of those at
            which every rule of the claim was trained.
        structure: the one that the claim is about; None: any.
    """

    method: Method
    minus: Method | None = None
    T: int | Literal["shortest", "longest"] | None = None
    structure: str | None = None


class Claim(_Entry):
    """One claim; a line of the table for each of its data sets.

    Attributes:
        id: its name.
        family: one of `FAMILIES`.
        claim: what is claimed, in our own words.
        place: where it is claimed.
        kind: "level" (a printed value is reached), "rank" (above or below what is printed of other works), "comparison"
            (two sides, or one, against `bound`) or "other" (no run can show it).
        quantity: one of `QUANTITIES`.
        direction: where the first side lies, by the claim.
        bound: one of `BOUNDS`: how far the first side is from the second, as a difference, or of energies as a ratio.
        sides: one or two.
        tables: the paper's tables that print the values, the first that has one goes before the others.
        said: what is printed in words alone.
        datasets: the paper's data sets that the claim is about.
        elsewhere: it is tested on the paper's other data sets too, where runs are there.
        reference: whose claim it is, as literature.csv names the work.
        rivals: for a rank, "best" of the others, "most" of them (their median), or one by its method.
        rival_training: of these, the ones that are trained so ("" for all).
        rival_structure: of these, the ones of this structure ("" for all); they are looked for beyond the paper too.
        reason: for "other", why no run can show it.
        main: it is the one that the report's first sentence speaks of.
    """

    id: str
    family: str
    claim: str
    place: str
    kind: Literal["level", "rank", "comparison", "other"]
    quantity: str = "accuracy"
    direction: Direction = "above"
    bound: str = "nothing"
    sides: tuple[Side, ...] = Field(default=(), max_length=2)
    tables: tuple[int, ...] = ()
    said: str = ""
    datasets: tuple[str, ...] = ()
    elsewhere: bool = False
    reference: str = PAPER
    rivals: str = ""
    rival_training: str = ""
    rival_structure: str = ""
    reason: str = ""
    main: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "Claim":
        known = {"family": list(FAMILIES), "quantity": list(QUANTITIES), "bound": list(BOUNDS)}
        for key, names in known.items():
            if (value := getattr(self, key)) not in names:
                raise ValueError(f"{self.id}: {key} {value!r} is none of {', '.join(names)}")
        if unknown := [name for name in self.datasets if name not in TITLES]:
            raise ValueError(f"{self.id}: {unknown[0]!r} is no data set of the paper")
        if self.kind == "comparison" and QUANTITIES[self.quantity].ratio and BOUNDS[self.bound] <= 0:
            raise ValueError(f"{self.id}: a ratio is held against a bound above 0, not against {self.bound!r}")
        if self.kind == "other":
            needed = {"reason": bool(self.reason), "no sides": not self.sides}
        else:
            needed = {"datasets": bool(self.datasets), "sides": bool(self.sides)}
            if self.kind != "comparison":
                needed |= {"one side": len(self.sides) == 1, "tables": bool(self.tables)}
            if self.kind == "rank":
                needed["rivals"] = bool(self.rivals)
        if missing := [name for name, there in needed.items() if not there]:
            raise ValueError(f"{self.id}: a claim of kind {self.kind} needs {missing[0]}")
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        """Every rule that the claim names, in the order of `METHODS`."""
        named = {method for side in self.sides for method in (side.method, side.minus)}
        return tuple(method for method in METHODS if method in named)


class _File(_Entry):
    claims: tuple[Claim, ...]

    @model_validator(mode="after")
    def _named_once(self) -> "_File":
        names = [claim.id for claim in self.claims]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two claims are named {twice[0]}")
        if len(main := [claim.id for claim in self.claims if claim.main]) > 1:
            raise ValueError(f"two claims are the main one: {main[0]} and {main[1]}")
        return self


def load() -> tuple[Claim, ...]:
    """The claims of the texts, in the order in which the table has them."""
    return read((files("bpsta_cli.reporting.claims") / "claims.toml").read_text(encoding="utf-8"))


def read(text: str) -> tuple[Claim, ...]:
    """The claims of a TOML text.

    Raises:
        SettingsError: a key that is not known, a value that cannot be used, or a claim named twice.
    """
    return validate(_File, tomllib.loads(text), where="claims.toml").claims
