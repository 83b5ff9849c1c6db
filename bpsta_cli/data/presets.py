"""The settings of a run without a params.yaml: the catalogue's recipe of the data set."""

from pathlib import Path

from bpsta_cli.config import DatasetSettings
from bpsta_cli.data import catalogue


def preset(dataset: str, *, epochs: int | None = None, source: str | None = None) -> DatasetSettings:
    """The recipe of `dataset`; for another number of epochs the warm-up keeps its share of them.

    The recipe for the user's own files depends on what is in `source`.

    Raises:
        DataError: unknown data set, or a folder that is not laid out as one.
    """
    recipe = catalogue.described(dataset, None if source is None else Path(source)).recipe
    warmup = recipe.warmup_epochs
    if epochs is not None and epochs >= 1:
        warmup = min(epochs - 1, max(1, round(epochs * recipe.warmup_epochs / recipe.epochs)))
    return DatasetSettings(
        network=recipe.network,
        epochs=recipe.epochs if epochs is None or epochs < 1 else epochs,
        warmup_epochs=warmup,
        batch_size=recipe.batch_size,
        augmentation=recipe.augmentation,
        size=recipe.size,
        split_by=recipe.split_by,
    )
