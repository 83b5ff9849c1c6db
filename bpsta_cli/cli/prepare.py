"""`bpsta prepare`: a data set into the store, and the catalogue's table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bpsta_cli import files
from bpsta_cli.cli import listing
from bpsta_cli.cli.options import NO_FOLDER, DataDir, Json, ParamsFile
from bpsta_cli.cli.output import Output
from bpsta_cli.cli.progress import Bar
from bpsta_cli.cli.runs import warn_unchecked
from bpsta_cli.cli.schema import Given, apply_overrides, section, with_settings
from bpsta_cli.config import DatasetSettings, Preparation, RunSettings, StoreSettings, load_params, validate
from bpsta_cli.errors import SettingsError


@with_settings(
    section("run", "What is prepared", RunSettings).only("dataset", "T"),
    section("data", "How it is prepared", DatasetSettings).only("source", *StoreSettings.model_fields),
)
def prepare(
    given: Given,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="With --list: everything about these data sets. (default: a line of each)",
            show_default=False,
        ),
    ] = None,
    params: ParamsFile = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Everything that the runs in --params need of this entry of its datasets. (default: none)",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="With --recipe: write what each T's store is into this folder, as T8.json. (default: no files)",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check the stored arrays against their checksums.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="Show the data sets, and what is prepared.")] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="How many read at the same time. (default: one a processor, for 128 MB or more)",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = NO_FOLDER,
    as_json: Json = False,
) -> None:
    """Download or read a data set and store it, ready to train from. A second call does nothing."""
    output = Output(as_json=as_json)
    if list_all:
        asked = given["run"].get("dataset")
        listing.show(output, data_dir, [*(names or []), *([asked] if asked else [])])
        return
    if names:
        raise SettingsError(
            "unexpected argument",
            expected="--list beside a name, or --dataset NAME to prepare it",
            got=names[0],
            todo=f"Write bpsta prepare --dataset {names[0]}.",
        )
    if recipe is not None:
        _prepare_recipe(recipe, params, out, output, verify=verify, processes=processes, data_dir=data_dir)
        return
    if "dataset" not in given["run"]:
        raise SettingsError(
            "no data set", expected="--dataset NAME, or --list", got="neither", todo="Give one of them."
        )
    from bpsta_cli.data.presets import preset

    dataset, T = given["run"]["dataset"], given["run"].get("T", RunSettings.model_fields["T"].default)
    base = load_params(params).recipe_of(dataset) if params else preset(dataset, source=given["data"].get("source"))
    settings = apply_overrides("the options", DatasetSettings, base.model_dump(), given["data"])
    validate(Preparation, {"T": T}, where="the options")
    output.result(_store(dataset, settings, T, output, verify=verify, processes=processes, data_dir=data_dir))


def _prepare_recipe(
    recipe: str,
    params: Path | None,
    out: Path | None,
    output: Output,
    *,
    verify: bool,
    processes: int | None,
    data_dir: Path,
) -> None:
    """The stores of every T that the runs of one entry of params.yaml's datasets ask for."""
    if params is None:
        raise SettingsError(
            "no file that names runs", expected="--params beside --recipe", got="no --params", todo="Name the file."
        )
    study = load_params(params)
    settings, runs = study.recipe_of(recipe), study.runs_with(recipe)
    if not runs:
        output.say(f"{params} names no run with the recipe {recipe}: nothing to prepare")
    stores: dict[str, dict[str, Any]] = {}
    for T in sorted({run.T for run in runs}):
        shared = next((store for store in stores.values() if store["T"] is None), None)  # images fit any T
        stores[f"T{T}"] = shared or _store(
            runs[0].dataset, settings, T, output, verify=verify, processes=processes, data_dir=data_dir
        )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, store in stores.items():
            files.write_json(out / f"{name}.json", {key: value for key, value in store.items() if key != "path"})
    output.result({"recipe": recipe, "stores": stores})


def _store(
    dataset: str,
    settings: DatasetSettings,
    T: int,
    output: Output,
    *,
    verify: bool,
    processes: int | None,
    data_dir: Path,
) -> dict[str, Any]:
    """One store, prepared where it is not there, and what is to be said of it."""
    from bpsta_cli.data import catalogue
    from bpsta_cli.data.run_data import prepared_store
    from bpsta_cli.data.store import with_checksum

    with Bar("samples") as bar:
        store = prepared_store(dataset, settings, T=T, data_dir=data_dir, progress=bar.update, processes=processes)
    if verify:
        store.verify()
        store = with_checksum(store)
    warn_unchecked(store, output)
    counts = {part: len(store.split(part)) for part in ("train", "test")}
    distinct = store.split("train").distinct
    repeated = "" if distinct == counts["train"] else f" ({distinct} of them different)"
    shape = [*([] if store.T is None else [store.T]), *store.shape]
    output.say(
        f"{store.path}: {counts['train']} training{repeated} and {counts['test']} test samples of "
        f"{' x '.join(map(str, shape))}, {len(store.classes)} classes"
    )
    if message := catalogue.get(dataset).disclosure:
        output.say(message)
    output.say(f"split: {store.manifest.split}")
    if store.manifest.partial:
        output.say(f"a partial copy: {store.manifest.partial}")
    return {
        "dataset": dataset,
        "path": str(store.path),
        "T": store.T,
        "shape": list(store.shape),
        "classes": list(store.classes),
        "train": counts["train"],
        "test": counts["test"],
        "split": store.manifest.split,
        "partial": store.manifest.partial,
        "content_hash": store.content_hash,
    }
