"""Prepared stores of few samples, as several tests need them."""

import dataclasses

from bpsta_cli.data import catalogue
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.sources import Images, Source
from bpsta_cli.data.store import build, open_store


def write_store(folder, x, y, *, train, classes):
    """A prepared store of the first `train` samples to train on and the others to test on."""
    parts = {"train": Images(x[:train], y[:train]), "test": Images(x[train:], y[train:])}
    row = dataclasses.replace(catalogue.get("digits"), shape=x.shape[1:], classes=tuple(map(str, range(classes))))
    folder.parent.mkdir(parents=True, exist_ok=True)
    build.build(folder, row, AppliedPreparation(), Source(folder, (), parts.__getitem__), lambda *_: None)
    return open_store(folder)
