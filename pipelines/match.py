"""Finds the penalty on spikes with which a method fires at a given rate on held-out training samples.

    python pipelines/match.py pipelines/rules.yaml --recipe mnist --T 8 --method stbp --rate 0.08 --out runs/matched

A rule that fires less than another may do so by its own merit, or as any penalty on spikes would have it: this is the
control. No penalty comes first, then a small one that grows fourfold until the rate is below, then the middle, by
logarithm, of the nearest two. The rate is that of the last epoch on the validation part; the test part is not read.
OUT/trials.csv has every penalty tried, OUT/best.yaml the nearest. The same command goes on.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import grid
import typer
from trials import Record, Row, Subject, train, write_best

from bpsta_cli.cli.output import print_error
from bpsta_cli.config import TrainingSettings, load_params
from bpsta_cli.errors import BpstaError, SettingsError, did_you_mean

FIRST, FACTOR = 0.1, 4.0
TOLERANCE, MOST = 0.03, 12


def next_penalty(rates: Mapping[float, float], target: float, first: float = FIRST) -> float | None:
    """The next penalty to try, from the firing rates of those that were; None: there is nothing left to try.

    Args:
        rates: penalty -> firing rate.
        target: the rate wanted.
        first: the smallest penalty above 0 to begin with.
    """
    if 0.0 not in rates:
        return 0.0
    if rates[0.0] <= target:
        return None  # it fires no more than that without any
    below = [penalty for penalty, rate in rates.items() if rate <= target]
    if not below:
        return max(first, FACTOR * max(rates))
    high = min(below)
    low = max(penalty for penalty in rates if penalty < high)
    return math.sqrt(low * high) if low else high / FACTOR


def nearest(rows: Sequence[Row], target: float) -> Row | None:
    """The trial whose rate is nearest to the target, by ratio; one without spikes is none."""
    finished = [row for row in rows if row.state == "finished" and row.firing_rate > 0]
    return min(finished, key=lambda row: abs(math.log(row.firing_rate / target)), default=None)


def match(
    subject: Subject,
    setting: str,
    target: float,
    out: Path,
    trainings: grid.Trainings,
    *,
    first: float = FIRST,
    tolerance: float = TOLERANCE,
    most: int = MOST,
    jobs: int = 1,
) -> Record:
    """Try penalties until one is near enough, there is nothing left to try, or `most` were tried; returns all."""
    out.mkdir(parents=True, exist_ok=True)
    record, key = Record(out / "trials.csv"), f"training.{setting}"

    def penalty(row: Row) -> float:
        return float(row.settings[key])

    while True:
        waiting = [row for row in record.rows if row.state == "running"]
        near = nearest(record.rows, target)
        if any(row.state == "failed" for row in record.rows):
            break
        if not waiting and near is not None and abs(near.firing_rate / target - 1) <= tolerance:
            break
        if not waiting:
            following = next_penalty({penalty(row): row.firing_rate for row in record.rows}, target, first)
            if following is None or len(record.rows) == most:
                break
            waiting = [Row(len(record.rows), {key: following})]
            record.keep(waiting[0])
        row = train(waiting[0], subject, out / f"trial-{waiting[0].number:03d}", trainings, jobs)
        if row.state == "running":
            break
        record.keep(row)
        told = row.problem or f"firing rate {row.firing_rate:.4f}, validation {100 * row.value:.2f} %"
        grid.say(f"{setting} {penalty(row):.5g}: {told}")
    write_best(record, subject, out / "best.yaml", lambda rows: nearest(rows, target))
    return record


def _check(setting: str, target: float) -> None:
    if setting not in TrainingSettings.model_fields:
        todo = did_you_mean(setting, TrainingSettings.model_fields, otherwise="Correct --setting.")
        raise SettingsError("unknown setting", expected="a setting of training", got=setting, todo=todo)
    if not 0 < target < 1:
        raise SettingsError("unusable rate", expected="a --rate in (0, 1)", got=str(target), todo="Correct it.")


def main(
    params: Annotated[Path, typer.Argument(help="The params.yaml with all other settings.")],
    recipe: Annotated[list[str], typer.Option(help="Entry of its datasets; of several a trial is the mean.")],
    T: Annotated[int, typer.Option("--T", min=1, help="Number of time steps.")],
    rate: Annotated[float, typer.Option(help="The firing rate wanted: spikes a neuron and step.")],
    out: Annotated[Path, typer.Option(help="Folder to write into.")],
    method: Annotated[str, typer.Option(help="Learning rule or variant.")] = "stbp",
    setting: Annotated[str, typer.Option(help="The setting of training that is the penalty.")] = "spike_penalty",
    seed: Annotated[list[int], typer.Option(help="Seed of a training; of several the rate is the mean.")] = [0],  # noqa: B006 - Typer reads it once
    first: Annotated[float, typer.Option(help="The smallest penalty to begin with.")] = FIRST,
    tolerance: Annotated[float, typer.Option(help="How near is near enough, as a share of the rate.")] = TOLERANCE,
    most: Annotated[int, typer.Option(min=1, help="Penalties tried at most.")] = MOST,
    data_dir: Annotated[Path, typer.Option(help="Folder with raw and prepared data.")] = Path("data"),
    jobs: Annotated[int, typer.Option(min=1, help="Seeds at the same time; by default one a core.")] = grid.CORES,
) -> None:
    """Find the penalty on spikes with which a method fires at a given rate; the test part is not read."""
    trainings = grid.Trainings()
    try:
        _check(setting, rate)
        subject = Subject(load_params(params), tuple(recipe), method, T, tuple(seed), data_dir)
        with grid.until_stopped(trainings):
            tried = {"first": first, "tolerance": tolerance, "most": most, "jobs": jobs}
            record = match(subject, setting, rate, out, trainings, **tried)
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(2) from None
    if trainings.stopped:
        raise typer.Exit(grid.UNFINISHED)
    found = nearest(record.rows, rate)
    if found is None or abs(found.firing_rate / rate - 1) > tolerance:
        grid.say(f"no penalty came within {100 * tolerance:g} % of {rate}")
        raise typer.Exit(grid.FAILED)


if __name__ == "__main__":
    typer.run(main)
