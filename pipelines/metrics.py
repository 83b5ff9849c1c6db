"""Writes results/metrics/RUN.json: the few values of each run that `dvc metrics show` and `diff` lay side by side."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from bpsta_cli.config import load_params
from bpsta_cli.errors import BpstaError
from bpsta_cli.reporting.collect import RunResults, collect


def values(run: RunResults) -> dict[str, float]:
    """A run's values; an energy ratio is that of the ReLU twin to the run, counted (docs/energy.md)."""
    found = {name: run.train[name] for name in ("accuracy", "loss", "firing_rate")}
    if run.energy:
        found["energy_ratio"] = run.energy["counted"]["ratio"]
        found["with_memory"] = run.energy["memory"]["ratio"]
    return {name: value for name, value in found.items() if value is not None}


def write(results: Path, params: Path) -> list[Path]:
    """A file for each run that is there."""
    folder = results / "metrics"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for run in collect(results, load_params(params)).runs:
        written.append(folder / f"{run.name}.json")
        written[-1].write_text(json.dumps(values(run), indent=2) + "\n", encoding="utf-8")
    return written


def main(
    results: Annotated[Path, typer.Option(help="Folder with the pipeline's results; written into.")] = Path("results"),
    params: Annotated[Path, typer.Option(help="The params.yaml that names the study's runs.")] = Path("params.yaml"),
) -> None:
    """Write a small file of values for each run, for `dvc metrics show` and `dvc metrics diff`."""
    try:
        write(results, params)
    except BpstaError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    typer.run(main)
