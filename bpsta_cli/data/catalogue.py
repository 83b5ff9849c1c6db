"""The catalogue's schema and reader: `catalogue.toml` has one table for each data set that `bpsta` knows.

The file is read at the first question. Nothing heavy is imported, so that listing the data sets is instant; what only
code can do (a loader, a `describe` hook) is named as "module:function" and imported when it is needed.
"""

from __future__ import annotations

import pkgutil
import tomllib
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from bpsta_cli.errors import DataError, did_you_mean

Kind = Literal["image", "events", "speech", "series"]
FILE = Path(__file__).with_name("catalogue.toml")
HELD_OUT = "in place of the test part"
"""Stands in a split's description where held-out training samples do: that of a trial of a search, and no row's."""

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
_Text = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[int, Field(ge=1)]
_Function = Annotated[str, Field(pattern=r"^\w+(\.\w+)*:\w+$")]
_Checksum = Annotated[str, Field(pattern=r"^([0-9a-f]{32}|[0-9a-f]{64})$")]


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """What `bpsta train` uses for a data set when the settings name nothing else.

    Attributes:
        network: the structure, in the paper's notation or as a structure's name.
        epochs: passes over the training split, the warm-up included.
        warmup_epochs: of these, the first, trained as the ReLU twin.
        batch_size: samples per step.
        augmentation: the preset that changes training samples (see `augmentation`).
        size: side of event frames in pixels, None for the sensor's own.
        split_by: how recordings are cut into frames (see `encoding`).
    """

    network: _Text
    epochs: _Positive
    warmup_epochs: _Positive
    batch_size: _Positive
    augmentation: Literal["none", "standard"] = "none"
    size: _Positive | None = None
    split_by: Literal["number", "time"] = "number"

    @model_validator(mode="after")
    def _warmup_leaves_an_epoch(self) -> Recipe:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"fewer warmup_epochs ({self.warmup_epochs}) than epochs ({self.epochs})")
        return self


@dataclass(frozen=True, config=_STRICT)
class Dataset:
    """One data set: what it is, where it comes from, and how its stored integers become an input.

    Attributes:
        name: what a command calls it: the name of its table.
        title: what a reader calls it.
        kind: "image" (one array, the same at every time step), "events" (frames of event counts), "speech" (log-mel
            features in time) or "series" (the values of channels in time).
        split: which split it is, in words.
        source: where the data comes from.
        licence: its licence.
        citation: what to cite.
        full_scale: the stored integer that becomes 1 in the network's input: 255 for bytes, 1 for counts.
        loader: "module:function" that finds the files (see `sources.Source`).
        recipe: defaults for training.
        shape: (C, H, W) of one time step; for events C is the polarity: 0 off, 1 on; for spikes of a row of units
            (1, 1, units); for speech H are mel bands and W spectra; for series H are channels and W is 1.
        classes: the labels' names; label i is classes[i].
        counts: samples in the whole (training, test) split, to tell a partial copy by.
        checksums: file -> MD5 or SHA-256, as the library that downloads it publishes them.
        sizes: file -> bytes, where they are known.
        raw: what a download leaves under raw/: files and folders.
        archives_by_hand: archives that are not downloaded here, but are read once they are unpacked.
        flip_safe: every class keeps its meaning when a sample is mirrored left to right, so that augmentation
            may do it: clothes do; digits, and gestures of a left and a right hand, do not.
        note: what else a reader should know.
        older_classes: the classes of an older version that is accepted as well; empty if there is none.
        synthetic: made by this package; said wherever a number stands, first of all by the name.
        sound_reader: "module:function" that reads one .wav file by itself, for a data set that may hold sound.
        by_hand: nothing is downloaded and the files do not come with this package: they are named with --source.
        may_be_silent: a recording of few events, or none, is data: what is too short to be cut into frames is in the
            last one.
        events_reader: "module:function" that reads one recording by itself, given the path that `bpsta predict` is
            given; None: by the path's ending.
        describe: "module:function" that fills in what depends on the user's files: kind, shape, classes, recipe. Such a
            row states no shape, classes and counts.
    """

    name: _Name
    title: _Text
    kind: Kind
    split: _Text
    source: _Text
    licence: _Text
    citation: _Text
    full_scale: _Positive
    loader: _Function
    recipe: Recipe
    shape: tuple[_Count, _Count, _Count] = (0, 0, 0)
    classes: tuple[_Text, ...] = ()
    counts: tuple[_Count, _Count] = (0, 0)
    checksums: dict[str, _Checksum] = Field(default_factory=dict)
    sizes: dict[str, _Positive] = Field(default_factory=dict)
    raw: tuple[str, ...] = ()
    archives_by_hand: tuple[str, ...] = ()
    flip_safe: bool = False
    note: str = ""
    older_classes: tuple[str, ...] = ()
    synthetic: bool = False
    sound_reader: _Function | None = None
    by_hand: bool = False
    may_be_silent: bool = False
    events_reader: _Function | None = None
    describe: _Function | None = None

    @model_validator(mode="after")
    def _is_stated_in_full(self) -> Dataset:
        if not self.user_supplied and not (min(self.shape) and min(self.counts) and self.classes):
            raise ValueError("shape, classes and counts, all of them, in a row without a describe hook")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes with different names")
        if self.kind == "speech" and self.sound_reader is None:
            raise ValueError("sound_reader in a row of sound")
        if unknown := self.sizes.keys() - self.checksums.keys():
            raise ValueError(f"a checksum for every file in sizes, {min(unknown)} too")
        return self

    @property
    def scale(self) -> float:
        """Multiplies the stored integers to give the network's input."""
        return 1 / self.full_scale

    @property
    def embedded(self) -> bool:
        """Nothing is downloaded, nor brought by hand."""
        return not self.checksums and not self.by_hand

    @property
    def user_supplied(self) -> bool:
        """The files are the user's own, and what is in them decides kind, shape, classes and recipe."""
        return self.describe is not None

    @property
    def disclosure(self) -> str:
        """What is to be said beside a number from this data set; nothing for recorded data."""
        return f"{self.name} is synthetic: simulated, not recorded" if self.synthetic else ""


