"""The tables that `bpsta latency` prints."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bpsta_cli.cli.output import Output, percent, sparse_line

if TYPE_CHECKING:
    from bpsta_cli.reporting.collect import RunResults

SUBJECTS = {"spiking": "all steps", "early_exit": "early exit", "twin": "ReLU twin"}
MANY_STEPS = 8
"""From so many steps on, a table shows 1, 2, 4, 8, ... and the last."""

Result = dict[str, Any]


def show(output: Output, results: list[Result], runs: "list[RunResults]") -> None:
    """Every table that the results fill; several runs are gathered by method and T, over seeds."""
    if len(results) > 1:
        _gathered(output, runs)
    else:
        _over_time(output, results[0])
        _chosen(output, results[0])
    if any("other_time_steps" in row for row in results):
        _other_time_steps(output, results)
    if any("exit" in row for row in results):
        _exit(output, results)
    if any("clock" in row for row in results):
        _times(output, results)


def _gathered(output: Output, runs: "list[RunResults]") -> None:
    from bpsta_cli.reporting import tables, time_steps

    over_time = tables.latency(runs)
    few = _few(max(run.train["T"] for run in runs), {run.train["T"] for run in runs})
    names = [str(name) for name in over_time.display.columns]
    columns = [name for name in names if not name.startswith("t = ") or int(name[4:]) in few]
    over_time = replace(over_time, display=over_time.display[columns])
    for table in (time_steps.accuracy_by_time_steps(runs), over_time, time_steps.early_exit(runs)):
        output.table(table.title, list(table.display.columns), table.display.astype(str).to_numpy().tolist())
        output.say(table.note + "\n")


def _over_time(output: Output, result: Result) -> None:
    output.table(
        f"Accuracy of the votes after t steps, {result['run']}",
        ["t", "accuracy"],
        [[str(t), percent(result["accuracy_at"][str(t)])] for t in _few(result["T"], {result["T"]})],
    )


def _few(last: int, ends: set[int]) -> list[int]:
    if last <= MANY_STEPS:
        return list(range(1, last + 1))
    return sorted({2**power for power in range(last.bit_length()) if 2**power <= last} | ends)


def _other_time_steps(output: Output, results: list[Result]) -> None:
    wanted = sorted({row["T"] for result in results for row in result["other_time_steps"]})
    at = [{row["T"]: row["accuracy"] for row in result["other_time_steps"]} for result in results]
    output.table(
        "The same weights run for other numbers of steps",
        ["run", "trained with", *(f"T = {T}" for T in wanted)],
        [
            [result["run"], str(result["T"]), *(percent(row.get(T)) for T in wanted)]
            for result, row in zip(results, at, strict=True)
        ],
    )


def _chosen(output: Output, result: Result) -> None:
    chosen = result["early_exit"]["chosen"]
    if not chosen:
        return
    output.table(
        "Early exit: fewest steps that lose no more",
        ["allowed loss", "confidence", "mean steps", "of", "loss", "samples"],
        [
            [
                f"{100 * row['tolerance']:.1f} pp",
                "never" if row["confidence"] is None else f"{row['confidence']:.2f}",
                f"{row['mean_steps']:.2f}",
                str(result["T"]),
                f"{100 * row['loss']:.2f} pp",
                str(row["samples"]),
            ]
            for row in chosen
        ],
    )
    where = result["early_exit"]["chosen_on"]
    output.say(f"Confidence chosen on {where}; steps and loss are those of other test samples.\n")


def _exit(output: Output, results: list[Result]) -> None:
    output.table(
        f"Early exit at confidence {results[0]['exit']['confidence']:g}, one step at a time",
        ["run", "accuracy", "mean steps", "of", "accuracy of all steps"],
        [
            [
                row["run"],
                percent(row["exit"]["accuracy"]),
                f"{row['exit']['mean_steps']:.2f}",
                str(row["T"]),
                percent(row["accuracy_at"][str(row["T"])]),
            ]
            for row in results
        ],
    )


def _times(output: Output, results: list[Result]) -> None:
    timed = results[0]["clock"]
    rows = []
    for row in results:
        one, many = row["clock"]["decision"], row["clock"]["throughput"]
        for subject, words in SUBJECTS.items():
            if subject in one:
                rows.append(
                    [
                        row["run"],
                        words,
                        *(f"{one[subject][name]:.2f} ms" for name in ("p50_ms", "p95_ms", "p99_ms")),
                        _over(one, subject),
                        f"{many[subject]['samples_per_second']:,.0f} /s",
                        _over(many, subject),
                    ]
                )
    words = f"{timed['device']}, {timed['threads']} thread{'s' if timed['threads'] > 1 else ''}"
    output.table(
        f"Time of one decision (batch 1) and throughput (batch {timed['throughput']['batch']}) on {words}",
        ["run", "what", "p50", "p95", "p99", "all / this", "throughput", "all / this"],
        rows,
    )
    if len(results) == 1 and timed["convolution"] != "dense":
        output.say(sparse_line(timed["sparse_shares"]) + "\n")
    output.table(
        "Energy of one decision (counted by bpsta energy, all steps)",
        ["run", "spiking", "ReLU twin", "twin / spiking"],
        [
            [
                row["run"],
                f"{row['energy']['e_snn_pj'] / 1000:,.1f} nJ",
                f"{row['energy']['e_ann_pj'] / 1000:,.1f} nJ",
                "-" if row["energy"]["ratio"] is None else f"{row['energy']['ratio']:.2f}",
            ]
            for row in results
        ],
    )


def _over(timed: Result, subject: str) -> str:
    """Spiking time over this subject's."""
    ratio = timed["spiking_over"].get(subject)
    return "-" if ratio is None else f"{ratio:.2f} x"
