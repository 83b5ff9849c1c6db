"""`bpsta energy`: what trained runs cost by four accounts, each beside the ReLU twin."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpsta_cli.cli.options import NO_FOLDER, DataDir, Device, Json, Out, Runs, Samples, TrustRule
from bpsta_cli.cli.output import Output
from bpsta_cli.cli.runs import measure
from bpsta_cli.errors import SettingsError

if TYPE_CHECKING:
    from bpsta_cli.measurement import Opened

PICTURES = (".png", ".svg")
RATIOS = ("paper", "counted", "memory", "quantised", "q. memory")


def energy(
    runs: Runs,
    samples: Samples = None,
    tech: Annotated[
        str,
        typer.Option(help="Table of costs: 45nm-fp32, 45nm-int32, or a YAML or JSON file of your own."),
    ] = "45nm-fp32",
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Draw firing rates by layer and by time step into this .png or .svg file. (default: no file)",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            help="Write layers.csv, runs.csv and table5.csv into this folder. (default: no files)", show_default=False
        ),
    ] = None,
    trust_rule: TrustRule = None,
    device: Device = "auto",
    data_dir: DataDir = NO_FOLDER,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Estimate the energy of a sample by four accounts, and how many times as much the ReLU twin needs.

    paper: Eq. 1, operations at 0.1 pJ a spike against 4.6 pJ. counted: the operations that really happen, neuron
    updates among them. memory: the same with addresses, reads and writes (Lemaire et al. 2022). quantised: against
    the twin with ceil(log2(T + 1))-bit activations (Yan et al. 2024). Give a run of method ann among the others, and
    its accuracy stands beside theirs, as does that of the quantised twin (q. twin) where bpsta eval RUN --bits auto
    --out RUN/eval.json has measured it. docs/energy.md says what each counts and leaves out.
    """
    output = Output(as_json=as_json)
    from bpsta_cli.energy import load_tech

    costs = load_tech(tech)
    if figure is not None:
        _check_figure(figure, runs)

    def work(run: "Opened") -> dict[str, Any]:
        from bpsta_cli.measurement import energy

        return energy(run, samples=samples, tech=costs)

    results = measure(
        runs,
        work,
        device=device,
        data_dir=data_dir,
        samples=samples,
        trust_rule=trust_rule,
        output=output,
        out=out,
        together=_together,
    )
    _say_samples(results, output)
    _table_5(results, output)
    if len(results) == 1:
        _one(results[0], output)
    if csv is not None:
        from bpsta_cli.reporting.energy import write_csv

        output.say("Written: " + ", ".join(map(str, write_csv(results, csv))))
    if figure is not None:
        from bpsta_cli.reporting.rates import write_rates

        write_rates(results, figure)
        output.say(f"Written: {figure}")


def _say_samples(results: list[dict[str, Any]], output: Output) -> None:
    """Say so where not all test samples were evaluated."""
    messages = {
        f"Only the first {row['samples']:,} of {row['test_samples']:,} test samples were evaluated."
        for row in results
        if row["samples"] < row["test_samples"]
    }
    for line in sorted(messages):
        output.say(line)


def _together(results: list[dict[str, Any]]) -> dict[str, Any]:
    from bpsta_cli.reporting.energy import table_5

    frame = table_5(results).astype(object)
    return {"table5": frame.where(frame.notna(), None).to_dict("records")}


def _check_figure(figure: Path, runs: list[Path]) -> None:
    """Refuse a picture that cannot be drawn before anything is measured."""
    from bpsta_cli.rules import TWIN
    from bpsta_cli.training.run_directory import RunDir

    if figure.suffix not in PICTURES:
        raise SettingsError(
            "unusable picture", expected="a name that ends in .png or .svg", got=str(figure), todo="Correct --figure."
        )
    if all(RunDir(run).info().settings.method == TWIN for run in runs):
        raise SettingsError(
            "nothing to draw",
            expected="a run of a spiking method for --figure",
            got="runs of ann, the ReLU twin",
            todo="Give a run of stbp, bpsa or bpsta.",
        )


