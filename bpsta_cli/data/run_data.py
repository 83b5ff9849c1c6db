"""The prepared data that a run's settings ask for."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bpsta_cli.config import DatasetSettings, RunSettings
from bpsta_cli.data.store import Split, Store, prepare, store_path, store_with, whole_store
from bpsta_cli.errors import DataError, SettingsError


def prepared_store(
    dataset: str,
    settings: DatasetSettings,
    *,
    T: int,
    data_dir: str | Path,
    expected_hash: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    processes: int | None = None,
) -> Store:
    """The store of `dataset` that `settings` ask for, prepared first if it is not there.

    Args:
        dataset: a name of the catalogue.
        settings: source, split and size; the rest is not read.
        T: time steps.
        data_dir: folder of raw and prepared data.
        expected_hash: content hash of the data that a run was trained on; None accepts any.
        progress: called with done, total and what is being worked on.
        processes: how many processes read; None: one for each processor where there is much to read.

    Raises:
        DataError: the data cannot be prepared, or are not those that the run was trained on.
    """
    if expected_hash is not None and (ready := store_with(data_dir, dataset, expected_hash)) is not None:
        ready.verify_once(progress)
        return ready  # a trained run needs its store, and no longer the files it was made from
    source = None if settings.source is None else Path(settings.source)
    store = prepare(
        dataset,
        settings.preparation(T),
        source=source,
        data_dir=data_dir,
        progress=progress,
        processes=processes,
    )
    if expected_hash is not None and store.content_hash != expected_hash:
        raise DataError(
            "other data than the run was trained on",
            expected=f"a store with content hash {expected_hash[:12]}",
            got=f"{store.content_hash[:12]} in {store.path}",
            todo="Name the run's own data with --data-dir, or prepare it again from the same source.",
        )
    return store


def rebin(
    trained_on: Store,
    settings: DatasetSettings,
    *,
    T: int,
    data_dir: str | Path,
    progress: Callable[[int, int, str], None] | None = None,
) -> Store:
    """The recordings of a store binned into another number of frames, prepared first if that is not there.

    Args:
        trained_on: the store of event frames.
        settings: of the run; source, split and size are read.
        T: frames wanted.
        data_dir: folder of raw and prepared data.
        progress: called with done, total and what is being worked on.

    Raises:
        DataError: there are neither such frames nor the raw files to make them from, or they are of other recordings.
    """
    dataset, preparation = trained_on.dataset, settings.preparation(T)
    source = None if settings.source is None else Path(settings.source)
    ready = whole_store(store_path(data_dir, dataset, preparation, source=source))
    if ready is not None and ready.manifest.source == trained_on.manifest.source:
        ready.verify_once(progress)
        return ready
    try:
        store = prepare(dataset, preparation, source=source, data_dir=data_dir, progress=progress)
    except DataError as refused:
        raise DataError(
            f"no frames of {dataset} for T = {T}",
            expected=f"a store of {T} frames in {data_dir}, or the recordings to make it from",
            got=f"{trained_on.path.name} alone ({refused.problem}: {refused.got})",
            todo=f"Run bpsta prepare --dataset {dataset} --T {T} with the --source of the recordings.",
        ) from refused
    if store.manifest.source != trained_on.manifest.source:
        raise DataError(
            "other recordings than the run was trained on",
            expected=f"the files that {trained_on.path} was made from",
            got=f"others in {store.path}",
            todo="Prepare both from the same source.",
        )
    return store


def training_parts(settings: RunSettings, store: Store) -> tuple[Split, Split | None]:
    """The samples to train on, and those that choose the epoch (None: nothing chooses).

    With `train_samples` as many are used, each class in its share, drawn by the run's seed. Under selection
    "validation" the data set's own validation part chooses; where it has none, a stratified share of the
    training samples, drawn by the same seed, is held out. A repeated sample counts once and stays on one side.

    Raises:
        DataError: no training samples.
        SettingsError: fewer of them than asked for, or too few to hold any out.
    """
    whole = store.split("train")
    if len(whole) == 0:
        raise DataError(
            "nothing to train on",
            expected="at least one training sample",
            got=f"an empty training part in {store.path}",
            todo="Prepare the data set again from a complete source.",
        )
    used = settings.data.train_samples
    if used is not None and used > whole.distinct:
        raise SettingsError(
            "more training samples than there are",
            expected=f"train_samples of at most {whole.distinct}",
            got=str(used),
            todo="Leave it out to train on all.",
        )
    if used is not None and used < whole.distinct:
        whole, _ = _divided(whole, used, settings.seed, "Choose more train_samples.")
    if settings.training.selection != "validation":
        return whole, None
    if store.has_validation:
        return whole, store.split("validation")
    held_out = math.ceil(whole.distinct * settings.training.validation_fraction)
    todo = "Choose another validation_fraction, or selection final."
    return _divided(whole, whole.distinct - held_out, settings.seed, todo)


def _divided(split: Split, first: int, seed: int, todo: str) -> tuple[Split, Split]:
    """`first` samples with all their repeats, and the others once; both have the same share of each class."""
    from sklearn.model_selection import train_test_split

    ids = np.arange(len(split)) if split.ids is None else split.ids
    each = np.unique(ids, return_index=True)[1]
    try:
        chosen, rest = train_test_split(
            each, train_size=first, test_size=len(each) - first, stratify=split.y[each], random_state=seed
        )
    except ValueError as small:
        raise SettingsError(
            "the training part cannot be divided",
            expected="at least one sample of each class on either side",
            got=str(small),
            todo=todo,
        ) from None
    return split.subset(np.flatnonzero(np.isin(ids, ids[chosen]))), split.subset(np.sort(rest))
