"""What is measured of a trained run: the same for `bpsta eval`, `energy`, `latency` and `verify`."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpsta_cli.energy import TECHS, Tech, account
from bpsta_cli.energy.costs import DEFAULT_TECH, activation_bits
from bpsta_cli.evaluation import accuracy, early_exit
from bpsta_cli.evaluation.accuracy_over_time import at_time_steps, decisions_over_time
from bpsta_cli.network import losses
from bpsta_cli.quantisation import measured
from bpsta_cli.rules import TWIN

if TYPE_CHECKING:
    import torch

    from bpsta_cli.data.store import Store
    from bpsta_cli.evaluation.accuracy import OnBatch
    from bpsta_cli.evaluation.accuracy_over_time import Anytime
    from bpsta_cli.network import Network
    from bpsta_cli.training.run_directory import RunInfo


@dataclass
class Opened:
    """A run that is ready to be measured.

    Attributes:
        info: its settings, and what it was trained on.
        network: with the trained weights.
        store: the data that it was trained on.
        device: where to compute.
        on_batch: called after every batch.
    """

    info: "RunInfo"
    network: "Network"
    store: "Store"
    device: "torch.device"
    on_batch: "OnBatch | None" = None


def evaluation(run: Opened, *, samples: int | None = None) -> dict[str, Any]:
    """Accuracy, loss, confusion and firing rates on the test part; `samples`: only the first so many."""
    training = run.info.settings.training
    found = accuracy.evaluate(
        run.network,
        run.store,
        run.store.split("test"),
        T=run.info.settings.T,
        device=run.device,
        samples=samples,
        loss=training.loss,
        rates=losses.Rates(training.right_rate, training.wrong_rate),
        on_batch=run.on_batch,
    )
    return asdict(found)


def quantised(
    run: Opened,
    *,
    bits: int | None = None,
    epochs: int = measured.FINE_TUNING_EPOCHS,
    samples: int | None = None,
) -> dict[str, Any]:
    """The test accuracy of a run of the ReLU twin with few-bit activations and 8-bit weights.

    Args:
        run: of the method "ann".
        bits: of an activation; None: as many as tell apart the spike counts of the run's T steps.
        epochs: of fine-tuning after the calibration; 0: none.
        samples: only the first so many test samples.

    Raises:
        SettingsError: a run of a spiking method, or bits out of range.
    """
    settings = run.info.settings
    found = measured.measure(
        run.network,
        run.store,
        settings,
        bits=activation_bits(settings.T) if bits is None else bits,
        epochs=epochs,
        device=run.device,
        samples=samples,
        on_batch=run.on_batch,
    )
    return asdict(found)


def energy(run: Opened, *, samples: int | None = None, tech: Tech = TECHS[DEFAULT_TECH]) -> dict[str, Any]:
    """The energy accounts by a table of costs, and the network's structure."""
    settings = run.info.settings
    found = account(
        run.network,
        run.store,
        T=settings.T,
        device=run.device,
        samples=samples,
        tech=tech,
        on_batch=run.on_batch,
    )
    return {"network": settings.data.network, **found}


def over_time(run: Opened, *, data_dir: Path, samples: int | None = None, others: Iterable[int] = ()) -> dict[str, Any]:
    """Accuracy after each step, with other numbers of steps, and what early exit would cost and save.

    Args:
        run: of a spiking method.
        data_dir: folder of raw and prepared data, where recordings are cut for `others`.
        samples: only the first so many test samples.
        others: other numbers of time steps for the same weights.
    """
    from bpsta_cli.data.run_data import rebin, training_parts

    settings, recordings, others = run.info.settings, run.store.T is not None, list(others)
    stores = {
        T: rebin(run.store, settings.data, T=T, data_dir=data_dir) for T in others if recordings and T != settings.T
    }

    def decisions_at(T: int) -> "Anytime":
        store = stores.get(T, run.store)
        return decisions_over_time(run.network, store, T=T, device=run.device, samples=samples, on_batch=run.on_batch)

    test = decisions_at(settings.T)
    found: dict[str, Any] = {"accuracy_at": test.accuracy_at(), "samples": len(test)}
    if others:
        found["other_time_steps"] = at_time_steps(test, others, decisions_at, rebinned=recordings)
    selection_set = None
    if settings.training.selection == "validation":
        _, held_out = training_parts(settings, run.store)
        selection_set = decisions_over_time(
            run.network, run.store, T=settings.T, device=run.device, split=held_out, on_batch=run.on_batch
        )
    return found | {"early_exit": early_exit.summary(test, selection_set)}


def described(run: Path, opened: Opened, weights_sha256: str, found: dict[str, Any]) -> dict[str, Any]:
    """A measurement with what it is of: the run, its data and its weights."""
    settings = opened.info.settings
    return {
        "run": str(run),
        "dataset": settings.dataset,
        "method": opened.info.label,
        "T": settings.T,
        "seed": settings.seed,
        "split": opened.store.split_description,
        "data_hash": opened.info.data_hash,
        "weights_sha256": weights_sha256,
        **found,
    }


def _evaluated(run: Opened, _data_dir: Path) -> dict[str, Any]:
    twin = run.info.settings.method == TWIN
    return evaluation(run) | ({"quantised": quantised(run)} if twin else {})


BY_DEFAULT: dict[str, Callable[[Opened, Path], dict[str, Any]]] = {
    "eval": _evaluated,
    "energy": lambda run, _: energy(run),
    "latency": lambda run, data_dir: over_time(run, data_dir=data_dir),
}
"""What the pipeline measures of a run, by the folder of results/ that it goes to; from a run and the data's folder."""
