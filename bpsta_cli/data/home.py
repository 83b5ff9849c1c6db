"""Where raw and prepared data are, where a command or a call does not say."""

import os
from pathlib import Path

import platformdirs

VARIABLE = "BPSTA_DATA"
"""The environment variable that names the folder for every working folder."""
LOCAL = Path("data")
PIPELINE = "dvc.yaml"


def folder() -> Path:
    """The folder of raw and prepared data.

    The first of: `data` beside a pipeline, whose stages name it (a clone of the study); what BPSTA_DATA names; `data`
    in the working folder, where it holds raw or prepared data; the user's own folder for data, which all working
    folders share, so that nothing is downloaded twice.
    """
    if LOCAL.is_dir() and Path(PIPELINE).is_file():
        return LOCAL
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if any((LOCAL / part).is_dir() for part in ("raw", "prepared")):
        return LOCAL
    return platformdirs.user_data_path("bpsta", appauthor=False)
