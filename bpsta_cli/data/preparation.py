"""How a data set is prepared: which parts of a `Preparation` apply to it, and the folder of its store."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from bpsta_cli.config import Preparation
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.encoding import Channels, Resize, SplitBy, window_of
from bpsta_cli.errors import DataError


class AppliedPreparation(BaseModel):
    """What of a `Preparation` applies to a data set, field by field; None for what does not apply.

    Images that are stored as they are have None everywhere, sound has T alone, a series T and its kind. A seed of 0 is
    None as well. It is recorded in the store's manifest and goes into its content hash.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    T: int | None = None
    split_by: SplitBy | None = None
    size: int | None = None
    resize: Resize | None = None
    test_fraction: float | None = None
    split_seed: int | None = None
    channels: Channels | None = None
    kind: Literal["series"] | None = None

    def path(self, data_dir: Path, name: str) -> Path:
        """The store's folder: prepared/digits/images, prepared/n-mnist/T8-number, ..."""
        parts = ["images" if self.T is None else f"T{self.T}"]
        if self.split_by is not None:
            parts.append(self.split_by)
        if self.size is not None:
            parts.append(f"{self.size}{'' if self.resize == 'sum' else self.resize}")
        if self.test_fraction is not None:
            parts.append(f"holdout{self.test_fraction:g}")
        if self.split_seed is not None:
            parts.append(f"seed{self.split_seed}")
        if self.channels is not None:
            parts.append(self.channels)
        return data_dir / "prepared" / name / "-".join(parts)

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not set of what came later: the content hash of stores made before there was any stays."""
        content: dict[str, Any] = dump(self)
        for name in ("split_seed", "channels", "kind"):
            if content[name] is None:
                del content[name]
        return content


def applied(preparation: Preparation, dataset: Dataset) -> AppliedPreparation:
    """What of `preparation` applies to this data set.

    Raises:
        DataError: the data set cannot be prepared so.
    """
    size, test_fraction, T = preparation.size, preparation.test_fraction, preparation.T
    if dataset.kind != "events" and not dataset.user_supplied and (size is not None or test_fraction is not None):
        raise DataError(
            f"{dataset.name} holds {'images' if dataset.kind == 'image' else 'sound'}",
            expected="neither a frame size nor a test fraction",
            got=f"size {size}, test fraction {test_fraction}",
            todo="Leave them out: they are for event recordings and folders of your own.",
        )
    if dataset.kind != "image" and T is None:
        todo = "Say into how many steps a recording is divided."
        raise DataError(f"{dataset.name} holds recordings", expected="T >= 1", got="T = None", todo=todo)
    size = _applied_size(dataset, size)
    return AppliedPreparation(
        T=None if dataset.kind == "image" else T,
        split_by=preparation.split_by if dataset.kind == "events" else None,
        size=size,
        resize=None if size is None else preparation.resize,
        test_fraction=test_fraction,
        split_seed=None if test_fraction is None else preparation.split_seed or None,
        channels=_applied_channels(dataset, preparation),
        kind="series" if dataset.kind == "series" else None,
    )


def _applied_channels(dataset: Dataset, preparation: Preparation) -> Channels | None:
    """The channels that images are brought to, or None where they stay as they are.

    Raises:
        DataError: asked for of something else than images of the user's own.
    """
    if preparation.channels == "as-is":
        return None
    if not dataset.user_supplied or dataset.kind != "image":
        raise DataError(
            f"{dataset.name} cannot be brought to {preparation.channels}",
            expected="images of your own (--dataset folder)",
            got=dataset.kind,
            todo="Leave --channels out.",
        )
    return preparation.channels


def _applied_size(dataset: Dataset, size: int | None) -> int | None:
    """`size`, or None where it is the data set's own.

    Raises:
        DataError: a data set without rows and columns of its own, or a size that does not divide them.
    """
    if size is None:
        return None
    if dataset.kind in ("speech", "series"):
        holds = "sound" if dataset.kind == "speech" else "series"
        raise DataError(
            f"{dataset.name} holds {holds}", expected="no frame size", got=f"size {size}", todo="Leave --size out."
        )
    if dataset.user_supplied:  # the sizes of its files are not known yet
        return size
    _, height, width = dataset.shape
    return None if window_of(size, height, width) == (1, 1) else size
