"""The study in params.yaml as jobs: which there are, which are made, and how DVC's books are brought up to date."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import receipts
import repro
import typer
from cluster_board import Board, Standing
from cluster_job import Job
from grid import in_order

from bpsta_cli import files
from bpsta_cli.config import Params, load_params
from bpsta_cli.errors import BpstaError, SettingsError

PARAMS, PRESETS, STAGE = Path("params.yaml"), Path("pipelines"), "pipelines/stage.py"
FIRST = ("params-check", "code-train", "code-measure")
"""What DVC compares every run with: that its settings are read, and the hashes of its code."""


@dataclass(frozen=True)
class Project:
    """The study in params.yaml, what DVC says of it, and the jobs that were handed out.

    Attributes:
        study: the settings.
        board: the jobs.
        changed: the stages that are not what dvc.lock says.
        now: what stages are made from.
    """

    study: Params
    board: Board
    changed: set[str]
    now: receipts.Present

    def stage(self, name: str) -> str:
        """The stage that a job makes."""
        return name if "@" in name else repro.stage_of(self.study, name)

    def names(self) -> list[str]:
        """Every job there could be: of the recipes, then of the runs, seed after seed and the longest first."""
        recipes = [f"prepare@{recipe}" for recipe in self.study.datasets]
        return recipes + [run.name for run in in_order(self.study.runs.values(), self.study)]

    def is_made(self, stage: str) -> bool:
        """By the books, or by its receipt."""
        return stage not in self.changed or self.has_receipt(stage)

    def has_receipt(self, stage: str) -> bool:
        """Whether a job made it from the settings, data and code of now."""
        return receipts.holds(self.board.receipt(stage), stage, self.now)

    def standings(self, live: dict[str, Standing]) -> dict[str, Standing]:
        """How each job stands, of which `live` has those that queue or run; one never handed out is waiting."""
        found: dict[str, Standing] = {}
        for name in self.names():
            if name in live:
                found[name] = live[name]
            elif self.is_made(self.stage(name)):
                found[name] = "done"
            else:
                found[name] = "failed" if name in self.board.handed else "waiting"
        return found


def opened(board: Board) -> Project:
    """The project as it is now."""
    study = load_params(PARAMS)
    return Project(study, board, repro.changed_stages(), receipts.present(study))


def take_params(params: Path) -> None:
    """Make the file the project's params.yaml, which DVC reads. Only one that is a preset as it came is replaced.

    Raises:
        SettingsError: params.yaml has settings that lie nowhere else.
    """
    load_params(params)
    there, wanted = PARAMS.read_bytes() if PARAMS.is_file() else None, params.read_bytes()
    if there == wanted:
        return
    if there is not None and there not in {file.read_bytes() for file in PRESETS.glob("*.yaml")}:
        raise SettingsError(
            "params.yaml has settings of its own",
            expected=f"{params}, or one of {PRESETS}/*.yaml, which it then replaces",
            got="another file",
            todo=f"Keep it elsewhere, then: cp {params} params.yaml",
        )
    files.write_text(PARAMS, wanted.decode())
    say(f"params.yaml is {params} now")


def made_jobs(project: Project, names: Iterable[str]) -> list[Job]:
    """The jobs of these names, with a copy of the settings of now, which a later change does not reach."""
    content = PARAMS.read_text(encoding="utf-8")
    frozen = project.board.folder / "params" / f"{hashlib.sha256(content.encode()).hexdigest()[:12]}.yaml"
    files.write_text(frozen, content)

    def command(stage: str) -> list[str]:
        return [sys.executable, STAGE, stage, "--params", str(frozen), "--receipt", str(project.board.receipt(stage))]

    return [Job(name, command(project.stage(name)), Path.cwd(), project.board.log(name).absolute()) for name in names]


def missing(project: Project, only: str, live: dict[str, Standing]) -> list[str]:
    """The jobs that are neither done nor live: of the runs that `only` finds, and of their recipes."""
    standings = project.standings(live)
    runs = [run for run in project.study.runs.values() if re.search(only, run.name)]
    wanted = {run.name for run in runs} | {f"prepare@{run.recipe}" for run in runs}
    return [name for name in project.names() if name in wanted - live.keys() and standings[name] != "done"]


def commit(project: Project) -> bool:
    """Enter what jobs made into dvc.lock; whether there was anything."""
    stages = [project.stage(name) for name in project.names()]
    made = [stage for stage in stages if stage in project.changed and project.has_receipt(stage)]
    if made:
        enter(made)
        say(f"{len(made)} stages entered into dvc.lock")
    return bool(made)


def enter(made: list[str]) -> None:
    """Enter stages into dvc.lock as `dvc commit --force` does, which writes the whole file anew for each of them."""
    from dvc.repo import Repo

    with Repo(_wait_for_lock=True) as repo, repo.lock:
        stages = [repo.stage.get_target(name) for name in made]
        for stage in stages:
            stage.save()
            stage.commit()
        stages[0].dvcfile.dump_stages(stages, update_pipeline=False)


def dvc(*arguments: str) -> None:
    """Run DVC.

    Raises:
        BpstaError: it failed, and has said why.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", "--wait-for-lock", *arguments], check=False)
    if done.returncode:
        raise BpstaError(
            f"dvc {arguments[0]} failed",
            expected="exit code 0",
            got=str(done.returncode),
            todo="See above what it said; python pipelines/cluster.py --commit goes on.",
        )


def say(text: str) -> None:
    """One line, at once."""
    typer.echo(f"cluster: {text}")
