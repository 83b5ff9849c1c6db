"""`bpsta eval`: accuracy, confusion and firing rates of trained runs."""

from typing import TYPE_CHECKING, Any

from bpsta_cli.cli.options import NO_FOLDER, Convolution, DataDir, Device, Json, Out, Runs, Samples, TrustRule
from bpsta_cli.cli.output import Output, percent, sparse_line
from bpsta_cli.cli.runs import measure

if TYPE_CHECKING:
    from bpsta_cli.measurement import Opened


def evaluate(
    runs: Runs,
    samples: Samples = None,
    convolution: Convolution = "auto",
    trust_rule: TrustRule = None,
    device: Device = "auto",
    data_dir: DataDir = NO_FOLDER,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure accuracy, loss, confusion and firing rates of trained runs on the test set."""
    from bpsta_cli.network.layers import check_convolution

    output = Output(as_json=as_json)
    check_convolution(convolution)

    def work(run: "Opened") -> dict[str, Any]:
        from bpsta_cli.evaluation.accuracy import sparse_shares
        from bpsta_cli.measurement import evaluation

        with run.network.convolution_as(convolution), sparse_shares(run.network) as shares:
            found = evaluation(run, samples=samples)
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
    if len(results) == 1 and results[0]["firing_rates"]:
        rates = results[0]["firing_rates"]
        output.table("Firing rate by layer", ["layer", "rate"], [[name, _rate(rate)] for name, rate in rates.items()])
    if len(results) == 1 and "sparse_shares" in results[0]:
        output.say(sparse_line(results[0]["sparse_shares"]))


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.4f}"