def names() -> tuple[str, ...]:
    """The names of all data sets, in the catalogue's order."""
    return tuple(_rows())


def get(name: str) -> Dataset:
    """The row called `name`.

    Raises:
        DataError: there is none; the message lists all and suggests the nearest.
    """
    rows = _rows()
    if name in rows:
        return rows[name]
    hint = did_you_mean(name, rows, otherwise="`bpsta prepare --list` shows what each one is.", cutoff=0.5)
    raise DataError("unknown data set", expected=f"one of {', '.join(rows)}", got=f"'{name}'", todo=hint)


def described(name: str, source: Path | None) -> Dataset:
    """The row called `name`, completed by its `describe` hook from the files in `source`.

    Raises:
        DataError: no such data set, or a folder that the hook refuses.
    """
    row = get(name)
    if row.describe is None:
        return row
    completed: Dataset = function(row.describe)(row, source)
    return completed


def without_download(kind: Kind) -> str:
    """The first data set of this kind that needs no download and no files."""
    return next(row.name for row in _rows().values() if row.kind == kind and row.embedded and not row.user_supplied)


def function(dotted_name: str) -> Any:
    """The function that a row names as "module:function"."""
    return pkgutil.resolve_name(dotted_name)


@cache
def _rows() -> dict[str, Dataset]:
    return read(FILE.read_text(encoding="utf-8"))


def read(text: str) -> dict[str, Dataset]:
    """The rows of a catalogue in TOML.

    Raises:
        DataError: no TOML, or a row with an unknown, missing or unusable key.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as broken:
        raise DataError(
            f"unreadable {FILE.name}", expected="TOML", got=str(broken), todo="Correct that line."
        ) from broken
    schema, rows = TypeAdapter(Dataset), {}
    for name, row in tables.items():
        if not isinstance(row, dict) or "name" in row:
            raise DataError(
                f"unusable row '{name}' in {FILE.name}",
                expected="a table with the name of the data set as its own",
                got="a key 'name' in it" if isinstance(row, dict) else "a value outside of the tables",
                todo="Correct the row.",
            )
        try:
            rows[name] = schema.validate_python({"name": name, **row})
        except ValidationError as invalid:
            raise _unusable_row(name, invalid) from None
    return rows


def _unusable_row(name: str, invalid: ValidationError) -> DataError:
    """The error for what is wrong with a row; an unknown key first, as it may be another one misspelt."""
    problems = invalid.errors(include_url=False)
    first = min(problems, key=lambda each: each["type"] != "unexpected_keyword_argument")
    key, problem = ".".join(map(str, first["loc"])), f"unusable row '{name}' in {FILE.name}"
    if first["type"] == "unexpected_keyword_argument":
        known = [each.name for each in fields(Recipe if first["loc"][0] == "recipe" else Dataset)]
        hint = did_you_mean(str(first["loc"][-1]), known, otherwise="Remove the key or correct its spelling.")
        return DataError(problem, expected=f"one of {', '.join(known)}", got=f"the unknown key {key}", todo=hint)
    wanted = first["msg"].removeprefix("Value error, ")
    if not key:
        return DataError(problem, expected=wanted, got="a row without", todo="Correct the row.")
    got = "nothing" if first["type"] == "missing" else repr(first["input"])[:80]
    return DataError(problem, expected=f"{key}: {wanted}", got=got, todo=f"Correct {key}.")
