"""The console script: registers the commands and turns known errors into one line and exit code 2."""

import os
import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer

from bpsta_cli import __version__
from bpsta_cli.cli import energy, evaluate, latency, prepare, report, rules, train
from bpsta_cli.cli.output import print_error, print_warning
from bpsta_cli.errors import BpstaError, BpstaWarning

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
    leave(run(sys.argv[1:]))


def leave(code: int) -> NoReturn:
    """End the process."""
    sys.stdout.flush()
    # the interpreter's own end takes torch up to a second; nothing is left to do
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code: 0, 2 for a mistake, 130 when interrupted."""
    debug = "--debug" in arguments
    try:
        with warnings.catch_warnings():
            _tell_warnings_as_such()
            code = app(
                args=[argument for argument in arguments if argument != "--debug"],
                prog_name="bpsta",
                standalone_mode=False,
            )
    except Exception as error:
        message = _explanation(error)
        if message is None or debug:
            raise
        print_error(message)
        return USER_ERROR
    if code == INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
        print_error("interrupted; a training run goes on with --resume")
    return code if isinstance(code, int) else 0


def _tell_warnings_as_such() -> None:
    """Show the package's own warnings as a command does, without the line of code that gave them."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, BpstaWarning):
            print_warning(str(message))
        else:
            others(message, category, *rest, **more)

    warnings.showwarning = show


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
