"""The prepared data that a run's settings ask for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bpsta_cli.config import DatasetSettings, RunSettings
from bpsta_cli.data.store import Split, Store, prepare, store_with
from bpsta_cli.errors import DataError, SettingsError


def prepared_store(
    dataset: str,
    settings: DatasetSettings,
    *,
    T: int,
    data_dir: Path,
    expected_hash: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    processes: int | None = None,
) -> Store:
    """The store of `dataset` as `settings` want it, prepared first where it is not there.

    Args:
        dataset: a name of the catalogue.
        settings: source, split and size; the rest is not read.
        T: time steps.
        data_dir: folder of raw and prepared data.
        expected_hash: content hash of the data that a run was trained on; None accepts any.
        progress: called with done, total and what is being worked on.
        processes: how many read at the same time; None: one a processor where there is much to read.

    Raises:
        DataError: the data cannot be prepared, or are not those that the run was trained on.
    """
    wanted: dict[str, Any] = {
        "T": T,
        "split_by": settings.split_by,
        "size": settings.size,
        "resize": settings.resize,
        "test_fraction": settings.test_fraction,
        "split_seed": settings.split_seed,
    }
    if expected_hash is not None and (ready := store_with(data_dir, dataset, expected_hash)) is not None:
        return ready  # a trained run needs its store, and no longer the files it was made from
    source = None if settings.source is None else Path(settings.source)
    store = prepare(dataset, source=source, data_dir=data_dir, progress=progress, processes=processes, **wanted)
    if expected_hash is not None and store.content_hash != expected_hash:
        raise DataError(
            "other data than the run was trained on",
            expected=f"a store with content hash {expected_hash[:12]}",
            got=f"{store.content_hash[:12]} in {store.path}",
            todo="Name the run's own data with --data-dir, or prepare it again from the same source.",
        )
    return store


def training_parts(settings: RunSettings, store: Store) -> tuple[Split, Split | None]:
    """The samples to train on, and those that choose the epoch (None: nothing chooses).

    Under selection "validation" a stratified share of the training part, drawn by the run's seed, is held out.

    Raises:
        DataError: no training samples.
        SettingsError: too few of them to hold any out.
    """
    whole = store.split("train")
    if len(whole) == 0:
        raise DataError(
            "nothing to train on",
            expected="at least one training sample",
            got=f"an empty training part in {store.path}",
            todo="Prepare the data set again from a complete source.",
        )
    if settings.training.selection != "validation":
        return whole, None
    from sklearn.model_selection import train_test_split

    try:
        kept, held_out = train_test_split(
            np.arange(len(whole)),
            test_size=settings.training.validation_fraction,
            stratify=whole.y,
            random_state=settings.seed,
        )
    except ValueError as small:
        raise SettingsError(
            "no validation part can be held out",
            expected="at least one sample of each class on either side",
            got=str(small),
            todo="Choose another validation_fraction, or selection final.",
        ) from None
    return whole.subset(np.sort(kept)), whole.subset(np.sort(held_out))
