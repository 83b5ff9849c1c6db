"""From claims and runs to the lines of the table: what is printed, what the runs have, and the verdict."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bpsta_cli.reporting.claims.definition import BOUNDS, Claim
from bpsta_cli.reporting.claims.evidence import Evidence, Runs, gather, runs_on
from bpsta_cli.reporting.claims.printed import Printed, printed
from bpsta_cli.reporting.claims.quantities import QUANTITIES
from bpsta_cli.reporting.claims.verdict import Estimate, Verdict, contrast, decide, holm
from bpsta_cli.reporting.paper.literature import TITLES
from bpsta_cli.reporting.paper.study import Study

NOWHERE = Evidence((), "")


@dataclass(frozen=True)
class Line:
    """One claim on one data set.

    Attributes:
        claim: the claim.
        dataset: the paper's data set; "" for a claim of kind "other".
        named: the text makes the claim for this data set; else it is tested here beyond the text.
        paper: what is printed.
        evidence: the runs, and why there is no verdict.
        estimate: the first side less the second (of ratios: over it), its interval and p; None where there is no test.
        bound: what it is held against.
        corrected: p after Holm's correction over the family.
        verdict: by the rule.
    """

    claim: Claim
    dataset: str
    named: bool
    paper: Printed | None
    evidence: Evidence
    estimate: Estimate | None = None
    bound: float = math.nan
    corrected: float = math.nan
    verdict: Verdict = "not tested"

    @property
    def reason(self) -> str:
        """Why there is no verdict; "" where there is one."""
        return self.claim.reason or self.evidence.reason

    @property
    def base(self) -> str:
        """What a verdict rests on: "real", "part" of the paper's data set, "stand-in"; "" for none."""
        if self.verdict == "not tested":
            return ""
        return "stand-in" if self.evidence.stand_in else "part" if self.evidence.part else "real"


def lines(study: Study, claims: Iterable[Claim]) -> list[Line]:
    """Every claim on every data set that it is about, and on others where it is tested beyond the text."""
    runs = {dataset: runs_on(study, dataset) for dataset in TITLES}
    found = [line for claim in claims for line in _lines(study, runs, claim)]
    for family in dict.fromkeys(line.claim.family for line in found):
        places = [place for place, line in enumerate(found) if line.claim.family == family and line.estimate]
        estimates = [estimate for place in places if (estimate := found[place].estimate)]
        corrected = holm([estimate.p for estimate in estimates])
        for place, estimate, p in zip(places, estimates, corrected, strict=True):
            line = found[place]
            verdict = decide(estimate.value, line.bound, p, line.claim.direction)
            found[place] = replace(line, corrected=p, verdict=verdict)
    return found


def _lines(study: Study, runs: dict[str, Runs], claim: Claim) -> list[Line]:
    if claim.kind == "other":
        return [Line(claim, "", True, None, NOWHERE)]
    found = []
    others = [dataset for dataset in TITLES if dataset not in claim.datasets] if claim.elsewhere else []
    for dataset in (*claim.datasets, *others):
        named = dataset in claim.datasets
        paper = printed(study.literature, claim, dataset)
        for evidence in gather(runs[dataset], paper):
            if named or evidence.complete(claim):
                found.append(_tested(Line(claim, dataset, named, paper, evidence)))
    return found


def _tested(line: Line) -> Line:
    """The estimate of a line whose evidence allows one."""
    if line.evidence.reason or line.paper is None:
        return line
    ratio = QUANTITIES[line.claim.quantity].ratio
    bound = BOUNDS[line.claim.bound] if line.claim.kind == "comparison" else line.paper.bound
    estimate = contrast(line.evidence.samples(line.claim), math.log(bound) if ratio else bound)
    if ratio:
        value, low, high = (math.exp(number) for number in (estimate.value, estimate.low, estimate.high))
        estimate = Estimate(value, low, high, estimate.p)
    return replace(line, estimate=estimate, bound=bound)
