"""`bpsta train`: one run, from settings to a run directory."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpsta_cli.cli.options import (
    DataDir,
    DatasetName,
    Device,
    Json,
    Method,
    ParamsFile,
    RunName,
    Source,
    Threads,
    setting,
    settle,
)
from bpsta_cli.cli.output import Output, percent
from bpsta_cli.cli.presets import preset
from bpsta_cli.cli.progress import Bar
from bpsta_cli.cli.runs import at_least_one
from bpsta_cli.config import (
    DatasetSettings,
    MethodSettings,
    NeuronSettings,
    Params,
    Run,
    RunSettings,
    TrainingSettings,
    load_params,
    validate,
)
from bpsta_cli.errors import SettingsError

if TYPE_CHECKING:
    from bpsta_cli.training import Begun, EpochDone

RECIPE = "the data set's recipe"


def train(
    dataset: DatasetName = None,
    T: Annotated[int | None, setting(RunSettings, "T", "--T")] = None,
    method: Method = None,
    network: Annotated[str | None, setting(DatasetSettings, "network", default=RECIPE)] = None,
    epochs: Annotated[int | None, setting(DatasetSettings, "epochs", default=RECIPE)] = None,
    warmup_epochs: Annotated[int | None, setting(DatasetSettings, "warmup_epochs", default=RECIPE)] = None,
    batch_size: Annotated[int | None, setting(DatasetSettings, "batch_size", default=RECIPE)] = None,
    train_samples: Annotated[int | None, setting(DatasetSettings, "train_samples")] = None,
    seed: Annotated[int | None, setting(RunSettings, "seed")] = None,
    lr: Annotated[float | None, setting(TrainingSettings, "lr")] = None,
    lr_scaling: Annotated[str | None, setting(TrainingSettings, "lr_scaling")] = None,
    weight_decay: Annotated[float | None, setting(TrainingSettings, "weight_decay")] = None,
    lr_warmup_epochs: Annotated[int | None, setting(TrainingSettings, "lr_warmup_epochs")] = None,
    schedule: Annotated[str | None, setting(TrainingSettings, "schedule")] = None,
    sgdr_period: Annotated[int | None, setting(TrainingSettings, "sgdr_period")] = None,
    loss: Annotated[str | None, setting(TrainingSettings, "loss")] = None,
    label_smoothing: Annotated[float | None, setting(TrainingSettings, "label_smoothing")] = None,
    clip_norm: Annotated[float | None, setting(TrainingSettings, "clip_norm")] = None,
    norm: Annotated[str | None, setting(TrainingSettings, "norm")] = None,
    dropout: Annotated[float | None, setting(TrainingSettings, "dropout")] = None,
    selection: Annotated[str | None, setting(TrainingSettings, "selection")] = None,
    validation_fraction: Annotated[float | None, setting(TrainingSettings, "validation_fraction")] = None,
    evaluate_every: Annotated[int | None, setting(TrainingSettings, "evaluate_every")] = None,
    accumulate: Annotated[int | None, setting(TrainingSettings, "accumulate")] = None,
    recompute: Annotated[bool | None, setting(TrainingSettings, "recompute", "--recompute/--no-recompute")] = None,
    precision: Annotated[str | None, setting(TrainingSettings, "precision")] = None,
    convolution: Annotated[str | None, setting(TrainingSettings, "convolution")] = None,
    threshold: Annotated[float | None, setting(NeuronSettings, "threshold")] = None,
    decay: Annotated[float | None, setting(NeuronSettings, "decay")] = None,
    alpha: Annotated[float | None, setting(MethodSettings, "alpha")] = None,
    surrogate: Annotated[str | None, setting(MethodSettings, "surrogate")] = None,
    surrogate_width: Annotated[float | None, setting(MethodSettings, "surrogate_width")] = None,
    detach_reset: Annotated[
        bool | None, setting(MethodSettings, "detach_reset", "--detach-reset/--no-detach-reset")
    ] = None,
    init_from: Annotated[str | None, setting(RunSettings, "init_from", default="random weights")] = None,
    source: Source = None,
    split_by: Annotated[str | None, setting(DatasetSettings, "split_by")] = None,
    size: Annotated[int | None, setting(DatasetSettings, "size")] = None,
    resize: Annotated[str | None, setting(DatasetSettings, "resize")] = None,
    test_fraction: Annotated[float | None, setting(DatasetSettings, "test_fraction")] = None,
    augmentation: Annotated[str | None, setting(DatasetSettings, "augmentation", default=RECIPE)] = None,
    split_seed: Annotated[int | None, setting(DatasetSettings, "split_seed")] = None,
    params: ParamsFile = None,
    run: RunName = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run directory. (default: runs/DATASET-METHOD-T8-s0, numbered where taken)",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the unfinished run in --out, if it has the same settings."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run in --out.")] = False,
    device: Device = "auto",
    threads: Threads = None,
    data_dir: DataDir = Path("data"),
    as_json: Json = False,
) -> None:
    """Train a spiking network (or its ReLU twin) into a run directory. Unprepared data are prepared first."""
    study = load_params(params) if params else None
    line = _line(study, run)
    if (dataset is None) == (line is None):
        raise SettingsError(
            "no data set" if line is None else "two data sets",
            expected="--dataset NAME, or --run NAME that says which",
            got="neither" if line is None else "both",
            todo="bpsta prepare --list shows all.",
        )
    given = {"dataset": dataset, "method": method, "T": T, "seed": seed, "init_from": init_from}
    settings = _settings(
        study,
        line,
        run={key: value for key, value in given.items() if value is not None},
        data={
            "network": network,
            "epochs": epochs,
            "warmup_epochs": warmup_epochs,
            "batch_size": batch_size,
            "train_samples": train_samples,
            "source": None if source is None else str(source),
            "split_by": split_by,
            "size": size,
            "resize": resize,
            "test_fraction": test_fraction,
            "augmentation": augmentation,
            "split_seed": split_seed,
        },
        neuron={"threshold": threshold, "decay": decay},
        rule={
            "alpha": alpha,
            "surrogate": surrogate,
            "surrogate_width": surrogate_width,
            "detach_reset": detach_reset,
        },
        training={
            "lr": lr,
            "lr_scaling": lr_scaling,
            "weight_decay": weight_decay,
            "lr_warmup_epochs": lr_warmup_epochs,
            "schedule": schedule,
            "sgdr_period": sgdr_period,
            "loss": loss,
            "label_smoothing": label_smoothing,
            "clip_norm": clip_norm,
            "norm": norm,
            "dropout": dropout,
            "selection": selection,
            "validation_fraction": validation_fraction,
            "evaluate_every": evaluate_every,
            "accumulate": accumulate,
            "recompute": recompute,
            "precision": precision,
            "convolution": convolution,
        },
    )
    if resume and out is None:
        raise SettingsError(
            "nothing to resume", expected="--out RUN beside --resume", got="no --out", todo="Name the run."
        )
    _run(
        settings,
        out or _free_directory(settings),
        Output(as_json=as_json),
        resume,
        overwrite,
        device,
        threads,
        data_dir,
    )


def _line(study: Params | None, name: str | None) -> Run | None:
    """The line of params.yaml that --run names."""
    if name is None:
        return None
    if study is None:
        raise SettingsError(
            "no file that names runs",
            expected="--params params.yaml beside --run",
            got="no --params",
            todo="Name the file.",
        )
    return study.run(name)


def _settings(
    params: Params | None,
    line: Run | None,
    *,
    run: dict[str, Any],
    data: dict[str, Any],
    neuron: dict[str, Any],
    rule: dict[str, Any],
    training: dict[str, Any],
) -> RunSettings:
    """The file's settings (else the recipe's), with the options that were given on top."""
    if line is not None:
        run = line.model_dump(exclude={"recipe"}) | run
    name = line.recipe if line is not None else run["dataset"]
    method = run.get("method", RunSettings.model_fields["method"].default)
    base = params.recipe_of(name) if params else preset(name, epochs=data["epochs"], source=data["source"])
    where = "the options"
    return validate(
        RunSettings,
        run
        | {
            "data": settle(where, DatasetSettings, base.model_dump(), **data),
            "neuron": settle(where, NeuronSettings, params.neuron.model_dump() if params else {}, **neuron),
            "rule": settle(where, MethodSettings, params.rule_of(method).model_dump() if params else {}, **rule),
            "training": settle(where, TrainingSettings, params.training.model_dump() if params else {}, **training),
        },
        where=where,
    )


def _free_directory(settings: RunSettings) -> Path:
    method = Path(settings.method).stem
    name = f"{settings.dataset}-{method}-T{settings.T}-s{settings.seed}"
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
    device: str,
    threads: int | None,
    data_dir: Path,
) -> None:
    import torch

    from bpsta_cli import training
    from bpsta_cli.data import catalogue
    from bpsta_cli.data.run_data import prepared_store
    from bpsta_cli.devices import resolve_device
    from bpsta_cli.training.epoch import StepDone
    from bpsta_cli.training.run_directory import RunDir

    if threads is not None:
        at_least_one("threads", threads)
        torch.set_num_threads(threads)
    place = resolve_device(device)
    training.check(settings)
    with Bar("samples") as bar:
        store = prepared_store(settings.dataset, settings.data, T=settings.T, data_dir=data_dir, progress=bar.update)
    events = training.train(settings, store, out, device=place, resume=resume, overwrite=overwrite)
    with Bar("steps") as bar:
        for event in events:
            if isinstance(event, training.Begun):
                _say_begin(event, settings, str(place), out, output)
            elif isinstance(event, StepDone):
                total = settings.data.epochs * event.steps
                label = f"epoch {event.epoch + 1}/{settings.data.epochs}"
                bar.update(event.epoch * event.steps + event.step, total, label)
            else:
                _say_epoch(event, settings, output)
    metrics = RunDir(out).metrics()
    output.say(
        f"{out}: test accuracy {percent(metrics['accuracy'])} "
        f"({metrics['selection']} selection, epoch {metrics['selected_epoch'] + 1} of {metrics['epochs']})"
    )
    if told := catalogue.get(settings.dataset).disclosure:
        output.say(told)
    output.result({"run": str(out)} | {key: value for key, value in metrics.items() if key != "provenance"})


def _say_begin(event: "Begun", settings: RunSettings, device: str, out: Path, output: Output) -> None:
    output.say(
        f"{settings.dataset}, {settings.method}, T = {settings.T}, {settings.data.network}, "
        f"{settings.data.epochs} epochs of {event.samples} samples on {device} -> {out}"
    )
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
