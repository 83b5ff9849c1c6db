"""Makes what is missing of the study as jobs of a cluster, or of this machine, through submitit; DVC keeps the books.

    python pipelines/cluster.py --params pipelines/paper.yaml --gpus 1 --slurm partition=gpu
    python pipelines/cluster.py --status
    python pipelines/cluster.py --commit

A job is a run: it is trained and measured, as DVC's stages would do it and into the same files. It goes on in a new
job where the cluster takes its machine away. The data are prepared before, a job a recipe. What queues or runs is not
submitted again. In the end `dvc commit` enters what was made into dvc.lock, and the report is made; under SLURM the
last job does that.
"""

import re
import shutil
import sys
from collections import Counter
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import cluster_project as project
import dvc_locks
import repro
import typer
from cluster_board import Board, Standing, slurm_numbers
from cluster_engines import OnThisMachine, Wishes, here_and_now, to_slurm
from cluster_job import Job
from cluster_project import Project, say

from bpsta_cli.cli.output import Output, print_error
from bpsta_cli.errors import BpstaError, SettingsError

STANDINGS: tuple[Standing, ...] = ("done", "running", "waiting", "failed")
BOOKS = "books"
"""The job that ends a submission to SLURM."""
FAILED, USER_ERROR, UNFINISHED = 1, 2, 3
"""Exit codes: a job failed; a mistake; a signal came before all was made."""
CAP = 32
"""Jobs of an array of SLURM's that run at the same time, where nothing else is said."""


class Executor(StrEnum):
    """Where jobs run."""

    SLURM = "slurm"
    LOCAL = "local"
    DEBUG = "debug"


def submit(board: Board, executor: Executor, wishes: Wishes, only: str) -> int:
    """Hand out what is missing; returns the exit code."""
    with board.held():
        study = brought_up_to_date(board)
        live = board.live()
        names = project.missing(study, only, live)
        say(f"{len(names)} jobs to submit; {len(live)} are submitted already")
        jobs = project.made_jobs(study, names)
        if executor == Executor.SLURM:
            return submit_to_slurm(study, jobs, wishes)
        stopped = run_here(study, jobs, wishes) if executor == Executor.LOCAL else here_and_now(jobs, board)
        study = brought_up_to_date(board)
        make_report(study)
        show(study)
        if stopped:
            say("stopped; the same command goes on")
            return UNFINISHED
        return FAILED if "failed" in study.standings(board.live()).values() else 0


def brought_up_to_date(board: Board) -> Project:
    """The project, after what jobs made was entered into the books."""
    for line in dvc_locks.mend():
        say(line)
    project.dvc("repro", "--single-item", *project.FIRST)
    study = project.opened(board)
    return project.opened(board) if project.commit(study) else study


def run_here(study: Project, jobs: list[Job], wishes: Wishes) -> bool:
    """Run the jobs on this machine; whether a signal stopped that."""
    engine = OnThisMachine(study.board, wishes, say)
    engine.run(jobs, {run.name: f"prepare@{run.recipe}" for run in study.study.runs.values()})
    return engine.stopped


def submit_to_slurm(study: Project, jobs: list[Job], wishes: Wishes) -> int:
    """Submit an array that prepares, after it one of the runs, and after that the job that does the books."""
    board = study.board
    preparing = [job for job in jobs if "@" in job.name]
    runs = [job for job in jobs if "@" not in job.name]
    before = slurm_numbers(board, [name for name in board.live() if "@" in name])  # of an earlier call
    if preparing:
        before.append(to_slurm(preparing, board, without_gpus(wishes)))
    last = [to_slurm(runs, board, wishes, after=before)] if runs else before
    if jobs:
        books = [sys.executable, "pipelines/cluster.py", "--commit", "--logs", str(board.folder)]
        job = Job(BOOKS, books, Path.cwd(), board.log(BOOKS).absolute())
        number = to_slurm([job], board, without_gpus(wishes), after=last)
        say(f"submitted as {', '.join([*before, *last, number])}; --status shows how they stand")
    elif not board.live():
        make_report(study)
    return 0


def make_report(study: Project) -> None:
    """Have DVC make the tables, from the runs that are there, where it would."""
    if set(repro.LAST) & study.changed and any(Path("results/train").glob("*/metrics.json")):
        project.dvc("repro", "--single-item", "--keep-going", *repro.LAST)


