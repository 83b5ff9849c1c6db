"""`bpsta compare`: runs side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bpsta_cli.cli.options import Json, Runs
from bpsta_cli.cli.output import Output
from bpsta_cli.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd


def compare(
    runs: Runs,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Also write the curves as a picture (.png, .svg) or the table (.csv, .md, .json) into this file; give "
            "it again for another one. (default: no file)",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show in which settings runs differ and what each came to; draw their curves in one picture.

    Runs may be of any data set, method and settings, and need not be finished. Nothing is computed anew: what stands
    there is in the runs' own files.
    """
    from bpsta_cli.reporting.any_runs import read_runs
    from bpsta_cli.reporting.side_by_side import check_place, write
    from bpsta_cli.reporting.side_by_side import compare as side_by_side

    output = Output(as_json=as_json)
    for path in out or []:
        check_place(path)
    found = read_runs(runs)
    if len(found) < 2:
        raise SettingsError(
            "nothing to compare", expected="two runs or more", got=f"{found[0].path} alone", todo="Name another one."
        )
    comparison = side_by_side(found)
    for title, frame in (
        ("Results", comparison.results_display()),
        ("Settings that differ", _upright(comparison.settings_display())),
    ):
        if len(frame.columns) > 1:
            output.table(title, list(frame.columns), frame.to_numpy().tolist())
    output.say(comparison.note())
    for path in out or []:
        write(comparison, path)
        output.say(f"Written: {path}")
    output.result({**comparison.as_json(), "files": [str(path) for path in out or []]})


def _upright(settings: "pd.DataFrame") -> "pd.DataFrame":
    """A row a run, or a row a setting where these are more: many columns leave no room for their names."""
    if len(settings.columns) - 1 <= len(settings):
        return settings
    return settings.set_index("run").T.rename_axis(index="setting", columns=None).reset_index()
