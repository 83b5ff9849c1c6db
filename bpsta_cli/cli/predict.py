"""`bpsta predict`: what a trained run decides of single files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpsta_cli.cli.options import Device, Json, TrustRule
from bpsta_cli.cli.output import Output
from bpsta_cli.cli.runs import warn_unfinished

if TYPE_CHECKING:
    from bpsta_cli.evaluation.prediction import Prediction


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory that bpsta train wrote.")],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Images, recordings, .wav files or series, as the run was trained on."),
    ],
    device: Device = "auto",
    trust_rule: TrustRule = None,
    as_json: Json = False,
) -> None:
    """Classify single files: the class, its vote, the next class, and the firing rate.

    A file is read and encoded as the samples that the run was trained on. The vote is the mean over the T time steps of
    a class's output, about 0 for none and 1 for full agreement; the class with the highest is taken.
    """
    output = Output(as_json=as_json)
    from bpsta_cli.data import single_file
    from bpsta_cli.devices import resolve_device
    from bpsta_cli.evaluation.prediction import predict as decide
    from bpsta_cli.sharing import located
    from bpsta_cli.training.run_directory import RunDir

    place = resolve_device(device)
    directory = RunDir(located(run))
    so_far = directory.so_far()
    info, network = directory.network(place, trusted=trust_rule or [], weights=so_far.weights if so_far else None)
    settings = info.settings
    if so_far:
        warn_unfinished(run, so_far.epoch, settings.data.epochs, output)
    found = []
    for file in files:
        sample = single_file.read(file, settings.dataset, settings.data, T=settings.T, shape=info.input_shape)
        found.append((file, decide(network, sample.x, T=settings.T, scale=sample.scale, device=place)))
    output.table(
        f"{run}: {settings.dataset}, {settings.label}, T = {settings.T}",
        ["file", "class", "vote", "next", "its vote", "firing rate"],
        [_row(file, decision, info.classes) for file, decision in found],
    )
    output.result({"run": str(run), "files": [_described(file, each, info.classes) for file, each in found]})


def _row(file: Path, decision: "Prediction", classes: tuple[str, ...]) -> list[str]:
    votes = decision.votes
    others = [label for label in range(len(classes)) if label != decision.label]
    second = max(others, key=lambda label: votes[label])
    rate = "-" if decision.firing_rate is None else f"{decision.firing_rate:.4f}"
    cells = [classes[decision.label], f"{votes[decision.label]:.3f}", classes[second], f"{votes[second]:.3f}"]
    return [str(file), *cells, rate]


def _described(file: Path, decision: "Prediction", classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "file": str(file),
        "class": classes[decision.label],
        "label": decision.label,
        "votes": dict(zip(classes, decision.votes, strict=True)),
        "firing_rate": decision.firing_rate,
    }
