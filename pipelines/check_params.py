"""Checks params.yaml, and writes what each stage needs of it.

    python pipelines/check_params.py data/code/params.checked

It comes before any stage that takes a path from params.yaml, because DVC removes a stage's outputs before it runs it.
The other stages depend on their own file of data/settings rather than on keys of params.yaml, for two reasons: a run is
made again where its own settings are others, and not where another method's are; and DVC reads and writes the whole of
dvc.lock after every stage, which takes long where that holds every key for every run.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from bpsta_cli import files
from bpsta_cli.cli.output import print_error
from bpsta_cli.config import Params, StoreSettings, load_params
from bpsta_cli.errors import BpstaError

TEXT = "params.yaml was read, and its names are names\n"
"""The same whatever the file says: the stages that follow depend on their own settings."""


def settings(study: Params) -> dict[str, Any]:
    """What stages depend on, by file: each run's settings, what to prepare of each recipe, and the list of runs."""
    listed = study.model_dump(mode="json", include={"measured", "train_only", "stand_ins"})
    found: dict[str, Any] = {"study.json": listed}
    for name, run in study.runs.items():
        found[f"runs/{name}.json"] = study.settings_of(run).model_dump(mode="json")
    for name in study.datasets:
        runs = study.runs_with(name)
        stored = study.recipe_of(name).model_dump(mode="json", include={"source", *StoreSettings.model_fields})
        what = {"datasets": sorted({run.dataset for run in runs}), "T": sorted({run.T for run in runs})}
        found[f"recipes/{name}.json"] = what | stored
    return found


def main(
    out: Annotated[Path, typer.Argument(help="The file that says that it was checked.")],
    settings_dir: Annotated[Path, typer.Option(help="Folder for what the stages depend on.")] = Path("data/settings"),
    params: Annotated[Path, typer.Option(help="The file to check.")] = Path("params.yaml"),
) -> None:
    """Refuse a params.yaml with a name that could be anything else than a name, or with any other mistake."""
    try:
        found = settings(load_params(params))
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(2) from None
    for name, values in found.items():
        files.write_json(settings_dir / name, values)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(TEXT, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
