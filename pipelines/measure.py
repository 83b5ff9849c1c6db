"""`bpsta eval`, `energy` and `latency` of one run, in one process: loading torch takes longer than they do.

python pipelines/measure.py digits-bpsta-T8-s0
"""

from typing import Annotated

import typer

from bpsta_cli.cli.main import run


def commands(name: str) -> list[list[str]]:
    """The three command lines; times are not measured, so that the results are the same bytes every time."""
    directory = f"results/train/{name}"
    return [
        ["eval", directory, "--out", f"results/eval/{name}.json"],
        ["energy", directory, "--out", f"results/energy/{name}.json"],
        ["latency", directory, "--no-clock", "--out", f"results/latency/{name}.json"],
    ]


def main(name: Annotated[str, typer.Argument(metavar="RUN", help="The name of a line of params.yaml.")]) -> None:
    """Run `bpsta eval`, `energy` and `latency` for one trained run; the first that fails ends it."""
    for arguments in commands(name):
        typer.echo(f"> bpsta {' '.join(arguments)}")
        if code := run(arguments):
            raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
