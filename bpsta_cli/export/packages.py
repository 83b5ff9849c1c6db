"""The packages that only an export needs: loaded when it is asked for, or named with the extra that brings them."""

import importlib
import importlib.metadata
from typing import Any

from bpsta_cli.errors import ExportError

REQUIRED = {"onnx": ("onnx", "onnxruntime"), "nir": ("nir", "nirtorch")}
"""The packages of each format: one that writes it, and one that runs what was written. The extra has the same name."""


def require(extra: str) -> None:
    """See to it that a format can be written and checked, before anything is done.

    Raises:
        ExportError: one of its packages is not there.
    """
    for name in REQUIRED[extra]:
        load(name, extra)


def load(name: str, extra: str) -> Any:
    """The package `name`, which the extra `extra` of this one brings.

    Raises:
        ExportError: it is not installed, or cannot be imported here.
    """
    try:
        return importlib.import_module(name)
    except ImportError as absent:
        raise ExportError(
            f"{extra.upper()} cannot be written here",
            expected=f"the package {name}",
            got="none" if absent.name == name else f"one that does not load ({absent})",
            todo=f'pip install "bpsta-cli[{extra}]" brings it.',
        ) from None


def versions(extra: str) -> dict[str, str]:
    """The versions of a format's packages, by name."""
    return {name: importlib.metadata.version(name) for name in REQUIRED[extra]}
