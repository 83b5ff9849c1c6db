"""Tells how long the runs of a params.yaml would take, before they are begun.

    python pipelines/hours.py pipelines/paper.yaml --step middle:3x32x32:T8:64:17.6

It counts the multiply-accumulates of a forward pass, all inputs but the padding taken for non-zero, and asks how many
of them a second of training gets through, which training steps tell that were timed here: STRUCTURE:CxHxW:T8:BATCH:MS.
Of several --step, each run takes the one whose sample is most like its own in work. A network of other proportions gets
through more or fewer, so that a half or the double may come out.
"""

import math
import re
from collections.abc import Sequence
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
from bpsta_cli.rules import TWIN

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


@dataclass(frozen=True)
class Part:
    """Epochs of one kind in a run.

    Attributes:
        each: multiply-accumulates of a sample.
        samples: of all epochs; one that is evaluated counts as a third of one that is trained on.
    """

    each: float
    samples: float


def parts(settings: RunSettings) -> tuple[Part, Part]:
    """A run's epochs as the ReLU twin, and those with spikes.

    Raises:
        SettingsError: a data set whose size only its files tell.
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
    each = macs(data.network, (channels, side or height, side or width), len(row.classes))
    still = row.kind == "image"
    train, test = min(data.train_samples or row.counts[0], row.counts[0]), row.counts[1] / TRAINING_PASSES
    as_twin = data.epochs if settings.method == TWIN else data.warmup_epochs
    twin, spiking = (
        Part(each.of(T, still=still), epochs * train + math.ceil(epochs / settings.training.evaluate_every) * test)
        for T, epochs in ((1 if still else settings.T, as_twin), (settings.T, data.epochs - as_twin))
    )
    return twin, spiking


@dataclass(frozen=True)
class Speed:
    """What a timed step tells.

    Attributes:
        each: multiply-accumulates of a sample.
        rate: of them a second.
    """

    each: float
    rate: float


def speed(step: str) -> Speed:
    """What STRUCTURE:CxHxW:T8:BATCH:MILLISECONDS tells.

    Raises:
        SettingsError: another form.
        StructureError: a structure that cannot be read or does not fit the shape.
    """
    if not (found := STEP.fullmatch(step)) or not float(found["ms"]):
        raise SettingsError(
            "unusable --step",
            expected="STRUCTURE:CxHxW:T8:BATCH:MILLISECONDS, such as middle:3x32x32:T8:64:17.6",
            got=step[:80],
            todo="Correct it.",
        )
    channels, height, width = map(int, found["shape"].split("x"))
    each = macs(found["network"], (channels, height, width), 10).of(int(found["T"]), still=True)
    return Speed(each, each * int(found["batch"]) / (float(found["ms"]) / 1000))


def seconds(part: Part, speeds: Sequence[Speed]) -> float:
    """How long epochs take, as fast as the step whose sample is most like theirs in work."""
    most_like = min(speeds, key=lambda speed: abs(math.log(part.each / speed.each)))
    return part.each * part.samples / most_like.rate


def estimate(params: Path, only: str, speeds: Sequence[Speed]) -> pd.DataFrame:
    """A row for each recipe, T and kind of network: `COLUMNS`.

    Raises:
        BpstaError: an unusable params.yaml, or a run whose work cannot be counted.
    """
    study, rows = load_params(params), list[tuple[object, ...]]()
    for run in study.runs.values():
        if re.search(only, run.name):
            settings = study.settings_of(run)
            hours = sum(seconds(part, speeds) for part in parts(settings)) / 3600
            spiking = run.method != TWIN
            rows.append((run.dataset, run.recipe, settings.data.network, run.T, spiking, 1, hours, hours))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    how = {"runs": "sum", "hours_a_run": "mean", "hours": "sum"}
    return frame.groupby(list(COLUMNS[:5]), sort=False, as_index=False).agg(how)


def main(
    params: Annotated[Path, typer.Argument(help="The params.yaml whose runs are asked for.")],
    step: Annotated[list[str], typer.Option(help="A step that was timed: STRUCTURE:CxHxW:T8:BATCH:MILLISECONDS.")],
    only: Annotated[str, typer.Option(metavar="REGEX", help="Only the runs whose names this finds.")] = "",
) -> None:
    """Print the hours of each kind of run, and of all, one after the other."""
    try:
        found = estimate(params, only, [speed(each) for each in step])
    except re.error as error:
        print_error(f"--only is no regular expression: {error}")
        raise typer.Exit(2) from None
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(2) from None
    typer.echo(found.to_markdown(index=False, floatfmt=".2f"))
    typer.echo(f"\n{found.runs.sum():,} runs, {found.hours.sum():,.1f} hours one after the other")


if __name__ == "__main__":
    typer.run(main)
