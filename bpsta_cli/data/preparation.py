"""How a store is prepared: the settings, checked against the data set, and the folder's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.encoding import Resize, SplitBy, cell_of
from bpsta_cli.errors import DataError


class Settings(BaseModel):
    """How a store was made; all None for images that are stored as they are, and all but T for sound.

    Attributes:
        T: frames a recording is cut into, or time steps of a sound.
        split_by: what each frame has the same share of.
        size: rows and columns of a frame, None for the sensor's own.
        resize: how a frame was brought to `size`.
        test_fraction: share of the training samples held out as a test split.
        split_seed: which ones; None for seed 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    T: int | None = None
    split_by: SplitBy | None = None
    size: int | None = None
    resize: Resize | None = None
    test_fraction: float | None = None
    split_seed: int | None = None

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
        return data_dir / "prepared" / name / "-".join(parts)

    @model_serializer(mode="wrap")
    def _without_unused_seed(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out a seed that is not set: the content hash of stores made before there was one stays."""
        content: dict[str, Any] = dump(self)
        if self.split_seed is None:
            del content["split_seed"]
        return content


def settings_for(
    dataset: Dataset,
    *,
    T: int | None,
    split_by: SplitBy,
    size: int | None,
    resize: Resize,
    test_fraction: float | None,
    split_seed: int = 0,
) -> Settings:
    """The settings that matter to this data set.

    Raises:
        DataError: one that it cannot be prepared with.
    """
    for what, given, allowed in (("split_by", split_by, SplitBy), ("resize", resize, Resize)):
        if given not in get_args(allowed):
            choices = " or ".join(f"'{each}'" for each in get_args(allowed))
            raise DataError(f"unknown {what}", expected=choices, got=f"'{given}'", todo="Choose one.")
    if dataset.kind != "events" and not dataset.user_supplied and (size is not None or test_fraction is not None):
        raise DataError(
            f"{dataset.name} holds {'images' if dataset.kind == 'image' else 'sound'}",
            expected="neither a frame size nor a test fraction",
            got=f"size {size}, test fraction {test_fraction}",
            todo="Leave them out: they are for event recordings and folders of your own.",
        )
    if dataset.kind == "image":
        T = None
    elif T is None or T < 1:
        todo = "Say into how many steps a sample is cut."
        raise DataError(f"{dataset.name} holds recordings", expected="T >= 1", got=f"T = {T}", todo=todo)
    size = _size_that_matters(dataset, size)
    return Settings(
        T=T,
        split_by=split_by if dataset.kind == "events" else None,
        size=size,
        resize=None if size is None else resize,
        test_fraction=test_fraction,
        split_seed=None if test_fraction is None else split_seed or None,
    )


def _size_that_matters(dataset: Dataset, size: int | None) -> int | None:
    """`size`, or None where it is the data set's own.

    Raises:
        DataError: a data set without rows and columns of its own, or a size that does not divide them.
    """
    if size is None:
        return None
    if dataset.kind == "speech":
        raise DataError(
            f"{dataset.name} holds sound", expected="no frame size", got=f"size {size}", todo="Leave --size out."
        )
    if dataset.user_supplied:  # its files are not looked into yet
        return size
    _, height, width = dataset.shape
    cell_of(size, height, width)
    return size if size != height else None
