"""What eval, energy and latency share: open each run with its data, show progress, gather results."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpsta_cli.cli.output import Output, write_result
from bpsta_cli.cli.progress import Bar
from bpsta_cli.errors import RunError, SettingsError

if TYPE_CHECKING:
    from bpsta_cli.config import RunSettings
    from bpsta_cli.data.store import Store
    from bpsta_cli.measurement import Opened

MOST_THREADS = 1024
"""OpenMP ends the process where it cannot start a thread."""


def measure(
    runs: list[Path],
    work: "Callable[[Opened], dict[str, Any]]",
    *,
    device: str,
    data_dir: Path,
    samples: int | None,
    trust_rule: list[Path] | None,
    output: Output,
    out: Path | None,
    place: Path | None = None,
    together: Callable[[list[dict[str, Any]]], dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Do `work` on every run; print JSON and write the file where asked for.

    One run: one object. Several: a list `runs`, and what `together` makes of them. The file has no provenance in it.
    `place` is the folder of a run of the Hub that has been downloaded.
    """
    require_positive("samples", samples)
    from bpsta_cli.data import catalogue

    results = [_measure_one(run, place, work, device, data_dir, output, trust_rule or []) for run in runs]
    made = _provenance(device)
    for dataset in sorted({row["dataset"] for row in results}):
        if message := catalogue.get(dataset).disclosure:
            output.say(message)
    for dataset, split in dict.fromkeys((result["dataset"], result["split"]) for result in results):
        if split != "official":
            output.say(f"{dataset}, split: {split}")
    whole = results[0] if len(results) == 1 else {"runs": results, **(together(results) if together else {})}
    write_result(out, whole, made)
    output.result({**whole, "provenance": made})
    return results


def refuse_other_data(out: Path, settings: "RunSettings") -> None:
    """Refuse to train where a run of another data set is, before the data are fetched for it.

    Raises:
        RunError: there is one.
    """
    from bpsta_cli.training.run_directory import RunDir

    try:
        there = RunDir(out).info().settings.dataset if RunDir(out).exists else settings.dataset
    except RunError:  # training itself tells what is damaged, or begins anew
        return
    if there != settings.dataset:
        raise RunError(
            "the run directory is taken",
            expected="a new directory, or a run of the same settings, data and code",
            got=f"{out} with another setting of dataset ({there} there, {settings.dataset} asked for)",
            todo="Choose another --out, or replace the run with --overwrite.",
        )


def warn_unchecked(store: "Store", output: Output) -> None:
    """Say so where damage of a store's manifest would not be seen."""
    if not store.checked:
        output.warn(
            f"{store.path}: the manifest cannot be checked: an older version wrote no checksum. "
            "bpsta prepare --verify adds it."
        )


def warn_unfinished(run: Path, epoch: int, epochs: int, output: Output) -> None:
    """Say of which epoch the weights of an unfinished run are; epochs count from 0 in records, from 1 for readers."""
    output.warn(f"{run}: not finished; these are the weights selected so far, of epoch {epoch + 1} of {epochs}.")


def require_positive(name: str, value: int | None) -> None:
    """Refuse an option's value below 1.

    Raises:
        SettingsError: it is.
    """
    if value is not None and value < 1:
        raise SettingsError("unusable option", expected=f"--{name} of at least 1", got=str(value), todo="Correct it.")


def require_finite(name: str, value: float) -> None:
    """Refuse an option's value that is no number or has no end; Typer's limits let both through.

    Raises:
        SettingsError: it is.
    """
    if not math.isfinite(value):
        raise SettingsError("unusable option", expected=f"--{name} of a number", got=str(value), todo="Correct it.")


def use_threads(threads: int | None) -> None:
    """Let torch use so many threads, where that was asked for.

    Raises:
        SettingsError: fewer than one, or more than any machine starts.
    """
    import torch

    if threads is None:
        return
    require_positive("threads", threads)
    if threads > MOST_THREADS:
        got, todo = str(threads), "Give the number of the machine's cores."
        raise SettingsError("unusable option", expected=f"--threads of at most {MOST_THREADS}", got=got, todo=todo)
    torch.set_num_threads(threads)


def _measure_one(
    run: Path,
    folder: Path | None,
    work: "Callable[[Opened], dict[str, Any]]",
    device: str,
    data_dir: Path,
    output: Output,
    trusted: list[Path],
) -> dict[str, Any]:
    from bpsta_cli.data.catalogue import HELD_OUT
    from bpsta_cli.data.run_data import prepared_store
    from bpsta_cli.devices import resolve_device
    from bpsta_cli.measurement import Opened, described
    from bpsta_cli.sharing import located
    from bpsta_cli.training.run_directory import RunDir

    place = resolve_device(device)
    directory = RunDir(folder or located(run))
    so_far = directory.so_far()
    info, network = directory.network(place, trusted=trusted, weights=so_far.weights if so_far else None)
    if so_far:
        warn_unfinished(run, so_far.epoch, info.settings.data.epochs, output)
    if names := directory.unchecked():
        output.warn(f"{run}: {' and '.join(names)} cannot be checked: an older version wrote no checksums")
    settings = info.settings
    if HELD_OUT in info.split:
        raise RunError(
            f"{run} is a trial of a search",
            expected="a run that was trained on all training samples, and has not chosen by those it is measured on",
            got=f"a split of {info.split.rpartition('; ')[2]}",
            todo=f"`bpsta train --like {run} --selection final` trains its settings on all of them.",
        )
    with Bar("samples") as bar:
        store = prepared_store(
            settings.dataset,
            settings.data,
            T=settings.T,
            data_dir=data_dir,
            expected_hash=info.data_hash,
            progress=bar.update,
        )
        if (store.shape, store.classes) != (info.input_shape, info.classes):
            raise RunError(
                f"settings of {run} that fit no data",
                expected=f"samples of {store.shape} in {len(store.classes)} classes, as in {store.path}",
                got=f"{info.input_shape} in {len(info.classes)} classes",
                todo="Train the run again, or restore its settings.json.",
            )
        warn_unchecked(store, output)
        opened = Opened(info, network, store, place, lambda done, total: bar.update(done, total, run.name))
        found = work(opened)
    if so_far is None:
        return described(run, opened, directory.weights_sha256(), found)
    return described(run, opened, so_far.sha256, {"unfinished": {"selected_epoch": so_far.epoch}, **found})


def _provenance(device: str) -> dict[str, Any]:
    """Of what is measured in this process."""
    import torch

    from bpsta_cli.devices import resolve_device
    from bpsta_cli.kernels.dispatch import choose
    from bpsta_cli.provenance import device_name, provenance

    place = resolve_device(device)
    return {**provenance(device_name(place.type), torch.get_num_threads()), "kernel": choose(device=place).name}
