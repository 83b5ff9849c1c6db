"""The console script: registers the commands and turns known errors into one line and exit code 2."""

import os
import sys
from typing import Annotated

import typer

from bpsta_cli import __version__
from bpsta_cli.cli import energy, evaluate, latency, prepare, report, rules, train
from bpsta_cli.cli.interruption import StoppedCommand
from bpsta_cli.cli.output import print_error
from bpsta_cli.errors import BpstaError

UsageError = typer.BadParameter.__mro__[1]
"""Typer's base of every mistake in a command line; it is public only through its child."""
USER_ERROR, INTERRUPTED = 2, 130

app = typer.Typer(
    name="bpsta",
    help="Deep spiking neural networks with biologically plausible backpropagation (BPSA, BPTA; Shen, Zhao and "
    "Zeng 2022): prepare data, train, and account for accuracy, energy and latency.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("prepare")(prepare.prepare)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("energy")(energy.energy)
app.command("latency")(latency.latency)
app.command("report")(report.report)
app.command("rules")(rules.rules)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bpsta {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and leave.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere in the line.")
    ] = False,
) -> None:
    """Options of every command; `run` reads --debug itself, wherever it stands."""


def main() -> None:
    """The console script: leave with the command line's exit code."""
    code = run(sys.argv[1:])
    sys.stdout.flush()
    # the interpreter's own end takes torch up to a second; nothing is left to do
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code: 0, 2 for a mistake, 128 and the signal's number when interrupted."""
    debug = "--debug" in arguments
    try:
        code = app(
            args=[argument for argument in arguments if argument != "--debug"],
            prog_name="bpsta",
            standalone_mode=False,
        )
    except StoppedCommand as stopped:
        return stopped.code
    except Exception as error:
        message = _explanation(error)
        if message is None or debug:
            raise
        print_error(message)
        return USER_ERROR
    if code == INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
        print_error("interrupted; the same command again goes on where it can")
    return code if isinstance(code, int) else 0


def _explanation(error: Exception) -> str | None:
    """What to tell the user of an error they can mend; None for one that is ours."""
    if isinstance(error, BpstaError):
        return str(error)
    if isinstance(error, typer.Abort):
        return "aborted"
    if isinstance(error, UsageError):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "bpsta"
        message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        return f"{message}. `{command} --help` explains every option."
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}: {error.filename}. Free space there, or correct the path or its permissions."
    return None
