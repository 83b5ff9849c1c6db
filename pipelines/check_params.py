"""Checks params.yaml before any stage that takes a path from it: DVC removes a stage's outputs before it runs it.

python pipelines/check_params.py data/code/params.checked
"""

from pathlib import Path
from typing import Annotated

import typer

from bpsta_cli.cli.output import print_error
from bpsta_cli.config import load_params
from bpsta_cli.errors import BpstaError

TEXT = "params.yaml was read, and its names are names\n"
"""The same whatever the file says: the stages that follow depend on their own parameters."""


def main(
    out: Annotated[Path, typer.Argument(help="The file that says that it was checked.")],
    params: Annotated[Path, typer.Option(help="The file to check.")] = Path("params.yaml"),
) -> None:
    """Refuse a params.yaml with a name that could be anything else than a name, or with any other mistake."""
    try:
        load_params(params)
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(2) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(TEXT, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
