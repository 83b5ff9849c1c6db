"""`bpsta train`: one run, from settings to a run directory."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bpsta_cli import rules, tracking
from bpsta_cli.cli.interruption import Interruption, StoppedCommand
from bpsta_cli.cli.options import NO_FOLDER, DataDir, Device, Json, ParamsFile, RunName, Threads
from bpsta_cli.cli.output import Output, percent
from bpsta_cli.cli.progress import Bar
from bpsta_cli.cli.runs import refuse_other_data, require_finite, use_threads, warn_unchecked
from bpsta_cli.cli.schema import Given, rule_section, section, with_settings
from bpsta_cli.cli.train_settings import chosen_settings, settings_of_run
from bpsta_cli.config import DatasetSettings, NeuronSettings, RunSettings, TrainingSettings
from bpsta_cli.distributed import launcher
from bpsta_cli.errors import SettingsError

if TYPE_CHECKING:
    from bpsta_cli.data.store import Store
    from bpsta_cli.training import Begun, EpochDone
    from bpsta_cli.training.loop import Event

COMMON = ("dataset", "T", "method", "network", "epochs", "batch_size", "lr", "seed", "device", "out")
"""The options that the help shows first."""
DATA, NETWORK, RULE, TRAINING = "Data options", "Network options", "Learning rule options", "Training options"
PANELS = {
    DATA: ("source", "data_dir", "train_samples", "augmentation"),
    NETWORK: ("norm", "dropout", "init_from", "initial_rate"),
    "Neuron options": ("threshold", "decay"),
    RULE: ("rule_option",),
    TRAINING: ("loss", "schedule", "weight_decay", "warmup", "warmup_epochs"),
    "Switches": ("detach_reset", "norm_weight_decay", "idle_momentum", "recompute"),
    "Run options": (
        *("resume", "overwrite", "params", "run", "like", "log", "threads", "checkpoint_minutes"),
        *("reduce", "keep_state", "as_json"),
    ),
}
"""Where an option stands in the help, if not under the title of its settings."""


@with_settings(
    section("run", "Run options", RunSettings).without("variant"),
    section("data", DATA, DatasetSettings),
    section("neuron", "Neuron options", NeuronSettings),
    rule_section(RULE),
    section("training", TRAINING, TrainingSettings),
    first=COMMON,
    panels=PANELS,
)
def train(
    given: Given,
    params: ParamsFile = None,
    run: RunName = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Take all settings from the run in this directory, such as a trial of bpsta tune; options override "
            "them. (default: no run)",
            show_default=False,
        ),
    ] = None,
    rule_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A setting of the learning rule, such as leak=0.2; give it again for another one. bpsta rules METHOD "
            "lists them. (default: the rule's own)",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run directory. (default: runs/DATASET-METHOD-T8-s0, numbered where taken)",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run in --out by its own settings, without --dataset; with a larger --epochs for more "
            "of them, where its schedule is sgdr. With --overwrite: go on where that is possible, else begin anew.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run in --out.")] = False,
    reduce: Annotated[
        Literal["shares", "sums"],
        typer.Option(
            help="Under torchrun: how processes add up their sums over a batch. shares: the bytes of one process, on "
            "CPUs with at most 12 processes; sums: as they come, with less to send.",
        ),
    ] = "shares",
    checkpoint_minutes: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="MINUTES",
            help="Minutes from one checkpoint within an epoch to the next; one is written after each.",
        ),
    ] = 10,
    keep_state: Annotated[
        bool,
        typer.Option(
            "--keep-state",
            help="Keep the training state of the finished run, so that --resume can train it for more epochs.",
        ),
    ] = False,
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Where curves go while it trains: csv, dvclive or tensorboard (into RUN/logs/NAME), wandb or mlflow; "
            "or a file with a logger of your own. Give it again for another one. (default: csv alone, RUN/history.csv, "
            "which is always written)",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    data_dir: DataDir = NO_FOLDER,
    as_json: Json = False,
) -> None:
    """Train a spiking network (or its ReLU twin) into a run directory. Unprepared data are prepared first.

    A run that was stopped goes on when the same command is started again. `torchrun --nproc-per-node 4 -m -- bpsta_cli
    train` with the same options trains it over four processes.
    """
    require_finite("checkpoint-minutes", checkpoint_minutes)
    if resume and out is None:
        raise SettingsError(
            "nothing to resume", expected="--out RUN beside --resume", got="no --out", todo="Name the run."
        )
    if given["run"].get("method", "").endswith(".py"):
        rules.find(given["run"]["method"])  # named on this command line: run here, and for no other settings
    source = params or run or given["run"].get("dataset")
    if like is not None and source is not None:
        raise SettingsError(
            "two sources of settings",
            expected="--like RUN alone, as it names the data set too",
            got=f"{source} beside --like {like}",
            todo="Leave one of them out.",
        )
    template = like or (out if resume and source is None else None)
    if template is not None:
        settings = settings_of_run(template, given, rule_option or [])
    else:
        other = ", --like RUN, or --resume --out RUN for a run that is there"
        settings = chosen_settings(params, run, given, rule_option or [], or_else=other)
    if launcher.launched() and out is None:
        raise SettingsError(
            "no run directory for all processes",
            expected="--out RUN under torchrun, as processes that are started again must find the run",
            got="no --out",
            todo="Name the run.",
        )
    loggers = [tracking.make(name) for name in dict.fromkeys(log or [])] if launcher.is_writer() else []
    _run(
        settings,
        out or _free_directory(settings),
        Output(as_json=as_json, silent=not launcher.is_writer()),
        resume or (overwrite and launcher.restarted()),  # without --overwrite an unfinished run goes on anyway
        overwrite,
        checkpoint_minutes,
        keep_state,
        loggers,
        reduce,
        device,
        threads,
        data_dir,
    )


def _free_directory(settings: RunSettings) -> Path:
    name = f"{settings.dataset}-{settings.label}-T{settings.T}-s{settings.seed}"
    path, count = Path("runs") / name, 1
    while path.exists():
        count += 1
        path = Path("runs") / f"{name}-{count}"
    return path


def _run(
    settings: RunSettings,
    out: Path,
    output: Output,
    resume: bool,
    overwrite: bool,
    checkpoint_minutes: float,
    keep_state: bool,
    loggers: list[tracking.Logger],
    reduce: str,
    device: str,
    threads: int | None,
    data_dir: Path,
) -> None:
    from bpsta_cli import training
    from bpsta_cli.data import catalogue
    from bpsta_cli.data.run_data import prepared_store
    from bpsta_cli.devices import resolve_device
    from bpsta_cli.distributed import meeting
    from bpsta_cli.kernels.dispatch import choose
    from bpsta_cli.training.run_directory import RunDir

    use_threads(threads)
    place = meeting.own_device(resolve_device(device))
    training.check(settings)
    if not overwrite:
        refuse_other_data(out, settings)
    with Bar("samples") as bar:

        def prepared() -> "Store":
            choose(device=place)  # compiles the kernels where they are not there yet
            return prepared_store(settings.dataset, settings.data, T=settings.T, data_dir=data_dir, progress=bar.update)

        store = meeting.in_turn(prepared)
    warn_unchecked(store, output)
    compiled = choose(device=place).name == "cpu" and settings.training.precision == "float32"
    with Interruption() as interruption, meeting.met(place, reduce, compiled=compiled) as ranks:
        events = training.train(
            settings,
            store,
            out,
            device=place,
            resume=resume,
            overwrite=overwrite,
            checkpoint_minutes=checkpoint_minutes,
            stop=interruption.asked,
            keep_state=keep_state,
            ranks=ranks,
        )
        events = tracking.followed(events, loggers, out)
        _follow(events, settings, str(place), out, output, interruption)
    if output.silent:
        return  # another process of the run tells the result
    metrics = RunDir(out).metrics()
    output.say(
        f"{out}: test accuracy {percent(metrics['accuracy'])} "
        f"({metrics['selection']} selection, epoch {metrics['selected_epoch'] + 1} of {metrics['epochs']})"
    )
    if message := catalogue.get(settings.dataset).disclosure:
        output.say(message)
    shown = {key: value for key, value in metrics.items() if key != "files"}
    output.result({"run": str(out)} | shown)


def _follow(
    events: "Iterator[Event]",
    settings: RunSettings,
    device: str,
    out: Path,
    output: Output,
    interruption: Interruption,
) -> None:
    """Say what happens in a training.

    Raises:
        StoppedCommand: it was stopped by a signal.
    """
    from bpsta_cli.distributed import meeting
    from bpsta_cli.training import Begun, EpochDone, Stopped

    begun, epochs = False, settings.data.epochs
    with Bar("steps", silent=output.silent) as bar:
        for event in events:
            if isinstance(event, Begun):
                begun = True
                meeting.after_the_writer("loggers")  # of the first process, which may take long to start
                _say_begin(event, settings, device, out, output)
            elif isinstance(event, EpochDone):
                _say_epoch(event, settings, output)
            elif isinstance(event, Stopped):
                output.warn(
                    f"stopped and kept after {_position(event.epoch, event.step)}; "
                    f"bpsta train --resume --out {out} goes on from there"
                )
                raise StoppedCommand(interruption.exit_code)
            else:
                label = f"epoch {event.epoch + 1}/{epochs}"
                bar.update(event.epoch * event.steps + event.step, epochs * event.steps, label)
    if not begun:
        output.say(f"{out} is finished, by the same settings, data and code: nothing was trained")


def _position(epoch: int, step: int) -> str:
    return f"epoch {epoch}" + (f" and {step} steps of the next" if step else "")


def _say_begin(event: "Begun", settings: RunSettings, device: str, out: Path, output: Output) -> None:
    output.say(
        f"{settings.dataset}, {settings.label}, T = {settings.T}, {settings.data.network}, "
        f"{settings.data.epochs} epochs of {event.samples} samples on {device} -> {out}"
    )
    for warning in event.warnings:
        output.warn(warning)
    if event.epoch or event.step:
        output.say(f"the run there goes on after {_position(event.epoch, event.step)}")
    if event.kernel and event.kernel.name == "reference":
        output.say(f"neurons run on the slower reference kernel: {event.kernel.why}")


def _say_epoch(event: "EpochDone", settings: RunSettings, output: Output) -> None:
    record = event.record
    test = f", test {percent(record['accuracy'])}" if "accuracy" in record else ""
    rate = "" if record.get("firing_rate") is None else f", firing rate {record['firing_rate']:.4f}"
    output.say(
        f"epoch {record['epoch'] + 1:>3}/{settings.data.epochs} {record['phase']:<7} "
        f"loss {record['train_loss']:.4f}, train {percent(record['train_accuracy'])}{test}{rate}"
    )
    for warning in event.warnings:
        output.warn(warning)