def _table_5(results: list[dict[str, Any]], output: Output) -> None:
    """The rows of the paper's Table 5, and the other accounts' ratios beside them."""
    from bpsta_cli.reporting.energy import display_rows, table_5

    frame = table_5(results)
    if not frame.empty:
        output.table(
            "The twin's energy over the network's (more than 1: the network costs less)",
            ["data", "T", "method", "runs", "accuracy", "twin", "q. twin", "rate", *RATIOS],
            display_rows(frame),
        )


def _one(result: dict[str, Any], output: Output) -> None:
    accounts = {
        "paper (Eq. 1)": result["paper"],
        "counted": result["counted"],
        "with memory": result["memory"],
        f"quantised, {result['quantised']['bits']} bits": result["quantised"]["operations"],
        "quantised, with memory": result["quantised"]["memory"],
    }
    frames = result["frames"]
    seen = f"{result['samples']:,} samples, costs {result['tech']['name']}"
    output.table(
        f"Accounts, nJ a sample (mean of {seen})",
        ["account", "network", "twin", "ratio", *([f"twin, {frames} frames", "ratio"] if frames > 1 else [])],
        [
            [
                name,
                _nanojoule(account["e_snn_pj"]),
                _nanojoule(account["e_ann_pj"]),
                _number(account["ratio"], ".2f"),
                *(
                    [_nanojoule(account.get("e_ann_frames_pj")), _number(account.get("ratio_frames"), ".2f")]
                    if frames > 1
                    else []
                ),
            ]
            for name, account in accounts.items()
        ],
    )
    _break_even(result, output)
    output.table(
        f"By layer; paper, counted and memory in nJ (mean of {seen})",
        ["layer", "shape", "dense ops", "in", "out", "MACs", "ACs", "updates", "paper", "counted", "memory", "share"],
        [_layer(layer) for layer in result["layers"]] + [_total(result)],
    )
    harness = result["neurobench"]
    output.say(
        f"As NeuroBench counts, at every step: {harness['effective_macs']:,.0f} effective MACs, "
        f"{harness['effective_acs']:,.0f} effective ACs, {harness['dense']:,} dense operations; activation sparsity "
        f"{_number(harness['activation_sparsity'], '.4f')}, connection sparsity {harness['connection_sparsity']:.4f}, "
        f"footprint {harness['footprint']:,} bytes."
    )


def _break_even(result: dict[str, Any], output: Output) -> None:
    """Where the network stands against its quantised rival."""
    rate = result["firing_rate"]
    if rate is None:
        return
    rates = []
    for name, where in (("operations", "in operations"), ("memory", "with memory")):
        even = result["quantised"][name]["break_even_rate"]
        rates.append(f"at no firing rate {where}" if even is None else f"at a firing rate of {even:.4f} {where}")
    output.say(f"It would cost what its quantised twin does {', '.join(rates)}; it fires at {rate:.4f}.")


def _layer(layer: dict[str, Any]) -> list[str]:
    return [
        layer["layer"],
        "x".join(map(str, layer["shape"])),
        f"{layer['dense_ops']:,}",
        f"{layer['input_density']:.3f}",
        _number(layer["firing_rate"], ".3f"),
        f"{layer['macs']:,.0f}",
        f"{layer['acs']:,.0f}",
        f"{layer['neuron_updates']:,}",
        _nanojoule(layer["e_paper_pj"]),
        _nanojoule(layer["e_pj"]),
        _nanojoule(layer["e_memory_pj"]),
        f"{100 * layer['share']:.1f} %",
    ]


def _total(result: dict[str, Any]) -> list[str]:
    counted = result["counted"]
    return [
        "total",
        "-",
        f"{counted['dense_ops']:,}",
        "-",
        _number(result["firing_rate"], ".3f"),
        f"{counted['macs']:,.0f}",
        f"{counted['acs'] + counted['shortcut_acs']:,.0f}",
        f"{counted['neuron_updates']:,}",
        _nanojoule(result["paper"]["e_snn_pj"]),
        _nanojoule(counted["e_snn_pj"]),
        _nanojoule(result["memory"]["e_snn_pj"]),
        "100.0 %",
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _nanojoule(picojoule: float | None) -> str:
    return "-" if picojoule is None else f"{picojoule / 1000:,.1f}"
