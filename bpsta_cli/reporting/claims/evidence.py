"""What the runs have for a claim on a data set of the paper: the groups on each side, or why there is no verdict."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bpsta_cli.reporting.claims.definition import Claim, Side
from bpsta_cli.reporting.claims.printed import PAPER_T, Printed, name_of
from bpsta_cli.reporting.claims.quantities import QUANTITIES
from bpsta_cli.reporting.claims.verdict import FEWEST_SEEDS, Sample
from bpsta_cli.reporting.paper.groups import PARTIAL, RULES, Group
from bpsta_cli.reporting.paper.study import Study

OTHER_VERSION = "version "
"""What `split` begins with where the data are of another version than the paper's (speech)."""
SHARED = ("epochs", "selection", "split", "train_samples")
"""What runs must share to be compared with each other, beside recipe and structure."""


@dataclass(frozen=True)
class Evidence:
    """The runs for one line of the table.

    Attributes:
        sides: for each of the claim's sides its group, and that of `minus` where there is one; fewer where runs lack.
        reason: why there can be no verdict; "" where there can.
    """

    sides: tuple[tuple[Group, ...], ...]
    reason: str = ""

    @property
    def groups(self) -> list[Group]:
        """Every group, each once, in order."""
        return list({id(group): group for side in self.sides for group in side}.values())

    @property
    def stand_in(self) -> bool:
        """The runs are of a stand-in for the paper's data set."""
        return any(group.stand_in for group in self.groups)

    @property
    def part(self) -> bool:
        """The runs are of less than the paper's data set, or of another version of it."""
        return any(not whole(group) for group in self.groups)

    def complete(self, claim: Claim) -> bool:
        """Every side has its groups."""
        wanted = [2 if side.minus else 1 for side in claim.sides]
        return [len(side) for side in self.sides] == wanted

    def samples(self, claim: Claim) -> list[Sample]:
        """The seeds' values with the weights that make the first side less the second; logarithms of ratios.

        A group that stands on both sides is one sample: its weights add up.
        """
        weights: dict[int, float] = {}
        for sign, side in zip((1.0, -1.0), self.sides, strict=False):
            for place, group in enumerate(side):
                weights[id(group)] = weights.get(id(group), 0.0) + (sign if place == 0 else -sign)
        ratio = QUANTITIES[claim.quantity].ratio
        samples = []
        for group in self.groups:
            known = values(group, claim.quantity)
            samples.append(Sample(weights[id(group)], tuple(map(math.log, known)) if ratio else tuple(known)))
        return samples


def values(group: Group, quantity: str) -> list[float]:
    """A value a seed, of the seeds that have one."""
    measured = map(QUANTITIES[quantity].of, group.runs)
    return [value for value in measured if not math.isnan(value)]


def whole(group: Group) -> bool:
    """All of the data set as it is published, in the version that the catalogue names."""
    split = group.like["split"]
    return not (PARTIAL in split or group.like["train_samples"] or split.startswith(OTHER_VERSION))


@dataclass(frozen=True)
class Runs:
    """The runs on one data set of the paper, or on its stand-in: read once for all claims.

    Attributes:
        groups: `Study.groups`.
        main: recipe -> the T of the study's tables (`Study.main`).
        absence: why there are none.
    """

    groups: list[Group]
    main: dict[str, int]
    absence: str


def runs_on(study: Study, dataset: str) -> Runs:
    """The runs of the study on one data set."""
    groups = study.groups(dataset)
    spiking = [group for group in study.main(dataset) if group.like["method"] in RULES]
    main = {group.like["recipe"]: group.like["T"] for group in spiking}
    return Runs(groups, main, "" if groups else study.absence(dataset))


def gather(runs: Runs, paper: Printed) -> list[Evidence]:
    """The evidence for a claim: for a comparison one for each recipe that has all its sides, else one.

    Where no recipe has them all, the one that has most stands for the others and says what it lacks.
    """
    claim, groups = paper.claim, runs.groups
    if not groups:
        return [Evidence((), runs.absence)]
    if claim.kind != "comparison":
        return [_published(paper, groups)]
    found = [_compared(claim, same, runs.main) for same in _alike(claim, groups)]
    complete = [evidence for evidence in found if evidence.complete(claim)]
    return complete or [max(found, key=lambda evidence: len(evidence.groups))]


def _alike(claim: Claim, groups: list[Group]) -> Iterable[list[Group]]:
    """Groups that may be compared: of the same recipe, or where the claim is about structures of any."""
    structures = any(side.structure for side in claim.sides)
    shared = SHARED[1:] if structures else ("recipe", "network", *SHARED)
    alike: dict[tuple[object, ...], list[Group]] = {}
    for group in groups:
        alike.setdefault(tuple(group.like[name] for name in shared), []).append(group)
    return alike.values()


