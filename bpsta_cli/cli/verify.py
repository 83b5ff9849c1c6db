"""`bpsta verify`: trains and measures runs again, and compares the bytes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpsta_cli.cli.options import NO_FOLDER, DataDir, Json, Runs, Threads, TrustRule
from bpsta_cli.cli.output import Output
from bpsta_cli.cli.progress import Bar
from bpsta_cli.cli.runs import require_positive, use_threads, warn_unchecked

if TYPE_CHECKING:
    from bpsta_cli.verification import Record, Verdict

DIFFERENT = 1
"""The exit code where a run did not come out as promised."""


def verify(
    runs: Runs,
    sample: Annotated[
        int | None,
        typer.Option(
            help="Take only so many of the runs, spread over data sets, methods and T; always the same ones. "
            "(default: all)",
            show_default=False,
        ),
    ] = None,
    trust_rule: TrustRule = None,
    threads: Threads = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where to compute: auto (a GPU if there is one), cpu, cuda or cuda:N. (default: cpu; auto for a run "
            "that was trained on a GPU)",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = NO_FOLDER,
    as_json: Json = False,
) -> None:
    """Train and measure finished runs again, and compare the bytes of weights, history, metrics and measurements.

    What differs is named, by how much, and what changed since: code, libraries, machine or data. Where equal bytes are
    not promised (without the compiled kernels, on a GPU) it says so, and compares within a tolerance. Exit code 0: all
    came out as promised; 1: a run did not; 2: nothing to compare. Nothing in the run's directory is changed.
    """
    output = Output(as_json=as_json)
    require_positive("sample", sample)
    use_threads(threads)
    from bpsta_cli.devices import resolve_device
    from bpsta_cli.verification import spread

    records = [_read(run, trust_rule or []) for run in runs]
    chosen = records if sample is None else spread(records, sample)
    verdicts = []
    for number, record in enumerate(chosen, start=1):
        place = resolve_device(device or _device_of(record))
        verdicts.append(_verify(record, place, data_dir, output, f"{number}/{len(chosen)} {record.name}"))
        _say(verdicts[-1], output)
    _say_changes(verdicts, output)
    _summary(verdicts, len(records), output)
    output.result({"runs": [_described(verdict) for verdict in verdicts], "holds": _hold(verdicts)})
    if not _hold(verdicts):
        raise typer.Exit(DIFFERENT)


def _read(run: Path, trusted: list[Path]) -> "Record":
    """What is there of a run; one of the Hub is downloaded, and goes by its name there."""
    from bpsta_cli.sharing import located
    from bpsta_cli.verification import read_record

    folder = located(run)
    return read_record(folder, trusted, shown="" if folder == run else str(run))


def _device_of(record: "Record") -> str:
    """Where a run is made again: as it was made, as far as that is here."""
    return "cpu" if record.provenance.get("device", "cpu").startswith("cpu") else "auto"


def _verify(record: "Record", place: Any, data_dir: Path, output: Output, label: str) -> "Verdict":
    from bpsta_cli.verification import store_of, verify

    with Bar("samples") as bar:
        store = store_of(record, data_dir, bar.update)
    warn_unchecked(store, output)
    with Bar("steps") as bar:
        return verify(
            record,
            store,
            device=place,
            data_dir=data_dir,
            on_step=lambda done, total: bar.update(done, total, label),
        )


def _say(verdict: "Verdict", output: Output) -> None:
    name, compared = verdict.record.name, ", ".join(verdict.compared)
    if verdict.same_bytes:
        output.say(f"{name}: the same bytes ({compared})")
        return
    output.say(f"{name}: {'within tolerance' if verdict.holds else 'DIFFERENT'} (compared: {compared})")
    for difference in verdict.differences:
        output.say(f"  {difference.what}: {difference.detail}")
    if verdict.unpromised:
        output.say(f"  equal bytes are not promised here: {verdict.unpromised}")
    for figure, distance in verdict.too_far.items():
        output.say(f"  {figure}: {distance:.3g} apart, more than sums in another order explain")
    if not verdict.too_far and not verdict.holds and verdict.trained:
        output.say("  the figures are as close as with sums in another order, but equal bytes are promised here")
    if verdict.trained and not verdict.record.provenance:
        output.say("  where it was trained is not recorded; equal bytes are promised of the compiled kernels alone")


def _say_changes(verdicts: "list[Verdict]", output: Output) -> None:
    """What changed since the runs that differ were made; once for all to which the same happened."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for verdict in verdicts:
        if not verdict.same_bytes and verdict.trained:
            groups.setdefault(tuple(verdict.changed), []).append(verdict.record.name)
    for changed, names in groups.items():
        output.say(f"What changed since {', '.join(names)} {'was' if len(names) == 1 else 'were'} made:")
        for line in changed or ("nothing that is recorded",):
            output.say(f"  {line}")


def _summary(verdicts: "list[Verdict]", given: int, output: Output) -> None:
    same = sum(verdict.same_bytes for verdict in verdicts)
    near = sum(verdict.holds for verdict in verdicts) - same
    parts = [f"{same} of {len(verdicts)} runs the same bytes"]
    if near:
        parts.append(f"{near} within tolerance, where bytes are not promised")
    if different := len(verdicts) - same - near:
        parts.append(f"{different} different")
    output.say(", ".join(parts) + (f"; a sample of {given}" if given > len(verdicts) else ""))


def _hold(verdicts: "list[Verdict]") -> bool:
    return all(verdict.holds for verdict in verdicts)


def _described(verdict: "Verdict") -> dict[str, Any]:
    settings = verdict.record.info.settings
    return {
        "run": verdict.record.shown or str(verdict.record.path),
        "dataset": settings.dataset,
        "method": verdict.record.info.label,
        "T": settings.T,
        "seed": settings.seed,
        "same_bytes": verdict.same_bytes,
        "holds": verdict.holds,
        "compared": verdict.compared,
        "differences": [vars(difference) for difference in verdict.differences],
        "unpromised": verdict.unpromised,
        "too_far": verdict.too_far,
        "changed": verdict.changed,
    }
