"""Runs that are handed on: a model card, a folder that is complete, the Hugging Face Hub, and loading from either.

Each name is loaded when it is first asked for: to load a run, nothing that writes a card is needed.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpsta_cli.sharing.folder import share_to_folder, write_card
    from bpsta_cli.sharing.hub import share_to_hub
    from bpsta_cli.sharing.loading import load, located
    from bpsta_cli.sharing.model_card import card

__all__ = ["card", "load", "located", "share_to_folder", "share_to_hub", "write_card"]

_MODULES = {
    "card": "model_card",
    "load": "loading",
    "located": "loading",
    "share_to_folder": "folder",
    "share_to_hub": "hub",
    "write_card": "folder",
}


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` from the module that has it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
