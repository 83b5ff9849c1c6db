"""`bpsta latency`: accuracy over time steps, early exit and time per decision of trained runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpsta_cli.cli import latency_tables
from bpsta_cli.cli.options import NO_FOLDER, Convolution, DataDir, Device, Json, Out, Runs, Samples, Threads, TrustRule
from bpsta_cli.cli.output import Output
from bpsta_cli.cli.runs import measure, require_positive, use_threads
from bpsta_cli.errors import SettingsError

if TYPE_CHECKING:
    from bpsta_cli.config import RunSettings
    from bpsta_cli.measurement import Opened
    from bpsta_cli.reporting.collect import RunResults


def latency(
    runs: Runs,
    T: Annotated[
        str | None,
        typer.Option(
            "--T",
            metavar="T,T,...",
            help="Run the same weights for so many time steps too; recordings are cut anew. (default: the run's own T)",
            show_default=False,
        ),
    ] = None,
    exit_confidence: Annotated[
        float | None,
        typer.Option(
            help="Decide a sample, and stop, once its two highest mean votes are so far apart, from 0 to 1. "
            "(default: no early exit)",
            show_default=False,
        ),
    ] = None,
    clock: Annotated[
        bool,
        typer.Option("--clock/--no-clock", help="Also time decisions on this machine, beside the ReLU twin."),
    ] = True,
    batch: Annotated[int, typer.Option(help="Samples a batch where throughput is timed.")] = 256,
    repeats: Annotated[int, typer.Option(help="Single decisions that are timed.")] = 200,
    convolution: Convolution = "auto",
    figure: Annotated[
        Path | None,
        typer.Option(help="Draw the figures (PNG, SVG) into this folder. (default: none)", show_default=False),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write the tables (CSV) into this folder. (default: none)", show_default=False),
    ] = None,
    samples: Samples = None,
    threads: Threads = None,
    trust_rule: TrustRule = None,
    device: Device = "auto",
    data_dir: DataDir = NO_FOLDER,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure how many steps a decision needs: accuracy after every step, early exit, and time on the clock.

    Accuracy of the votes so far after each time step of one forward pass, and what ending a sample's pass early
    costs and saves. Several runs are gathered by method and T, over seeds.
    """
    from bpsta_cli.network.layers import check_convolution
    from bpsta_cli.reporting import time_steps as reporting

    output = Output(as_json=as_json)
    check_convolution(convolution)
    for name, value in (("samples", samples), ("batch", batch), ("repeats", repeats), ("threads", threads)):
        require_positive(name, value)
    others = _numbers(T)
    named = _named(runs, exit_confidence, threads)
    histories = [reporting.history(run) for run in runs] if figure else None

    def work(run: "Opened") -> dict[str, Any]:
        from bpsta_cli.measurement import over_time

        found = over_time(run, data_dir=data_dir, samples=samples, others=others)
        if exit_confidence is not None:
            from bpsta_cli.evaluation.stepwise import evaluate_with_exit

            found["exit"] = evaluate_with_exit(
                run.network,
                run.store,
                T=run.info.settings.T,
                confidence=exit_confidence,
                device=run.device,
                samples=samples,
                on_batch=run.on_batch,
            )
        if clock:
            from bpsta_cli.evaluation import timing

            found["energy"] = _energy(run, samples)
            with run.network.convolution_as(convolution):  # for the times alone: all else is measured as by default
                found["clock"] = timing.measure_latency(
                    run.network,
                    run.store,
                    T=run.info.settings.T,
                    device=run.device,
                    confidence=exit_confidence,
                    batch=batch,
                    repeats=repeats,
                    on_turn=run.on_batch,
                )
        return found

    def together(results: list[dict[str, Any]]) -> dict[str, Any]:
        return {"time_steps": reporting.accuracy_by_time_steps(reporting.run_results(named, results)).records()}

    results = measure(
        runs,
        work,
        device=device,
        data_dir=data_dir,
        samples=samples,
        trust_rule=trust_rule,
        output=output,
        out=out,
        together=together,
    )
    measured = reporting.run_results(named, results, histories)
    latency_tables.show(output, results, measured)
    if figure or csv:
        _write(measured, figure, csv, output)


def _numbers(text: str | None) -> list[int]:
    """The numbers of "2,4,16"."""
    try:
        found = [] if text is None else [int(word) for word in text.split(",")]
    except ValueError:
        found = [0]
    if any(not 1 <= T <= 10_000 for T in found):
        raise SettingsError(
            "unusable numbers of time steps",
            expected="--T with whole numbers from 1 to 10000 and commas between them, such as 2,4,16",
            got=repr(text),
            todo="Correct it.",
        )
    return found


def _named(runs: list[Path], exit_confidence: float | None, threads: int | None) -> "list[tuple[str, RunSettings]]":
    """Name and settings of each run; whatever cannot be measured together is refused before anything is."""
    from bpsta_cli.evaluation.accuracy_over_time import twin_error
    from bpsta_cli.evaluation.early_exit import check_confidence
    from bpsta_cli.reporting import time_steps
    from bpsta_cli.rules import TWIN
    from bpsta_cli.training.run_directory import RunDir

    if exit_confidence is not None:
        check_confidence(exit_confidence)
    use_threads(threads)
    named = [(str(run), RunDir(run).info().settings) for run in runs]
    for name, settings in named:
        if settings.method == TWIN:
            raise twin_error(name)
    time_steps.labels(named)
    return named


def _energy(run: "Opened", samples: int | None) -> dict[str, Any]:
    """Energy of one decision after all T steps, and the ReLU twin's: the counted account of `bpsta energy`."""
    from bpsta_cli.energy import account

    counted = account(
        run.network, run.store, T=run.info.settings.T, device=run.device, samples=samples, on_batch=run.on_batch
    )["counted"]
    return {"e_snn_pj": counted["e_snn_pj"], "e_ann_pj": counted["e_ann_pj"], "ratio": counted["ratio"]}


def _write(runs: "list[RunResults]", figure: Path | None, csv: Path | None, output: Output) -> None:
    from bpsta_cli.reporting import anytime

    written = anytime.write_tables(runs, csv) if csv else []
    written += anytime.write_figures(runs, figure) if figure else []
    output.say("\n".join(map(str, written)))
