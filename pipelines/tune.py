"""Searches a method's settings by Optuna on held-out training samples (`pip install .[study]`).

    python pipelines/tune.py pipelines/rules.yaml --recipe n-mnist --T 4 --method stbp --method bpsta --out runs/tuning

The value of a trial is the accuracy of its last epoch on the validation part; nothing of the test part is read. Space
and budget stand in the params.yaml under `search`. OUT/METHOD/trials.csv has every trial, OUT/METHOD/space.yaml what
was searched, OUT/METHOD/best.yaml the settings found, as an entry of `variants`. The same command goes on.
"""

import math
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Annotated, Any

import grid
import typer
import yaml
from trials import Record, Row, Subject, train, write_best

from bpsta_cli import files, rules
from bpsta_cli.cli.output import print_error
from bpsta_cli.config import Params, Space, load_params
from bpsta_cli.errors import BpstaError, SettingsError
from bpsta_cli.tuning.space import distribution, read_space


class Search:
    """Optuna's side of a search: past trials are told, those that were interrupted come first."""

    def __init__(self, space: Space, rule: str, rows: Sequence[Row]) -> None:
        import optuna
        from optuna.trial import TrialState, create_trial

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = {name: distribution(values) for name, values in space.of(rule).items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # another seed after an interruption: the first one's draws were made
            sampler = optuna.samplers.TPESampler(
                seed=space.seed + len(rows), n_startup_trials=space.startup, constant_liar=True
            )
        self._failed = TrialState.FAIL
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        for row in rows:
            if row.state == "running":
                self._study.enqueue_trial(row.settings, user_attrs={"number": row.number})
            else:
                known = {"params": row.settings, "distributions": self.space}
                told = {"value": row.value} if row.state == "finished" else {"state": TrialState.FAIL}
                self._study.add_trial(create_trial(**known, **told))

    def ask(self, following: int) -> tuple[Any, Row]:
        """The next trial; `following` is its number where it is a new one."""
        trial = self._study.ask(self.space)
        return trial, Row(trial.user_attrs.get("number", following), dict(trial.params))

    def tell(self, trial: Any, row: Row) -> None:
        """What came out."""
        if row.state == "finished":
            trial.set_user_attr("firing_rate", row.firing_rate)
            self._study.tell(trial, row.value)
        else:
            self._study.tell(trial, state=self._failed)


def search(
    space: Space, subject: Subject, out: Path, trainings: grid.Trainings, jobs: int, deadline: float = math.inf
) -> Record:
    """Train the trials of one method that are missing, `jobs` at a time; returns all."""
    out.mkdir(parents=True, exist_ok=True)
    _check_same(out / "space.yaml", space, subject)
    record = Record(out / "trials.csv")
    left = [row.number for row in record.rows if row.state == "running"]
    optuna = Search(space, subject.rule, record.rows)
    running: dict[Future[Row], Any] = {}
    with ThreadPoolExecutor(jobs) as pool, grid.until_stopped(trainings):
        while True:
            while not trainings.stopped and len(running) < jobs and (left or len(record.rows) < space.trials):
                trial, row = optuna.ask(len(record.rows))
                left = left[1:]
                record.keep(row)
                folder = out / f"trial-{row.number:03d}"
                running[pool.submit(train, row, subject, folder, trainings)] = trial
            if not running:
                break
            for future in wait(running, timeout=1.0, return_when=FIRST_COMPLETED).done:
                trial, row = running.pop(future), future.result()
                record.keep(row)
                if row.state != "running":
                    optuna.tell(trial, row)
                    grid.say(f"{subject.method} {row.number}: {_told(row)}")
            if time.monotonic() > deadline:
                trainings.stop()
    write_best(record, subject, out / "best.yaml")
    return record


def _told(row: Row) -> str:
    if row.state == "failed":
        return f"failed: {row.problem}"
    settings = ", ".join(f"{name} {value}" for name, value in row.settings.items())
    return f"validation {100 * row.value:.2f} %, firing rate {row.firing_rate:.4f}, {row.seconds:.0f} s; {settings}"


def _check_same(file: Path, space: Space, subject: Subject) -> None:
    """Note what is searched; refuse to go on with another search.

    Raises:
        SettingsError: the file holds another one.
    """
    what = {
        "recipes": list(subject.recipes),
        "method": subject.method,
        "T": subject.T,
        "seeds": list(subject.seeds),
        "trials": space.trials,
        "startup": space.startup,
        "seed": space.seed,
        "space": space.of(subject.rule),
        "otherwise": subject.params({}),
    }
    text = yaml.safe_dump(what, sort_keys=False)
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        raise SettingsError(
            "another search",
            expected=f"the space, budget and settings that {file} holds",
            got="others",
            todo="Name another --out, or remove the folder.",
        )
    files.write_text(file, text)


def chosen(file: Path | None, study: Params, params: Path) -> Space:
    """The space in a file of its own, else the study's: never the default one, which a study would not write down.

    Raises:
        SettingsError: neither, or an unusable file.
    """
    if file is not None:
        return read_space(file)
    if study.search is None:
        raise SettingsError(
            "no space to search",
            expected=f"search in {params}",
            got="none",
            todo="Add it (docs/tuning.md), or --space.",
        )
    return study.search


def main(
    params: Annotated[Path, typer.Argument(help="The params.yaml with all other settings.")],
    recipe: Annotated[list[str], typer.Option(help="Entry of its datasets; of several a trial is the mean.")],
    T: Annotated[int, typer.Option("--T", min=1, help="Number of time steps.")],
    method: Annotated[list[str], typer.Option(help="Learning rule or variant; give it again for another one.")],
    out: Annotated[Path, typer.Option(help="Folder for a folder a method.")],
    seed: Annotated[list[int], typer.Option(help="Seed of a training; of several a trial is the mean.")] = [0],  # noqa: B006 - Typer reads it once
    space: Annotated[Path | None, typer.Option(help="The space and the budget; by default search in PARAMS.")] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder with raw and prepared data.")] = Path("data"),
    jobs: Annotated[int, typer.Option(min=1, help="Trials at the same time; by default one a core.")] = grid.CORES,
    deadline: Annotated[float, typer.Option(metavar="SECONDS", help="After so long all is stopped.")] = math.inf,
) -> None:
    """Search the settings of each method in the same space with as many trials; the test part is not read."""
    end, trainings, left = time.monotonic() + deadline, grid.Trainings(), 0
    try:
        study = load_params(params)
        searched = chosen(space, study, params)
        for name in method:
            subject = Subject(study, tuple(recipe), name, T, tuple(seed), data_dir)
            if subject.rule not in rules.names():
                raise SettingsError("unknown method", expected="a rule or variant", got=name, todo="Correct --method.")
            record = search(searched, subject, out / name, trainings, jobs, end)
            left += searched.trials - sum(row.state != "running" for row in record.rows)
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(2) from None
    if left:
        grid.say(f"{left} trials are left; the same command goes on")
        raise typer.Exit(grid.UNFINISHED)


if __name__ == "__main__":
    typer.run(main)
