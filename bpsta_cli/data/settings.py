"""How a store is prepared: the settings, checked against the data set, and the folder's name."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ConfigDict

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.encoding import Resize, SplitBy, cell_of
from bpsta_cli.errors import DataError


class Settings(BaseModel):
    """How a store was made; all None for images, which are stored as they are, and all but T for sound.

    Attributes:
        T: frames a recording is cut into, or steps a clip.
        split_by: what each frame has the same share of.
        size: rows and columns of a frame, None for the sensor's own.
        resize: how a frame was brought to `size`.
        test_fraction: share of the training recordings held out as a test split.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    T: int | None = None
    split_by: SplitBy | None = None
    size: int | None = None
    resize: Resize | None = None
    test_fraction: float | None = None

    def path(self, data_dir: Path, name: str) -> Path:
        """The store's folder: prepared/digits/images, prepared/n-mnist/T8-number, ..."""
        parts = []
        if self.T is not None:
            parts.append(f"T{self.T}")
        if self.split_by is not None:
            parts.append(self.split_by)
        if self.size is not None:
            parts.append(f"{self.size}{'' if self.resize == 'sum' else self.resize}")
        if self.test_fraction is not None:
            parts.append(f"holdout{self.test_fraction:g}")
        return data_dir / "prepared" / name / ("-".join(parts) or "images")


def settings_for(
    dataset: Dataset,
    *,
    T: int | None,
    split_by: SplitBy,
    size: int | None,
    resize: Resize,
    test_fraction: float | None,
) -> Settings:
    """The settings that matter to this data set.

    Raises:
        DataError: one that it cannot be prepared with.
    """
    for what, given, allowed in (("split_by", split_by, SplitBy), ("resize", resize, Resize)):
        if given not in get_args(allowed):
            choices = " or ".join(f"'{each}'" for each in get_args(allowed))
            raise DataError(f"unknown {what}", expected=choices, got=f"'{given}'", todo="Choose one.")
    if dataset.kind != "events":
        _refuse_event_settings(dataset, size, test_fraction)
    if dataset.kind == "image":
        return Settings()
    if T is None or T < 1:
        todo = "Say into how many frames a recording is cut."
        raise DataError(f"{dataset.name} holds recordings", expected="T >= 1", got=f"T = {T}", todo=todo)
    if dataset.kind == "speech":
        return Settings(T=T)
    _, height, width = dataset.shape
    if size is not None:
        cell_of(size, height, width)
    coarser = size if size != height else None
    return Settings(
        T=T,
        split_by=split_by,
        size=coarser,
        resize=None if coarser is None else resize,
        test_fraction=test_fraction,
    )


def _refuse_event_settings(dataset: Dataset, size: int | None, test_fraction: float | None) -> None:
    if size is not None or test_fraction is not None:
        raise DataError(
            f"{dataset.name} holds {'images' if dataset.kind == 'image' else 'sound'}",
            expected="neither a frame size nor a test fraction",
            got=f"size {size}, test fraction {test_fraction}",
            todo="Leave them out: they are for event recordings.",
        )
