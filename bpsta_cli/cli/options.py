"""Options that several commands share, with their help; settings become options in schema.py."""

from pathlib import Path
from typing import Annotated

import typer

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Run directories that bpsta train wrote.", show_default=False),
]
Samples = Annotated[
    int | None,
    typer.Option(help="Use only the first so many test samples. (default: all)", show_default=False),
]
Device = Annotated[str, typer.Option(help="Where to compute: auto (a GPU if there is one), cpu, cuda or cuda:N.")]
Threads = Annotated[
    int | None,
    typer.Option(help="CPU threads; results may differ in the last digits. (default: torch's)", show_default=False),
]
Convolution = Annotated[
    str,
    typer.Option(
        help="How convolutions are computed, with the same bits: auto, sparse where few inputs are ones; dense; "
        "sparse, skipping zeros wherever the input is spikes.",
    ),
]


def _data_folder(chosen: Path | None) -> Path:
    from bpsta_cli.data import home

    return home.folder() if chosen is None else chosen


DataDir = Annotated[
    Path,
    typer.Option(
        help="Folder of raw and prepared data. (default: ./data beside a dvc.yaml; else what BPSTA_DATA names; else "
        "./data with data in it; else the user's data folder)",
        show_default=False,
        callback=_data_folder,
    ),
]
NO_FOLDER: Path = None  # type: ignore[assignment]
"""The default of `DataDir`: Typer calls the option's callback with it, and a command gets a folder."""
ParamsFile = Annotated[
    Path | None,
    typer.Option(
        "--params",
        help="Take the settings from this params.yaml; options override it. (default: no file)",
        show_default=False,
    ),
]
RunName = Annotated[
    str | None,
    typer.Option(
        "--run",
        help="The run of this name in --params: its data set, settings, method, T and seed. (default: none)",
        show_default=False,
    ),
]
TrustRule = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Run this file for the learning rule of a run that was trained with it (the same SHA-256): it is code, "
        "read it first. Give it again for another one. (default: no file is run)",
        show_default=False,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object on standard output, of an error too, and nothing else on either stream."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Also write the JSON object to this file; where it comes from goes into a file beside it, "
        "NAME.provenance.json. (default: no file)",
        show_default=False,
    ),
]
