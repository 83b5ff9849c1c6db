"""`bpsta energy`: the paper's estimate and the counted account of trained runs."""

from pathlib import Path
from typing import Any

from bpsta_cli.cli.options import DataDir, Device, Json, Out, Runs, Samples
from bpsta_cli.cli.output import Output, percent
from bpsta_cli.cli.runs import Opened, measure


def energy(
    runs: Runs,
    samples: Samples = None,
    device: Device = "auto",
    data_dir: DataDir = Path("data"),
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Energy of trained runs per sample: the paper's estimate (Eq. 1) and a count of what really happens.

    45 nm figures (Horowitz 2014): 4.6 pJ a 32-bit floating multiply-accumulate, 0.9 pJ a floating addition,
    0.1 pJ an integer addition. Memory is not counted by either account. By layer: operations of a dense pass, share
    of inputs that are not zero, firing rate, and the operations that happened, per sample.
    """
    output = Output(as_json=as_json)

    def work(run: Opened) -> dict[str, Any]:
        from bpsta_cli.energy import account

        return account(
            run.network,
            run.store,
            T=run.info.settings.T,
            device=run.device,
            samples=samples,
            on_batch=run.on_batch,
        )

    results = measure(runs, work, device=device, data_dir=data_dir, samples=samples, output=output, out=out)
    output.table(
        "Energy per sample in nJ, and the ReLU twin's over it (ratio)",
        ["run", "accuracy", "rate", "paper", "ratio", "counted", "ratio", "twin"],
        [
            [
                row["run"],
                percent(row["accuracy"]),
                _number(row["firing_rate"], ".4f"),
                _nanojoule(row["paper"]["e_snn_pj"]),
                _number(row["paper"]["ratio"], ".1f"),
                _nanojoule(row["counted"]["e_snn_pj"]),
                _number(row["counted"]["ratio"], ".2f"),
                _nanojoule(row["counted"]["e_ann_pj"]),
            ]
            for row in results
        ],
    )
    if len(results) == 1:
        output.table(
            f"Counted by layer, mean of {results[0]['samples']} samples",
            ["layer", "shape", "dense ops", "input", "rate", "MACs", "ACs", "nJ", "share"],
            [_layer(layer) for layer in results[0]["layers"]],
        )


def _layer(layer: dict[str, Any]) -> list[str]:
    return [
        layer["layer"],
        "x".join(map(str, layer["shape"])),
        f"{layer['dense_ops']:,}",
        f"{layer['input_density']:.3f}",
        _number(layer["firing_rate"], ".3f"),
        f"{layer['macs']:,.0f}",
        f"{layer['acs']:,.0f}",
        _nanojoule(layer["e_pj"]),
        f"{100 * layer['share']:.1f} %",
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _nanojoule(picojoule: float | None) -> str:
    return "-" if picojoule is None else f"{picojoule / 1000:,.1f}"
