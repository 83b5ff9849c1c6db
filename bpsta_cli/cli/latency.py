"""`bpsta latency`: accuracy over time steps and time per decision of trained runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bpsta_cli.cli.options import DataDir, Device, Json, Out, Runs, Samples
from bpsta_cli.cli.output import Output, percent
from bpsta_cli.cli.runs import Opened, measure


def latency(
    runs: Runs,
    samples: Samples = None,
    clock: Annotated[
        bool,
        typer.Option("--clock/--no-clock", help="Also time single decisions (batch 1), in milliseconds."),
    ] = True,
    device: Device = "auto",
    data_dir: DataDir = Path("data"),
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Accuracy of the votes so far after each time step of one forward pass, and the time of a decision."""
    output = Output(as_json=as_json)

    def work(run: Opened) -> dict[str, Any]:
        from bpsta_cli.latency import accuracy_over_time, time_per_sample

        T = run.info.settings.T
        found = accuracy_over_time(
            run.network, run.store, T=T, device=run.device, samples=samples, on_batch=run.on_batch
        )
        if clock:
            found["clock"] = time_per_sample(run.network, run.store, T=T, device=run.device, on_decision=run.on_batch)
        return found

    results = measure(runs, work, device=device, data_dir=data_dir, samples=samples, output=output, out=out)
    steps = sorted({int(t) for row in results for t in row["accuracy_at"]})
    output.table(
        "Accuracy of the votes after t steps",
        ["t", *(row["run"] for row in results)],
        [[str(t), *(percent(row["accuracy_at"].get(str(t))) for row in results)] for t in steps],
    )
    if clock:
        output.table(
            "Time of one decision (batch 1) on this machine",
            ["run", "p50", "p95", "device", "threads"],
            [
                [
                    row["run"],
                    f"{row['clock']['p50_ms']:.2f} ms",
                    f"{row['clock']['p95_ms']:.2f} ms",
                    row["clock"]["device"],
                    str(row["clock"]["threads"]),
                ]
                for row in results
            ],
        )
