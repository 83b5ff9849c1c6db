"""The search: Optuna asks for settings, a training answers with accuracy and firing rate, a file keeps both."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from bpsta_cli import files, training
from bpsta_cli.config import RunSettings, Space, validate
from bpsta_cli.data.store import Store
from bpsta_cli.errors import BpstaError, MemoryExhaustedError, RunError, SettingsError, StructureError, TrainingError
from bpsta_cli.packages import require
from bpsta_cli.reading import documents
from bpsta_cli.training.loop import Event, never
from bpsta_cli.tuning.held_out import without_test
from bpsta_cli.tuning.outcome import outcome
from bpsta_cli.tuning.space import distribution

SEARCH, RECORD = "search.json", "trials.sqlite"
"""What is searched, and Optuna's record of every trial."""
MOST = 3
"""So many differences to another search are named."""
OWN_FAULTS = (SettingsError, StructureError, TrainingError, MemoryExhaustedError)
"""What a trial's settings may cause: the trial has failed, and the search goes on."""
State = Literal["running", "finished", "failed"]


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: from 0 on.
        run: its run directory.
        settings: what was tried: "training.lr" and the like.
        state: running (also: it was interrupted), finished or failed.
        accuracy: of the last epoch on the held-out samples.
        firing_rate: of the whole network on them.
        seconds: of training.
        problem: why it failed.
    """

    number: int
    run: Path
    settings: dict[str, Any] = field(default_factory=dict)
    state: State = "running"
    accuracy: float = math.nan
    firing_rate: float = math.nan
    seconds: float = math.nan
    problem: str = ""


@dataclass(frozen=True)
class Step:
    """Something happened in a trial's training."""

    trial: Trial
    event: Event


def require_optuna() -> None:
    """Refuse to search without Optuna.

    Raises:
        SettingsError: it is not installed.
    """
    require("optuna")


