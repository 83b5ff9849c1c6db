"""What eval, energy and latency share: open each run with its data, show progress, gather results."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpsta_cli.cli.output import Output, write_result
from bpsta_cli.cli.progress import Bar
from bpsta_cli.errors import SettingsError

if TYPE_CHECKING:
    import torch

    from bpsta_cli.data.store import Store
    from bpsta_cli.evaluation.accuracy import OnBatch
    from bpsta_cli.network import Network
    from bpsta_cli.training.run_directory import RunInfo


@dataclass
class Opened:
    """A run that is ready to be measured."""

    info: "RunInfo"
    network: "Network"
    store: "Store"
    device: "torch.device"
    on_batch: "OnBatch"


def measure(
    runs: list[Path],
    work: Callable[[Opened], dict[str, Any]],
    *,
    device: str,
    data_dir: Path,
    samples: int | None,
    output: Output,
    out: Path | None,
    together: Callable[[list[dict[str, Any]]], dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Do `work` on every run; print JSON and write the file where asked for.

    One run: one object. Several: a list `runs`, and what `together` makes of them.
    """
    require_positive("samples", samples)
    from bpsta_cli.data import catalogue

    results = [_measure_one(run, work, device, data_dir, output) for run in runs]
    for dataset in sorted({row["dataset"] for row in results}):
        if message := catalogue.get(dataset).disclosure:
            output.say(message)
    for dataset, split in dict.fromkeys((result["dataset"], result["split"]) for result in results):
        if split != "official":
            output.say(f"{dataset}, split: {split}")
    whole = results[0] if len(results) == 1 else {"runs": results, **(together(results) if together else {})}
    write_result(out, whole)
    output.result(whole)
    return results


def warn_unchecked(store: "Store", output: Output) -> None:
    """Say so where damage of a store's manifest would not be seen."""
    if not store.checked:
        output.warn(
            f"{store.path}: the manifest cannot be checked: an older version wrote no checksum. "
            "bpsta prepare --verify adds it."
        )


def require_positive(name: str, value: int | None) -> None:
    """Refuse an option's value below 1.

    Raises:
        SettingsError: it is.
    """
    if value is not None and value < 1:
        raise SettingsError("unusable option", expected=f"--{name} of at least 1", got=str(value), todo="Correct it.")


def _measure_one(
    run: Path, work: Callable[[Opened], dict[str, Any]], device: str, data_dir: Path, output: Output
) -> dict[str, Any]:
    import torch

    from bpsta_cli.data.run_data import prepared_store
    from bpsta_cli.devices import resolve_device
    from bpsta_cli.provenance import device_name, provenance
    from bpsta_cli.training.run_directory import RunDir

    place = resolve_device(device)
    directory = RunDir(run)
    info, network = directory.network(place)
    if names := directory.unchecked():
        output.warn(f"{run}: {' and '.join(names)} cannot be checked: an older version wrote no checksums")
    settings = info.settings
    with Bar("samples") as bar:
        store = prepared_store(
            settings.dataset,
            settings.data,
            T=settings.T,
            data_dir=data_dir,
            expected_hash=info.data_hash,
            progress=bar.update,
        )
        warn_unchecked(store, output)
        found = work(Opened(info, network, store, place, lambda done, total: bar.update(done, total, run.name)))
    return {
        "run": str(run),
        "dataset": settings.dataset,
        "method": settings.method,
        "T": settings.T,
        "seed": settings.seed,
        "split": store.split_description,
        **found,
        "provenance": provenance(device_name(place.type), torch.get_num_threads()),
    }