def _compared(claim: Claim, groups: list[Group], main: dict[str, int]) -> Evidence:
    steps = _common_time_steps(claim, groups)
    ends = {"shortest": min(steps, default=None), "longest": max(steps, default=None)}
    if len(steps) < 2 and any(side.T in ends for side in claim.sides):
        return Evidence((), "no runs at two T")
    sides, missing = [], []
    for side in claim.sides:
        T = ends[side.T] if isinstance(side.T, str) else side.T or _usual(claim, steps, main, groups)
        named = [_pick(groups, side, method, T) for method in (side.method, side.minus) if method]
        sides.append(tuple(group for group in named if group))
        missing += [
            f"no run of {name_of(method)}{'' if T is None else f' at T = {T}'}"
            for method, group in zip((side.method, side.minus), named, strict=False)
            if method and not group
        ]
    if missing:
        return Evidence(tuple(sides), missing[0])
    evidence = Evidence(tuple(sides))
    return Evidence(evidence.sides, _too_few(claim, evidence.groups))


def _common_time_steps(claim: Claim, groups: list[Group]) -> list[int]:
    """Each T at which every spiking side of the claim has runs, of its structure where it names one."""
    wanted = {(method, side.structure) for side in claim.sides for method in (side.method, side.minus) if method}
    spiking = [(method, structure) for method, structure in wanted if method in RULES]
    steps = {group.like["T"] for group in groups}
    return sorted(T for T in steps if all(_at(groups, method, structure, T) for method, structure in spiking))


def _usual(claim: Claim, steps: list[int], main: dict[str, int], groups: list[Group]) -> int | None:
    """The T of a claim that names none: the tables', or over several structures the paper's or the longest of all."""
    if not any(side.structure for side in claim.sides):
        return main.get(groups[0].like["recipe"])
    return PAPER_T if PAPER_T in steps else max(steps, default=None)


def _pick(groups: list[Group], side: Side, method: str, T: int | None) -> Group | None:
    found = _at(groups, method, side.structure, T)
    if not found and method not in RULES:  # the twin makes one pass, whatever T its line names
        found = [group for group in groups if group.like["method"] == method]
    return found[0] if found else None


def _at(groups: list[Group], method: str, structure: str | None, T: int | None) -> list[Group]:
    return [
        group
        for group in groups
        if group.like["method"] == method and group.like["T"] == T and structure in {None, group.like["network"]}
    ]


def _published(paper: Printed, groups: list[Group]) -> Evidence:
    """The group that comes nearest to what is printed; no accuracy decides which."""
    side = paper.claim.sides[0]
    structures = {None, side.structure}
    own = [g for g in groups if g.like["method"] == side.method and {None, g.like["network"]} >= structures]
    if not own:
        return Evidence((), f"no run of {name_of(side.method)}{f' with {side.structure}' if side.structure else ''}")
    if paper.row is None or math.isnan(paper.bound):
        return Evidence(((own[-1],),), "no printed value to hold it against")
    best = max(own, key=lambda group: ([not word for word in _unlike(paper, group)], group.seeds, group.like["T"]))
    named = [best]
    if side.minus:
        named += [group for group in groups if group.like == best.like | {"method": side.minus}]
        if len(named) < 2:
            return Evidence(((best,),), f"no run of {name_of(side.minus)} like it")
    unlike = [word for word in _unlike(paper, best) if word]
    return Evidence((tuple(named),), ", ".join(unlike) or _too_few(paper.claim, named))


def _unlike(paper: Printed, group: Group) -> tuple[str, ...]:
    """How a group differs from what a printed value is of; "" where it does not."""
    if group.stand_in:
        return (f"{group.dataset} is a stand-in",)
    like, structure, T = group.like, paper.claim.sides[0].structure or "", math.nan
    if paper.row is not None:
        structure, T = structure or str(paper.row["structure"]), float(paper.row["T"])
    return (
        "" if whole(group) else "not the whole data set",
        f"structure {like['network']}, not {structure}" if structure and like["network"] != structure else "",
        f"T = {like['T']}, not {T:.0f}" if not math.isnan(T) and like["T"] != T else "",
    )


def _too_few(claim: Claim, groups: list[Group]) -> str:
    if any(group.seeds < FEWEST_SEEDS for group in groups):
        return f"fewer than {FEWEST_SEEDS} seeds"
    if any(len(values(group, claim.quantity)) < FEWEST_SEEDS for group in groups):
        return QUANTITIES[claim.quantity].absent
    return ""
