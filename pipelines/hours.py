"""Tells how long the runs of a params.yaml would take, before they are begun.

    python pipelines/hours.py pipelines/paper.yaml --like runs/mnist-bpsta-T8-s0
    python pipelines/hours.py pipelines/paper.yaml --step middle:3x32x32:T8:64:17.6

It counts the multiply-accumulates of a forward pass, all inputs but the padding taken for non-zero, and asks how many
of them a second of training gets through: as in runs that are finished here (--like), or as in a training step that was
timed (--step). A network of another form gets through more or fewer, so that a half or the double may come out.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from bpsta_cli.cli.output import print_error
from bpsta_cli.config import RunSettings, load_params
from bpsta_cli.data import catalogue
from bpsta_cli.errors import BpstaError, SettingsError
from bpsta_cli.reading import documents
from bpsta_cli.rules import TWIN
from bpsta_cli.training.run_directory import RunDir

Shape = tuple[int, int, int]
TRAINING_PASSES = 3
"""Forward, and backward for inputs and for weights: an evaluation is one of them."""
STEP = re.compile(r"(?P<network>.+):(?P<shape>\d+x\d+x\d+):T(?P<T>\d+):(?P<batch>\d+):(?P<ms>\d+(\.\d+)?)")
COLUMNS = ("dataset", "recipe", "network", "T", "spiking", "runs", "hours_a_run", "hours")


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one sample: of the layer that sees the data, and of the others, at one time step."""

    first: int
    others: int

    def of(self, T: int, *, still: bool) -> int:
        """Those of T steps; a still image passes the first layer once."""
        return self.first * (1 if still else T) + self.others * T


@cache
def macs(network: str, shape: Shape, classes: int) -> Macs:
    """Counted while one empty sample passes the structure.

    Raises:
        StructureError: a structure that cannot be read or does not fit the shape.
    """
    import torch

    from bpsta_cli.energy.synapses import fan_out
    from bpsta_cli.network.builder import build

    built, found = build(network, shape, classes, method=TWIN).eval(), list[int]()

    def count(layer: Any, inputs: Any, _: Any) -> None:
        found.append(int(fan_out(layer, inputs[0].shape[2:], dense=True).sum()))

    for layer in built.synapses().values():
        layer.register_forward_hook(count)
    with torch.inference_mode():
        built(torch.zeros(1, 1, *shape))
    return Macs(found[0], sum(found[1:]))


def work(settings: RunSettings) -> float:
    """Multiply-accumulates of a whole training, evaluations counted as a third of a training step.

    Raises:
        DataError: a data set whose size only its files tell.
        StructureError: the structure does not fit the data.
    """
    row, data = catalogue.get(settings.dataset), settings.data
    if row.user_supplied:
        raise SettingsError(
            "a data set of unknown size",
            expected="a data set whose shape and number of samples the catalogue states",
            got=settings.dataset,
            todo="Leave its runs out by --only.",
        )
    channels, height, width = row.shape
    side = data.size if row.kind == "events" and data.size else None
    shape = (channels, side or height, side or width)
    each = macs(data.network, shape, len(row.classes))
    still = row.kind == "image"
    twin = each.of(1 if still else settings.T, still=still)
    spiking = each.of(settings.T, still=still)
    train, test = (data.train_samples or row.counts[0]), row.counts[1]
    epochs = data.epochs if settings.method == TWIN else data.warmup_epochs
    total = 0.0
    for macs_each, count in ((twin, epochs), (spiking, data.epochs - epochs)):
        evaluations = math.ceil(count / settings.training.evaluate_every)
        total += macs_each * (count * min(train, row.counts[0]) + evaluations * test / TRAINING_PASSES)
    return total


def rate_of_runs(runs: Iterable[Path]) -> float:
    """Multiply-accumulates a second of finished runs.

    Raises:
        RunError: no run, or none that is finished.
    """
    done = seconds = 0.0
    for run in runs:
        done += work(RunDir(run).info().settings)
        seconds += sum(documents.json_object(run / "timings.json")["epoch_seconds"])
    return done / seconds


def rate_of_step(text: str) -> float:
    """Multiply-accumulates a second of a training step, from STRUCTURE:CxHxW:T8:BATCH:MILLISECONDS.

    Raises:
        SettingsError: another form.
        StructureError: a structure that cannot be read or does not fit the shape.
    """
    if not (found := STEP.fullmatch(text)):
        raise SettingsError(
            "unusable --step",
            expected="STRUCTURE:CxHxW:T8:BATCH:MILLISECONDS, such as middle:3x32x32:T8:64:17.6",
            got=text[:80],
            todo="Correct it.",
        )
    channels, height, width = map(int, found["shape"].split("x"))
    each = macs(found["network"], (channels, height, width), 10)
    return each.of(int(found["T"]), still=True) * int(found["batch"]) / (float(found["ms"]) / 1000)


def estimate(params: Path, only: str, rate: float) -> pd.DataFrame:
    """A row for each recipe, T and kind of network: `COLUMNS`.

    Raises:
        BpstaError: an unusable params.yaml, or a run whose work cannot be counted.
    """
    study, rows = load_params(params), list[tuple[object, ...]]()
    for run in study.runs.values():
        if re.search(only, run.name):
            settings = study.settings_of(run)
            hours = work(settings) / rate / 3600
            spiking = run.method != TWIN
            rows.append((run.dataset, run.recipe, settings.data.network, run.T, spiking, 1, hours, hours))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    how = {"runs": "sum", "hours_a_run": "mean", "hours": "sum"}
    return frame.groupby(list(COLUMNS[:5]), sort=False, as_index=False).agg(how)


def main(
    params: Annotated[Path, typer.Argument(help="The params.yaml whose runs are asked for.")],
    like: Annotated[list[Path] | None, typer.Option(metavar="RUN", help="As fast as these finished runs.")] = None,
    step: Annotated[str, typer.Option(help="As fast as this step: STRUCTURE:CxHxW:T8:BATCH:MILLISECONDS.")] = "",
    only: Annotated[str, typer.Option(metavar="REGEX", help="Only the runs whose names this finds.")] = "",
) -> None:
    """Print the hours of each kind of run, and of all, one after the other."""
    try:
        if bool(like) == bool(step):
            raise SettingsError(
                "no measure of speed",
                expected="--like RUN or --step",
                got="both" if like else "neither",
                todo="Add it.",
            )
        rate = rate_of_runs(like) if like else rate_of_step(step)
        found = estimate(params, only, rate)
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(2) from None
    typer.echo(found.to_markdown(index=False, floatfmt=".2f"))
    typer.echo(
        f"\n{rate / 1e9:,.1f} GMAC/s; {found.runs.sum():,} runs, {found.hours.sum():,.1f} hours one after the other"
    )


if __name__ == "__main__":
    typer.run(main)
