"""`bpsta tune`: a search over settings for accuracy and few spikes; every trial is a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bpsta_cli import rules
from bpsta_cli.cli.interruption import Interruption, StoppedCommand
from bpsta_cli.cli.options import NO_FOLDER, DataDir, Device, Json, ParamsFile, RunName, Threads
from bpsta_cli.cli.output import Output, percent
from bpsta_cli.cli.progress import Bar
from bpsta_cli.cli.runs import require_positive, use_threads, warn_unchecked
from bpsta_cli.cli.train_settings import chosen_settings
from bpsta_cli.errors import SettingsError

if TYPE_CHECKING:
    from bpsta_cli.config import RunSettings, Space
    from bpsta_cli.data.store import Store
    from bpsta_cli.tuning.study import Study, Trial


def tune(
    dataset: Annotated[
        str | None, typer.Option(help="Which data set; bpsta prepare --list shows them all.", show_default=False)
    ] = None,
    T: Annotated[int | None, typer.Option("--T", help="Time steps. (default: 8)", show_default=False)] = None,
    method: Annotated[
        str | None,
        typer.Option(help="Learning rule, or a variant in --params. (default: bpsta)", show_default=False),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Structure. (default: the data set's recipe)", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a trial. (default: the data set's recipe)", show_default=False)
    ] = None,
    train_samples: Annotated[
        int | None,
        typer.Option(help="Train and validate on so many training samples. (default: all)", show_default=False),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Folder of raw files. (default: in --data-dir)", show_default=False)
    ] = None,
    params: ParamsFile = None,
    run: RunName = None,
    space: Annotated[
        Path | None,
        typer.Option(help="File with the space. (default: search in --params; else that of docs/tuning.md)"),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(help="Trials in all; more than there are go on. (default: the space's, 20)", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the search, a run directory a trial. (default: runs/tune-DATASET-METHOD-T8)"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the search and of every training. (default: 0)", show_default=False),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    data_dir: DataDir = NO_FOLDER,
    as_json: Json = False,
) -> None:
    """Search settings for high accuracy and few spikes, by Optuna; each trial is a run, and the front is a table.

    Trials are judged by held-out training samples; the test part is not read. The same command goes on with a
    search that was stopped.
    """
    require_positive("trials", trials)
    from bpsta_cli.tuning.space import check_values, chosen_space

    if method is not None and method.endswith(".py"):
        rules.find(method)  # named on this command line: run here, and for no other settings
    chosen = {
        "run": {"dataset": dataset, "T": T, "method": method, "seed": seed},
        "data": {"network": network, "epochs": epochs, "train_samples": train_samples, "source": source},
    }
    given = {
        group: {name: each for name, each in values.items() if each is not None} for group, values in chosen.items()
    }
    settings = chosen_settings(params, run, {**given, "neuron": {}, "rule": {}, "training": {}}, [])
    if settings.method == rules.TWIN:
        raise SettingsError(
            "no spikes to search for",
            expected="a learning rule",
            got=f"--method {rules.TWIN}, the ReLU twin",
            todo="Choose another method.",
        )
    from bpsta_cli import training
    from bpsta_cli.config import load_params
    from bpsta_cli.tuning.study import require_optuna

    training.check(settings)
    searched = chosen_space(space, load_params(params) if params else None, settings.method)
    check_values(searched, settings)
    if seed is not None:
        searched = searched.model_copy(update={"seed": seed})
    require_optuna()
    folder = out or Path("runs") / f"tune-{settings.dataset}-{settings.label}-T{settings.T}"
    _search(settings, searched, trials or searched.trials, folder, Output(as_json=as_json), device, threads, data_dir)


def _search(
    settings: "RunSettings",
    space: "Space",
    trials: int,
    out: Path,
    output: Output,
    device: str,
    threads: int | None,
    data_dir: Path,
) -> None:
    from bpsta_cli.data.run_data import prepared_store
    from bpsta_cli.devices import resolve_device
    from bpsta_cli.tuning import front
    from bpsta_cli.tuning.study import Study

    use_threads(threads)
    place = resolve_device(device)
    with Bar("samples") as bar:
        store = prepared_store(settings.dataset, settings.data, T=settings.T, data_dir=data_dir, progress=bar.update)
    warn_unchecked(store, output)
    study = Study(settings, space, out)
    output.say(
        f"{settings.dataset}, {settings.label}, T = {settings.T}: {trials} trials on held-out training samples -> {out}"
    )
    with Interruption() as interruption:
        code = _follow(study, store, trials, str(place), settings.data.epochs, output, interruption)
    found = study.trials()
    written = front.write(found, out)
    unbeaten = front.front(found)
    if unbeaten:
        table = front.display(unbeaten)
        output.table("Trials that no other one beats", list(table.columns), table.to_numpy().tolist())
    elif found and not code:
        output.warn(f"no trial could be trained; {out / front.ALL} has the reasons")
    output.say("Written: " + ", ".join(map(str, written)))
    if code:
        raise StoppedCommand(code)
    output.result(
        {
            "search": str(out),
            "trials": front.as_json(found),
            "front": [trial.number for trial in unbeaten],
            "files": [str(path) for path in written],
        }
    )


def _follow(
    study: "Study",
    store: "Store",
    trials: int,
    device: str,
    epochs: int,
    output: Output,
    interruption: Interruption,
) -> int:
    """Say what happens in a search; the exit code of one that was stopped by a signal, else 0."""
    from bpsta_cli.training import Stopped
    from bpsta_cli.training.epoch import StepDone
    from bpsta_cli.tuning.study import Trial

    with Bar("steps") as bar:
        for event in study.run(store, trials=trials, device=device, stop=interruption.asked):
            if isinstance(event, Trial):
                if event.state != "running":
                    output.say(_told(event, trials))
                    if interruption.asked():
                        output.warn("stopped; the same command goes on")
                        return interruption.exit_code
            elif isinstance(event.event, Stopped):
                output.warn(f"stopped in {event.trial.run.name}, which is kept; the same command goes on there")
                return interruption.exit_code
            elif isinstance(event.event, StepDone):
                step = event.event
                label = f"{event.trial.run.name} of {trials}, epoch {step.epoch + 1}/{epochs}"
                bar.update(step.epoch * step.steps + step.step, epochs * step.steps, label)
    return 0


def _told(trial: "Trial", trials: int) -> str:
    from bpsta_cli.tuning.front import said

    which = f"{trial.run.name} ({trial.number + 1}/{trials})"
    if trial.state == "failed":
        return f"{which} failed: {trial.problem}"
    tried = ", ".join(f"{name} {said(value)}" for name, value in trial.settings.items())
    return f"{which} validation {percent(trial.accuracy)}, firing rate {trial.firing_rate:.4f}: {tried}"
