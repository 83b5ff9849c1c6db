"""What is checked of a run's settings before any data are read."""

import math
from pathlib import Path

from bpsta_cli import rules
from bpsta_cli.config import RunSettings
from bpsta_cli.data import catalogue
from bpsta_cli.errors import SettingsError
from bpsta_cli.network import notation
from bpsta_cli.training.run_directory import RunDir


def check(settings: RunSettings) -> None:
    """Raise an error where a name in the settings is wrong.

    Raises:
        SettingsError: unknown method.
        DataError: unknown data set.
        StructureError: a network that cannot be read.
        RunError: no run to start from.
    """
    row = catalogue.get(settings.dataset)
    if settings.data.network not in notation.RESIDUAL:
        inputs = max(1, math.prod(row.shape))  # those of a user's own folder are known later
        notation.parse(settings.data.network, inputs=inputs, classes=max(1, len(row.classes)))
    if settings.method != rules.TWIN:
        if settings.method not in rules.names() and not settings.method.endswith(".py"):
            raise SettingsError(
                "unknown method",
                expected=f"one of {', '.join((*rules.names(), rules.TWIN))}, or a file with a rule (.py)",
                got=repr(settings.method),
                todo="Correct --method.",
            )
        settings.make_rule()
    if settings.init_from:
        RunDir(Path(settings.init_from)).info()
