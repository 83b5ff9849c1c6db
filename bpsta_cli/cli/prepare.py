"""`bpsta prepare`: a data set into the store, and the catalogue's table."""

from pathlib import Path
from typing import Annotated

import typer

from bpsta_cli.cli.options import DataDir, DatasetName, Json, ParamsFile, Source, setting, settle
from bpsta_cli.cli.output import Output
from bpsta_cli.cli.progress import Bar
from bpsta_cli.config import DatasetSettings, load_params
from bpsta_cli.errors import SettingsError


def prepare(
    dataset: DatasetName = None,
    T: Annotated[int, typer.Option("--T", help="Time steps; only event data are stored by it.")] = 8,
    source: Source = None,
    split_by: Annotated[str | None, setting(DatasetSettings, "split_by")] = None,
    size: Annotated[int | None, setting(DatasetSettings, "size")] = None,
    resize: Annotated[str | None, setting(DatasetSettings, "resize")] = None,
    test_fraction: Annotated[float | None, setting(DatasetSettings, "test_fraction")] = None,
    params: ParamsFile = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check the stored arrays against their checksums.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="Show every data set and what is prepared.")] = False,
    data_dir: DataDir = Path("data"),
    as_json: Json = False,
) -> None:
    """Download or read a data set and store it, ready to train from. A second call does nothing."""
    output = Output(as_json=as_json)
    if list_all:
        _show_catalogue(output, data_dir)
        return
    if dataset is None:
        raise SettingsError(
            "no data set", expected="--dataset NAME, or --list", got="neither", todo="Give one of them."
        )
    from bpsta_cli.cli.presets import preset
    from bpsta_cli.data import catalogue
    from bpsta_cli.prepared import prepared_store

    base = load_params(params).settings_of(dataset) if params else preset(dataset)
    settings = settle(
        "the options",
        DatasetSettings,
        base.model_dump(),
        source=None if source is None else str(source),
        split_by=split_by,
        size=size,
        resize=resize,
        test_fraction=test_fraction,
    )
    if T < 1:
        raise SettingsError("unusable option", expected="--T of at least 1", got=str(T), todo="Correct it.")
    with Bar("samples") as bar:
        store = prepared_store(dataset, settings, T=T, data_dir=data_dir, progress=bar.update)
    if verify:
        store.verify()
    counts = {part: len(store.split(part)) for part in ("train", "test")}
    distinct = store.split("train").distinct
    repeated = "" if distinct == counts["train"] else f" ({distinct} of them different)"
    shape = [*([] if store.T is None else [store.T]), *store.shape]
    output.say(
        f"{store.path}: {counts['train']} training{repeated} and {counts['test']} test samples of "
        f"{' x '.join(map(str, shape))}, {len(store.classes)} classes"
    )
    if told := catalogue.get(dataset).disclosure:
        output.say(told)
    output.result(
        {
            "dataset": dataset,
            "path": str(store.path),
            "T": store.T,
            "shape": list(store.shape),
            "classes": list(store.classes),
            "train": counts["train"],
            "test": counts["test"],
            "content_hash": store.content_hash,
        }
    )


def _show_catalogue(output: Output, data_dir: Path) -> None:
    from bpsta_cli.data import catalogue
    from bpsta_cli.data.store import catalogue_status

    rows = [(catalogue.get(status.name), status) for status in catalogue_status(data_dir)]
    output.table(
        f"Data sets (prepared in {data_dir})",
        ["name", "kind", "shape", "classes", "split", "licence", "prepared"],
        [
            [
                row.name,
                row.kind,
                "x".join(map(str, row.shape)),
                str(len(row.classes)),
                row.split,
                row.licence,
                f"{status.bytes / 1e6:.1f} MB" if status.prepared else "-",
            ]
            for row, status in rows
        ],
    )
    output.result(
        {
            "datasets": [
                {
                    "name": row.name,
                    "kind": row.kind,
                    "shape": list(row.shape),
                    "classes": len(row.classes),
                    "prepared": [str(path) for path in status.stores],
                    "bytes": status.bytes,
                }
                for row, status in rows
            ]
        }
    )
