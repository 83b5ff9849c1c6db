"""The prepared store: arrays that a run reads, how they are built, written, described and found again."""

from bpsta_cli.data.store.keep_or_build import prepare
from bpsta_cli.data.store.locate import store_path, store_with
from bpsta_cli.data.store.store import Split, Store, open_store, whole_store, with_checksum

__all__ = ["Split", "Store", "open_store", "prepare", "store_path", "store_with", "whole_store", "with_checksum"]
