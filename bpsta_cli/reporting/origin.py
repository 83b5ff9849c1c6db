"""What a report was made from, and what a reader must know of it before any number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bpsta_cli.data import catalogue
from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.rules import TWIN

NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Origin:
    """What a report was made from.

    Attributes:
        runs: the runs.
        stand_ins: a paper's data set -> what was trained on in its place.
        missing: runs that are not there, and what was not measured of others.
        provenance: a row for each distinct origin of the runs, every entry text.
    """

    runs: list[RunResults]
    stand_ins: Mapping[str, str]
    missing: list[str]
    provenance: pd.DataFrame


def runs_table(origin: Origin) -> pd.DataFrame:
    """A row a data set, structure and T."""
    rows = pd.DataFrame(
        [
            {
                "data set": run.train["dataset"],
                "structure": run.train["network"],
                "T": run.train["T"],
                "method": run.train["method"],
                "seed": run.train["seed"],
                "epochs": _epochs(run),
                "selection": run.train["selection"],
                "split": run.train.get("split") or "not recorded",
            }
            for run in origin.runs
        ]
    )
    keys = ["data set", "structure", "T", "epochs", "selection", "split"]
    grouped = rows.groupby(keys, sort=False)
    display = grouped.agg(methods=("method", _listed), seeds=("seed", "nunique"), runs=("seed", "size")).reset_index()
    display.insert(1, "stands for", [_stands_for(name, origin.stand_ins) for name in display["data set"]])
    return display[["data set", "stands for", "structure", "T", "methods", "seeds", "runs", *keys[3:]]]


def _epochs(run: RunResults) -> str:
    twin = int((run.history["phase"] == "twin").sum()) if run.train["method"] != TWIN else 0
    return f"{run.train['epochs']}, {twin} of them as the twin" if twin else str(run.train["epochs"])


def _listed(values: "pd.Series[str]") -> str:
    return ", ".join(dict.fromkeys(values))


def _stands_for(dataset: str, stand_ins: Mapping[str, str]) -> str:
    named = [catalogue.get(paper).title for paper, used in stand_ins.items() if used == dataset]
    return ", ".join(named) or "-"


def facts(origin: Origin) -> list[dict[str, str]]:
    """Label and value of what a reader asks first: how many runs, of what, from which commit, on which device."""
    datasets = dict.fromkeys(run.train["dataset"] for run in origin.runs)
    methods = dict.fromkeys(run.train["method"] for run in origin.runs)
    values = {
        "runs": str(len(origin.runs)),
        "data sets": ", ".join(datasets),
        "methods": ", ".join(methods),
        "commit": ", ".join(dict.fromkeys(origin.provenance["commit"])),
        "computed on": ", ".join(dict.fromkeys(origin.provenance["device"])),
        "missing": f"{len(origin.missing)}" if origin.missing else "nothing",
    }
    return [{"label": label, "value": value} for label, value in values.items()]


def warnings(origin: Origin) -> list[str]:
    """What a reader must know before any number."""
    used = {run.train["dataset"] for run in origin.runs}
    standing = [
        f"{stand_in} for {catalogue.get(paper).title}"
        for paper, stand_in in origin.stand_ins.items()
        if stand_in in used
    ]
    lines = []
    if standing:
        lines.append(
            f"Stand-ins, so that the pipeline runs without a download: {'; '.join(standing)}. Their values say "
            "nothing of the paper's data sets and are named wherever they stand."
        )
    if made := [row for row in map(catalogue.get, sorted(used)) if row.synthetic]:
        lines.append(f"{' and '.join(row.name for row in made)}: simulated, not recorded.")
    if any(commit.endswith("-dirty") for commit in origin.provenance["commit"]):
        lines.append("Some runs are of a working tree with changes that are in no commit (-dirty).")
    return lines


def provenance(runs: list[RunResults], made: Mapping[str, dict[str, Any]]) -> pd.DataFrame:
    """A row for each distinct origin of the runs, every entry text; `runs` counts them.

    Args:
        runs: the runs.
        made: the provenance of each run's training by the run's name; empty or none: not recorded.
    """
    rows = pd.DataFrame([_provenance_of(run, made.get(run.name, {})) for run in runs])
    return rows.value_counts(sort=False).rename("runs").reset_index().astype(str)


def _provenance_of(run: RunResults, made: dict[str, Any]) -> dict[str, str]:
    return {
        "data set": run.train["dataset"],
        "data": run.train["data_hash"][:12],
        "commit": _short(made.get("commit", NOT_RECORDED)),
        "device": made.get("device", NOT_RECORDED),
        "machine": _machine(made.get("machine", {})),
        "threads": str(made.get("threads", "-")),
        "kernel": made.get("kernel") or "-",
        "python": made.get("python", "-"),
        "libraries": ", ".join(f"{name} {version}" for name, version in made.get("libraries", {}).items()) or "-",
    }


def _machine(recorded: dict[str, str]) -> str:
    """What decides the last digits, without the long list of instructions; "-" for a record without it."""
    texts = (recorded.get(name) for name in ("processor", "caches", "environment", "builds"))
    return "; ".join(text for text in texts if text) or "-"


def _short(commit: str) -> str:
    head, _, rest = commit.partition("-")
    return head[:12] + (f"-{rest}" if rest else "")
