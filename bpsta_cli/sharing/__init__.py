"""Runs that are handed on: a model card, a folder that is complete, the Hugging Face Hub, and loading from either."""

from bpsta_cli.sharing.card import card
from bpsta_cli.sharing.folder import share_to_folder, write_card
from bpsta_cli.sharing.hub import share_to_hub
from bpsta_cli.sharing.loading import load, located

__all__ = ["card", "load", "located", "share_to_folder", "share_to_hub", "write_card"]
