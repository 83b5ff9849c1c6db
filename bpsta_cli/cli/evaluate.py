"""`bpsta eval`: accuracy, confusion and firing rates of trained runs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpsta_cli.cli.options import NO_FOLDER, Convolution, DataDir, Device, Json, Out, Runs, Samples, TrustRule
from bpsta_cli.cli.output import Output, percent, sparse_line
from bpsta_cli.cli.runs import measure
from bpsta_cli.errors import SettingsError

if TYPE_CHECKING:
    from bpsta_cli.measurement import Opened


def evaluate(
    runs: Runs,
    samples: Samples = None,
    convolution: Convolution = "auto",
    bits: Annotated[
        str | None,
        typer.Option(
            help="Also the accuracy of a run of ann, the ReLU twin, with activations of so many bits and weights of 8: "
            "a number, or auto for ceil(log2(T + 1)). (default: not quantised)",
            show_default=False,
        ),
    ] = None,
    fine_tune: Annotated[
        int,
        typer.Option(min=0, metavar="EPOCHS", help="Epochs for which the quantised twin is trained on; 0: none."),
    ] = 2,
    trust_rule: TrustRule = None,
    device: Device = "auto",
    data_dir: DataDir = NO_FOLDER,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure accuracy, loss, confusion and firing rates of trained runs on the test set.

    With --bits also of the quantised ReLU twin, whose steps are chosen on training samples and which is then
    fine-tuned; docs/energy.md says how, and what it is compared with.
    """
    from bpsta_cli.network.layers import check_convolution

    output = Output(as_json=as_json)
    check_convolution(convolution)
    wanted = None if bits is None else _number_of_bits(bits)

    def work(run: "Opened") -> dict[str, Any]:
        from bpsta_cli.evaluation.accuracy import sparse_shares
        from bpsta_cli.measurement import evaluation, quantised

        with run.network.convolution_as(convolution), sparse_shares(run.network) as shares:
            few = {} if bits is None else {"quantised": quantised(run, bits=wanted, epochs=fine_tune, samples=samples)}
            found = evaluation(run, samples=samples) | few
        extra = {} if convolution == "auto" else {"convolution": convolution, "sparse_shares": shares}
        return found | extra

    results = measure(
        runs, work, device=device, data_dir=data_dir, samples=samples, trust_rule=trust_rule, output=output, out=out
    )
    output.table(
        "Test set" if samples is None else f"First {samples} test samples",
        ["run", "accuracy", "loss", "samples", "firing rate"],
        [
            [
                row["run"],
                percent(row["accuracy"]),
                f"{row['loss']:.4f}",
                str(row["samples"]),
                _rate(row["firing_rate"]),
            ]
            for row in results
        ],
    )
    if bits is not None:
        _quantised(results, output)
    if len(results) == 1 and results[0]["firing_rates"]:
        rates = results[0]["firing_rates"]
        output.table("Firing rate by layer", ["layer", "rate"], [[name, _rate(rate)] for name, rate in rates.items()])
    if len(results) == 1 and "sparse_shares" in results[0]:
        output.say(sparse_line(results[0]["sparse_shares"]))


def _number_of_bits(text: str) -> int | None:
    """The number in --bits; None for "auto".

    Raises:
        SettingsError: it is neither.
    """
    if text == "auto":
        return None
    if not text.isdecimal() or len(text) > 2:
        raise SettingsError(
            "unusable option",
            expected="--bits of auto or a number of bits",
            got=repr(text),
            todo="auto takes ceil(log2(T + 1)), as the quantised account does.",
        )
    return int(text)


def _quantised(results: list[dict[str, Any]], output: Output) -> None:
    """The accuracies of the quantised twins beside their own."""
    rows = []
    for row in results:
        found, tuned = row["quantised"], row["quantised"]["fine_tuned"]
        rows.append(
            [
                row["run"],
                str(found["bits"]),
                percent(row["accuracy"]),
                percent(found["accuracy"]),
                "-" if tuned is None else percent(tuned["accuracy"]),
            ]
        )
    seen = {row["quantised"]["calibration_samples"] for row in results}
    output.table(
        f"Quantised twin: weights of 8 bits, calibrated on {', '.join(f'{each:,}' for each in sorted(seen))} "
        "training samples",
        ["run", "bits", "not quantised", "calibrated", "fine-tuned"],
        rows,
    )


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.4f}"
