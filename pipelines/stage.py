"""What a stage of dvc.yaml does for one run or recipe, which it reads from the stage's name.

    python pipelines/stage.py train@digits-bpsta-T8-s0

DVC puts the name into the environment (DVC_STAGE); a job of pipelines/cluster.py gives it as an argument, with a
receipt to write. It does not stand in the command, because DVC hands that to a shell
as it is, and a name in params.yaml may hold anything; here it is looked up among the names that params.yaml allows.
"""

import os
import shutil
import signal
from pathlib import Path
from typing import Annotated

import receipts
import typer

from bpsta_cli.cli.main import leave, run
from bpsta_cli.cli.output import print_error
from bpsta_cli.config import Params, load_params
from bpsta_cli.errors import BpstaError, SettingsError
from bpsta_cli.rules import TWIN

PARAMS = Path("params.yaml")
USER_ERROR = 2


def commands(stage: str, study: Params, params: Path = PARAMS) -> list[list[str]]:
    """The command lines of `bpsta` that make a stage of the study in the file `params`.

    Raises:
        SettingsError: a stage that params.yaml does not have.
    """
    kind, _, name = stage.rpartition(":")[2].partition("@")  # a path and a colon, where DVC is called from elsewhere
    if kind == "prepare":
        study.recipe_of(name)
        return [["prepare", "--params", str(params), "--recipe", name, "--out", f"data/stores/{name}"]]
    study.run(name)
    directory = f"results/train/{name}"
    train = ["train", "--params", str(params), "--run", name, "--out", directory, "--resume", "--overwrite"]
    evaluate = ["eval", directory, "--out", f"results/eval/{name}.json"]
    if kind == "train-only":
        twin = study.settings_of(study.run(name)).method == TWIN
        return [train, [*evaluate, "--bits", "auto"] if twin else evaluate]
    if kind == "train":  # measured with no times, so that the results are the same bytes every time
        return [
            train,
            evaluate,
            ["energy", directory, "--out", f"results/energy/{name}.json"],
            ["latency", directory, "--no-clock", "--out", f"results/latency/{name}.json"],
        ]
    raise SettingsError(
        "unknown stage",
        expected="prepare@, train@ or train-only@ and a name",
        got=repr(stage),
        todo="Mend it.",
    )


def end_with_dvc(*, training: bool, patience: int = 120) -> None:
    """Have this process ended when DVC is killed, so that nothing goes on unseen.

    A training is asked once to stop, and saves its state. One that is stopping already, as where a whole group of
    processes got a signal, is left to it: a second signal would cut that short.

    Args:
        training: whether there is a state to save.
        patience: seconds that one may take to begin, or to stop.
    """
    import ctypes

    left = patience

    def dvc_is_gone(*_: object) -> None:
        nonlocal left
        left -= 1
        if callable(signal.getsignal(signal.SIGTERM)):
            os.kill(os.getpid(), signal.SIGTERM)
        elif left > 0:
            signal.alarm(1)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    PR_SET_PDEATHSIG = 1  # linux/prctl.h
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        return
    for number in (signal.SIGUSR1, signal.SIGALRM) if training else ():
        signal.signal(number, dvc_is_gone)
    prctl(PR_SET_PDEATHSIG, signal.SIGUSR1 if training else signal.SIGTERM)


def main(
    stage: Annotated[str, typer.Argument(envvar="DVC_STAGE", help="The stage's name, such as train@RUN.")],
    params: Annotated[Path, typer.Option(help="The file that has the run or the recipe.")] = PARAMS,
    receipt: Annotated[
        Path | None,
        typer.Option(
            help="Make nothing where this file says that it is made; else write it. (default: none)",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run what makes one stage, in one process; the first command that fails ends it."""
    if "prepare@" not in stage:
        os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded
    end_with_dvc(training="train" in stage)
    try:
        study = load_params(params)
        lines = commands(stage, study, params)
        now = receipts.present(study) if receipt else None
        if receipt and now is not None and receipts.holds(receipt, stage, now):
            typer.echo(f"{stage} is made, by the same settings, data and code")
            leave(0)
        made_from = receipts.inputs(stage, now) if now else {}
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(USER_ERROR) from None
    if receipt and "prepare@" in stage:  # DVC does so before it runs a stage
        shutil.rmtree(f"data/stores/{stage.partition('@')[2]}", ignore_errors=True)
    for arguments in lines:
        typer.echo(f"> bpsta {' '.join(arguments)}")
        if code := run(arguments):
            leave(code)
    if receipt:
        receipts.write(receipt, stage, study, made_from)
    leave(0)


if __name__ == "__main__":
    typer.run(main)