class Study:
    """A search in a folder; a folder that holds the same search goes on.

    Args:
        base: the settings of every trial beside those that are searched.
        space: what is searched.
        out: the folder; each trial is a run in it.

    Raises:
        SettingsError: Optuna is not installed, or the folder holds another search.
        RunError: the record there cannot be opened.
    """

    def __init__(self, base: RunSettings, space: Space, out: str | Path) -> None:
        require_optuna()
        self.base, self.space, self.out = _measured(base), space, Path(out)
        self.dimensions = space.of(base.method)
        self._note()
        self._study = self._open()

    def run(
        self,
        store: Store,
        *,
        trials: int | None = None,
        device: torch.device | str = "cpu",
        stop: Callable[[], bool] = never,
    ) -> Iterator[Trial | Step]:
        """Train the trials that are missing, one after another; yields each when it begins and when it ends.

        A trial that was interrupted comes first, with its settings and where its run was. Once `stop` says so the last
        event is the training's `Stopped`.

        Args:
            store: the prepared data; its test part is not read.
            trials: how many there are to be in all; None: the space's number.
            device: where to compute.
            stop: asked after every step.

        Raises:
            BpstaError: what no other settings would mend.
        """
        held_out = without_test(store, self.base)
        wanted = self.space.trials if trials is None else trials
        while (trial := self._next(wanted)) is not None:
            yield trial
            try:
                settings = self._settings_of(trial)
                for event in training.train(settings, held_out, trial.run, device=device, stop=stop):
                    yield Step(trial, event)
                    if isinstance(event, training.Stopped):
                        return
            except OWN_FAULTS as refused:
                self._tell(trial, refused)
            else:
                self._tell(trial)
            yield self.trials()[trial.number]

    def trials(self) -> list[Trial]:
        """All trials so far."""
        told = self._study.user_attrs
        return [self._as_trial(each, told.get(str(each.number), {})) for each in self._study.get_trials(deepcopy=False)]

    def _as_trial(self, frozen: Any, told: dict[str, Any]) -> Trial:
        names = {"COMPLETE": "finished", "FAIL": "failed"}
        state: Any = names.get(frozen.state.name, "running")
        accuracy, rate = frozen.values if state == "finished" else (math.nan, math.nan)
        return Trial(
            frozen.number,
            self.out / f"trial-{frozen.number:03d}",
            dict(frozen.params),
            state,
            accuracy,
            rate,
            told.get("seconds", math.nan),
            told.get("problem", ""),
        )

    def _next(self, wanted: int) -> Trial | None:
        """The trial that was interrupted, else a new one; None where there are as many as wanted."""
        found = self.trials()
        for trial in found:
            if trial.state == "running":
                if trial.settings.keys() == self.dimensions.keys():
                    return trial
                # the process ended before all of its settings were drawn
                self._tell(trial, TrainingError("stopped", expected="settings", got="some alone", todo="Go on."))
        if len(found) >= wanted:
            return None
        # a sampler a trial, so that a search draws the same however often it was stopped
        self._study.sampler = self._sampler(len(found))
        asked = self._study.ask({name: distribution(values) for name, values in self.dimensions.items()})
        number: int = asked.number
        return self.trials()[number]

    def _sampler(self, number: int) -> Any:
        from optuna.samplers import TPESampler

        return TPESampler(seed=self.space.seed + number, n_startup_trials=self.space.startup)

    def _tell(self, trial: Trial, refused: BpstaError | None = None) -> None:
        from optuna.trial import TrialState

        if refused is None:
            found = outcome(trial.run)
            self._study.set_user_attr(str(trial.number), {"seconds": round(found["seconds"], 3)})
            self._study.tell(trial.number, [float(found["value"]), float(found["firing_rate"])])
        else:
            self._study.set_user_attr(str(trial.number), {"problem": str(refused)})
            self._study.tell(trial.number, state=TrialState.FAIL)

    def _settings_of(self, trial: Trial) -> RunSettings:
        values = self.base.model_dump()
        values["data"]["train_samples"] = None  # they are chosen already
        for key, value in trial.settings.items():
            group, _, name = key.partition(".")
            values[group] = values[group] | {name: value}
        return _measured(validate(RunSettings, values, where=f"the settings of trial {trial.number}"))

    def _open(self) -> Any:
        import optuna
        from sqlalchemy import URL

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        record = self.out / RECORD
        # SQLite, as a line that a kill cut short would make Optuna's journal unreadable
        where = URL.create("sqlite", database=str(record.absolute())).render_as_string(hide_password=False)
        try:
            return optuna.create_study(
                storage=where, study_name="bpsta", directions=["maximize", "minimize"], load_if_exists=True
            )
        except Exception as broken:  # of sqlalchemy's kinds and Optuna's own
            raise RunError(
                "a search that cannot be opened",
                expected=f"Optuna's record in {record}",
                got=f"{type(broken).__name__}: {broken}",
                todo="Check the folder, or name another --out.",
            ) from broken

    def _note(self) -> None:
        """Write down what is searched; refuse to go on with another search.

        Raises:
            SettingsError: the folder holds another one.
        """
        what = {
            "settings": self.base.model_dump(mode="json"),
            "space": self.dimensions,
            "startup": self.space.startup,
            "seed": self.space.seed,
        }
        file = self.out / SEARCH
        if not file.is_file():
            files.write_checked_json(file, what)
            return
        there = documents.json_object(file)
        old, new = _flat(there), _flat(what)
        if different := [key for key in {**old, **new} if old.get(key) != new.get(key)]:
            named = [f"{key} ({old.get(key)} there, {new.get(key)} asked for)" for key in different[:MOST]]
            raise SettingsError(
                "another search",
                expected=f"the one that {file} holds",
                got=", ".join(named) + (f" and {len(different) - MOST} more" if len(different) > MOST else ""),
                todo="Name another --out, or remove the folder.",
            )


def _flat(search: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A search by the keys of what is in it, "settings.data.epochs" and the like."""
    found: dict[str, Any] = {}
    for key, value in search.items():
        inside = isinstance(value, Mapping)
        found |= _flat(value, f"{prefix}{key}.") if inside else {f"{prefix}{key}": value}
    return found


def _measured(settings: RunSettings) -> RunSettings:
    """The same, evaluated after its last epoch alone, on held-out samples."""
    measured = {"selection": "validation", "evaluate_every": settings.data.epochs}
    return settings.model_copy(update={"training": settings.training.model_copy(update=measured)})
