"""The console script: registers the commands and turns known errors into one line and exit code 2."""

import inspect
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from bpsta_cli import __version__
from bpsta_cli.cli import (
    compare,
    doctor,
    energy,
    evaluate,
    export,
    latency,
    machine,
    predict,
    prepare,
    report,
    rules,
    share,
    streams,
    train,
    tune,
    verify,
)
from bpsta_cli.cli.explain import explanation
from bpsta_cli.cli.interruption import StoppedCommand
from bpsta_cli.cli.output import print_error, print_warning
from bpsta_cli.distributed import launcher
from bpsta_cli.errors import BpstaWarning, SettingsError

USER_ERROR, INTERRUPTED = 2, 130
EMPTY_OPTION = re.compile(r"--[\w-]+=")

app = typer.Typer(
    name="bpsta",
    help="Deep spiking neural networks with biologically plausible backpropagation (BPSA, BPTA; Shen, Zhao and "
    "Zeng 2022): prepare data, train, and account for accuracy, energy and latency.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _command(name: str, function: Callable[..., None]) -> None:
    """Register a command. Its docstring is its help, a paragraph a line: the terminal's width breaks it."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    app.command(name, help="\n\n".join(text.replace("\n", " ") for text in paragraphs))(function)


_command("prepare", prepare.prepare)
_command("train", train.train)
_command("eval", evaluate.evaluate)
_command("predict", predict.predict)
_command("energy", energy.energy)
_command("latency", latency.latency)
_command("export", export.export)
_command("tune", tune.tune)
_command("compare", compare.compare)
_command("verify", verify.verify)
_command("report", report.report)
_command("share", share.share)
_command("rules", rules.rules)
_command("doctor", doctor.doctor)


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
    streams.prepare()
    leave(run(sys.argv[1:]))


def leave(code: int) -> NoReturn:
    """End the process."""
    code = streams.flushed(code)
    # the interpreter's own end takes torch up to a second; nothing is left to do
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code.

    0, 2 for a mistake, 128 and the signal's number when interrupted, 141 for a closed pipe.
    """
    with machine.spoken_to(arguments):
        return _run(arguments, debug="--debug" in arguments)


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        _refuse_empty(arguments)
        with warnings.catch_warnings():
            _tell_warnings_as_such()
            code = app(
                args=[argument for argument in arguments if argument != "--debug"],
                prog_name="bpsta",
                standalone_mode=False,
            )
    except StoppedCommand as stopped:
        _say_error(stopped, [])
        return stopped.code
    except SystemExit:  # what Typer and Rich make of a pipe whose reader has left
        return streams.BROKEN_PIPE
    except Exception as error:
        lines = explanation(error)
        if lines is None:
            raise
        if debug:
            traceback.print_exception(error)
        if not debug or machine.listens():
            _say_error(error, lines)
        return USER_ERROR
    if code == INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
        _say_error(KeyboardInterrupt(), ["interrupted; the same command again goes on where it can"])
    return code if isinstance(code, int) else 0


def _say_error(error: BaseException, lines: list[str]) -> None:
    """The error for whoever reads; without lines people have been told already.

    Of several processes of a run one writes the object. The others tell people: what befell one of them alone is known
    to it alone.
    """
    of_the_output = isinstance(error, OSError) and error.filename is None
    if machine.listens() and not of_the_output and launcher.is_writer():
        machine.write_error(error, lines or ["stopped by a signal"])
    elif lines:
        print_error(*lines)


def _tell_warnings_as_such() -> None:
    """Show the package's own warnings as a command does, without the line of code that gave them."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, BpstaWarning):
            print_warning(str(message))
        elif machine.listens():
            machine.keep_warning(str(message))
        else:
            others(message, category, *rest, **more)

    warnings.showwarning = show


def _refuse_empty(arguments: list[str]) -> None:
    """Refuse an empty argument: as a path it would be the current folder, and no option has an empty value.

    Raises:
        SettingsError: there is one.
    """
    for place, argument in enumerate(arguments):
        if argument == "" or EMPTY_OPTION.fullmatch(argument):
            before = arguments[place - 1] if argument == "" and place else ""
            raise SettingsError(
                "an empty argument",
                expected=f"a value after {before}" if before.startswith("-") else "a value",
                got=repr(argument),
                todo="Give the value, or leave the option out.",
            )