def show(study: Project) -> None:
    """How the jobs stand, a row a recipe; and each that runs or failed with the last line of its log."""
    standings, output = study.standings(study.board.live()), Output(as_json=False)
    counts = {recipe: Counter[Standing]() for recipe in study.study.datasets}
    for name, run in study.study.runs.items():
        counts[run.recipe][standings[name]] += 1
    rows = [
        [recipe, standings[f"prepare@{recipe}"], *(str(count[each]) for each in STANDINGS)]
        for recipe, count in counts.items()
    ]
    total = [str(sum(count[each] for count in counts.values())) for each in STANDINGS]
    output.table("Runs", ["recipe", "data", *STANDINGS], [*rows, ["all", "", *total]])
    told = [[name, each, study.board.said(name)] for name, each in standings.items() if each in ("running", "failed")]
    if told:
        output.table("Jobs", ["job", "stands", "last line of its log"], told)


def without_gpus(wishes: Wishes) -> Wishes:
    """For preparing data and for the books, which use none."""
    return replace(wishes, gpus=0)


def gpus_here() -> int:
    """The GPUs of this machine."""
    import torch

    return torch.cuda.device_count()


def places(executor: Executor, jobs: int | None, gpus: int | None) -> tuple[int, int]:
    """How many jobs run at a time, and the GPUs of each.

    Raises:
        SettingsError: more GPUs than this machine has.
    """
    if executor == Executor.SLURM:
        return jobs or CAP, gpus or 0
    there = gpus_here() if executor == Executor.LOCAL else 0
    each = min(1, there) if gpus is None else gpus
    fit = there // each if each else jobs or repro.CORES
    if (jobs or 1) > fit:
        raise SettingsError(
            "more jobs than GPUs for them",
            expected=f"at most {there} GPUs in use, as this machine has",
            got=f"{jobs or 1} jobs of {each}",
            todo="Give fewer --jobs, or --gpus 0 to train on the CPU.",
        )
    return jobs or fit, each


def pairs(given: list[str]) -> dict[str, str]:
    """NAME=VALUE, each once.

    Raises:
        SettingsError: something else.
    """
    found = dict(each.split("=", 1) for each in given if re.fullmatch(r"[a-z-]+=.+", each))
    if len(found) < len(given):
        raise SettingsError(
            "unusable option",
            expected="--slurm NAME=VALUE with an option of sbatch, such as partition=gpu, each NAME once",
            got=" ".join(given),
            todo="Correct it.",
        )
    return found


def main(
    params: Annotated[
        Path | None,
        typer.Option(help="Make this file the project's params.yaml first. (default: none)", show_default=False),
    ] = None,
    executor: Annotated[
        Executor | None,
        typer.Option(
            help="slurm; local: this machine, one job a GPU; debug: in this process, one after the other. "
            "(default: slurm where sbatch is there, else local)",
            show_default=False,
        ),
    ] = None,
    only: Annotated[str, typer.Option(metavar="REGEX", help="Submit the runs whose names this finds.")] = "",
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Jobs at the same time. (default: {CAP} under slurm; else one a GPU, one a core without)",
            show_default=False,
        ),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(min=0, help="GPUs of a run. (default: 0 under slurm; 1 where there are any)", show_default=False),
    ] = None,
    cpus: Annotated[int, typer.Option(min=1, help="Cores of a job, under slurm.")] = 1,
    memory: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="GB", help="Of a job. (default: what SLURM gives)", show_default=False),
    ] = None,
    minutes: Annotated[
        int, typer.Option(min=10, help="Time of a job under slurm; one that takes longer goes on in a new one.")
    ] = 1440,
    slurm: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of sbatch, such as partition=gpu; may be given again."),
    ] = None,
    logs: Annotated[Path, typer.Option(help="Folder for what was submitted, and logs.")] = Path("runs/cluster"),
    status: Annotated[bool, typer.Option("--status", help="Show how the jobs stand, and submit nothing.")] = False,
    commit: Annotated[
        bool, typer.Option("--commit", help="Enter what was made into dvc.lock, make the report, submit nothing.")
    ] = False,
) -> None:
    """Make what is missing of the study in params.yaml as jobs: SLURM's, or of this machine."""
    chosen = executor or (Executor.SLURM if shutil.which("sbatch") else Executor.LOCAL)
    try:
        re.compile(only)
        board = Board(logs)
        if status:
            show(project.opened(board))
            raise typer.Exit
        if commit:
            make_report(brought_up_to_date(board))
            raise typer.Exit
        if params is not None:
            project.take_params(params)
        at_once, each = places(chosen, jobs, gpus)
        wishes = Wishes(at_once, each, cpus, memory, minutes, pairs(slurm or []))
        code = submit(board, chosen, wishes, only)
    except re.error as error:
        print_error(f"--only is no regular expression: {error}")
        raise typer.Exit(USER_ERROR) from None
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(USER_ERROR) from None
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
