"""Reads the history.csv of a run, held against the SHA-256 that the run's metrics.json has of it."""

from pathlib import Path

import pandas as pd

from bpsta_cli import checksums
from bpsta_cli.checksums import DamagedError

HISTORY, METRICS = "history.csv", "metrics.json"


def read_history(run: Path) -> pd.DataFrame:
    """A row an epoch, as training wrote it; a run of an older version has no SHA-256 to compare with.

    Raises:
        DamagedError: the file is not the one that was written.
        OSError: it cannot be read.
        ValueError: it is no table.
    """
    file, metrics = run / HISTORY, run / METRICS
    recorded = checksums.parse(metrics.read_bytes())[0].get("files", {}) if metrics.is_file() else {}
    if HISTORY in recorded and checksums.of_file(file) != recorded[HISTORY]:
        raise DamagedError(f"{file} with another checksum than {METRICS} says")
    return pd.read_csv(file)
