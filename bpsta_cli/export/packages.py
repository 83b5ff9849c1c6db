"""The packages that only an export needs, loaded when it is asked for: those of the extra with the format's name."""

import importlib
from typing import Any

from bpsta_cli.errors import ExportError
from bpsta_cli.packages import EXTRAS, Package
from bpsta_cli.packages import require as require_module


def require(form: str) -> None:
    """See to it that a format can be written and checked, before anything is done.

    Raises:
        ExportError: one of its packages is not there, or cannot be imported here.
    """
    for package in _packages(form):
        load(package.module)


def load(name: str) -> Any:
    """The module `name`, of a package that an extra brings.

    Raises:
        ExportError: it is not installed, or cannot be imported here.
    """
    require_module(name, ExportError)
    try:
        return importlib.import_module(name)
    except ImportError as broken:
        raise ExportError(
            "unusable package",
            expected=f"{name} for an export",
            got=f"one that does not load ({broken})",
            todo="Install it anew; `bpsta doctor` names the versions.",
        ) from None


def versions(form: str) -> dict[str, str]:
    """The versions of a format's packages, by name."""
    return {package.module: package.version() for package in _packages(form)}


def _packages(form: str) -> list[Package]:
    """One that writes the format, and one that runs what was written."""
    return [package for package in EXTRAS if package.extra == form]
