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
DataDir = Annotated[Path, typer.Option(help="Folder of raw and prepared data.")]
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
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Also write the JSON object to this file. (default: no file)", show_default=False),
]
