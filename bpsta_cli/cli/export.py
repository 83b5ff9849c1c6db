"""`bpsta export`: a trained run as ONNX or NIR, held against the network's own votes on the spot."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpsta_cli.cli.options import NO_FOLDER, DataDir, Json, Samples, Threads, TrustRule
from bpsta_cli.cli.output import Output, percent
from bpsta_cli.cli.runs import measure, require_positive, use_threads
from bpsta_cli.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from bpsta_cli.measurement import Opened

FORMATS = ("onnx", "nir")
MOST_LEVELS = 32
"""Of a ReLU's staircase: each is a node of a layer's size."""
ROWS = {
    "all_steps": "all time steps",
    "one_step": "one step, called T times",
    "as_written": "as NIR defines the nodes",
    "with_relu": "the same with the ReLUs given back",
}


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run directory that bpsta train wrote.", show_default=False)
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="onnx: for onnxruntime and what else reads it; nir: for neuromorphic tools.",
            metavar="FORMAT",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the files. (default: export, in the run directory; here for a run of the Hub)",
            show_default=False,
        ),
    ] = None,
    relu_levels: Annotated[
        int,
        typer.Option(
            help="nir, which has no ReLU: leave it out (0), or write it as a staircase of so many steps.",
            min=0,
            max=MOST_LEVELS,
        ),
    ] = 0,
    samples: Samples = None,
    trust_rule: TrustRule = None,
    threads: Threads = None,
    data_dir: DataDir = NO_FOLDER,
    as_json: Json = False,
) -> None:
    """Write a trained network as ONNX or NIR, and compare its votes with the network's on the test set.

    onnx writes network.onnx, all T time steps with the loop inside, and step.onnx, one step with its state as input
    and output; onnxruntime runs both. nir writes network.nir and names each node exact or approximate; nirtorch reads
    it back and runs it. What differs is counted, printed, and written to onnx.json or nir.json beside them.
    docs/export.md says what each file holds. Each format needs the extra of its name.
    """
    output = Output(as_json=as_json)
    if form not in FORMATS:
        todo = did_you_mean(form, FORMATS, otherwise="Choose one of them.")
        raise SettingsError("unknown format", expected=f"one of {', '.join(FORMATS)}", got=repr(form), todo=todo)
    if form != "nir" and relu_levels:
        got, todo = f"--relu-levels {relu_levels} with {form}, which has ReLU", "Leave it out."
        raise SettingsError("an option of another format", expected="--relu-levels with nir", got=got, todo=todo)
    require_positive("samples", samples)
    use_threads(threads)
    from bpsta_cli.export import packages
    from bpsta_cli.sharing import located

    packages.require(form)
    place = located(run)
    _require_finished(place)
    beside = run if place == run else Path()  # what is downloaded stays as it is
    folder = beside / "export" if out is None else out

    def work(opened: "Opened") -> dict[str, Any]:
        from bpsta_cli.export.about import about
        from bpsta_cli.training.run_directory import RunDir

        words = about(opened.info.settings, opened.store, RunDir(place).weights_sha256())
        made = {"format": form, "packages": packages.versions(form)}
        if form == "onnx":
            return {**made, **_onnx(folder, opened, words, samples)}
        return {**made, **_nir(folder, opened, words, samples, relu_levels)}

    (result,) = measure(
        [run],
        work,
        device="cpu",
        data_dir=data_dir,
        samples=samples,
        trust_rule=trust_rule,
        output=output,
        out=folder / f"{form}.json",
        place=place,
    )
    if form == "nir":
        _say_nodes(result, output)
    _say_agreement(result, output)
    names = [*result["files"].values(), f"{form}.json"]
    output.say("Written: " + ", ".join(str(folder / name) for name in names))


def _require_finished(run: Path) -> None:
    """Refuse a run whose weights may still change.

    Raises:
        RunError: there is no run, or it is not finished.
    """
    from bpsta_cli.training.run_directory import RunDir

    directory = RunDir(run)
    directory.info()
    directory.metrics()


def _onnx(folder: Path, opened: "Opened", words: dict[str, str], samples: int | None) -> dict[str, Any]:
    from bpsta_cli.export import onnx_check, onnx_files

    settings = opened.info.settings
    written = onnx_files.write(folder, opened.network, settings, opened.store, words)
    agreement = onnx_check.agreement(
        opened.network,
        opened.store,
        folder / onnx_files.ALL_STEPS,
        folder / onnx_files.ONE_STEP,
        T=settings.T,
        samples=samples,
        on_batch=opened.on_batch,
    )
    return {**written, "agreement": agreement}


def _nir(
    folder: Path, opened: "Opened", words: dict[str, str], samples: int | None, relu_levels: int
) -> dict[str, Any]:
    from bpsta_cli.export import nir_check, nir_files

    written = nir_files.write(folder, opened.network, opened.store, words, relu_levels=relu_levels)
    agreement = nir_check.agreement(
        opened.network,
        opened.store,
        folder / nir_files.FILE,
        T=opened.info.settings.T,
        samples=samples,
        on_batch=opened.on_batch,
    )
    return {**written, "agreement": agreement}


def _say_nodes(result: dict[str, Any], output: Output) -> None:
    """Each node of the graph, and how it stands to the network."""
    output.table(
        "The graph's nodes",
        ["node", "kind", "layers", "is", "remark"],
        [
            [
                node["node"],
                node["kind"],
                " + ".join(node["of"]),
                "exact" if node["exact"] else "approximate",
                node["why"] or "-",
            ]
            for node in result["nodes"]
        ],
    )
    output.say(f"LIF and IF nodes: for a reader that takes Euler steps of {result['dt']:g} s.")


def _say_agreement(result: dict[str, Any], output: Output) -> None:
    """How often the exported network decides and votes otherwise than the network."""
    output.table(
        "Beside the network, on the test set",
        ["exported", "samples", "other decisions", "other votes", "by up to", "accuracy", "network's"],
        [
            [
                ROWS[name],
                f"{found['samples']:,}",
                f"{found['differing_decisions']:,}",
                f"{found['differing_votes']:,}",
                f"{found['largest_difference']:.2g}",
                percent(found["exported_accuracy"]),
                percent(found["accuracy"]),
            ]
            for name, found in result["agreement"].items()
        ],
    )
    drift = result["agreement"].get("as_written")
    if drift is not None and drift["differing_decisions"] and not result["relu_levels"]:
        output.warn(
            f"the graph decides otherwise on {drift['differing_decisions']:,} of {drift['samples']:,} samples: NIR has "
            "no node for the ReLU before neurons; --relu-levels 8 writes it as a staircase, --format onnx as it is"
        )
