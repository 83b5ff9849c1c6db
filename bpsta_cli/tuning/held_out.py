"""A store without its test part: held-out training samples stand where a training would evaluate the test part."""

import hashlib
from dataclasses import dataclass

from bpsta_cli.config import RunSettings
from bpsta_cli.data.catalogue import HELD_OUT
from bpsta_cli.data.run_data import training_parts
from bpsta_cli.data.sources import SplitName
from bpsta_cli.data.store import Split, Store


@dataclass(frozen=True)
class HeldOut(Store):
    """The training part of a store, divided in two; its other parts cannot be reached.

    Its content has another hash than the store's, so that no command takes a trial's run for one of the whole data.

    Attributes:
        training: the samples to train on.
        validation: those held out, under the names "validation" and "test".
        division: how the parts were made.
    """

    training: Split | None = None
    validation: Split | None = None
    division: str = ""

    @property
    def content_hash(self) -> str:
        """Of the store and the division."""
        return hashlib.sha256(f"{self.manifest.content_hash} {self.division}".encode()).hexdigest()

    @property
    def split_description(self) -> str:
        """The store's, and that the test part is not in it."""
        return f"{super().split_description}; {self.division}"

    @property
    def has_validation(self) -> bool:
        """It is nothing else than held out."""
        return True

    def split(self, name: SplitName) -> Split:
        """The samples to train on, or those held out under either other name."""
        part = self.training if name == "train" else self.validation
        assert part is not None
        return part


def without_test(store: Store, settings: RunSettings) -> HeldOut:
    """The store that trials of these settings train and are evaluated on.

    Args:
        store: the data.
        settings: with selection "validation"; the share held out, `train_samples` and the seed are read.

    Raises:
        SettingsError: too few samples.
        DataError: none.
    """
    training, validation = training_parts(settings, store)
    assert validation is not None
    how = "the data set's own" if store.has_validation else f"drawn by seed {settings.seed}"
    division = f"{len(training)} training samples, {len(validation)} held out ({how}) {HELD_OUT}, which is not there"
    return HeldOut(store.path, store.manifest, store.checked, training, validation, division)
