"""`bpsta prepare --list`: the catalogue as a table of 80 columns, and all of a row."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpsta_cli.cli.output import Output

if TYPE_CHECKING:
    from bpsta_cli.data.catalogue import Dataset
    from bpsta_cli.data.store.status import Status


def show(output: Output, data_dir: Path, names: Sequence[str]) -> None:
    """A line of each data set, or, with names, everything about these.

    Raises:
        DataError: an unknown name.
    """
    from bpsta_cli.data import catalogue
    from bpsta_cli.data.store.status import catalogue_status

    wanted = [catalogue.get(name).name for name in names]
    rows = [(catalogue.get(each.name), each) for each in catalogue_status(data_dir) if each.name in wanted or not names]
    if names:
        for row, status in rows:
            _show_whole(row, status, output)
    else:
        output.table(
            f"Data sets (in {data_dir})",
            ["name", "kind", "shape", "classes", "downloaded", "prepared"],
            [_line(row, status) for row, status in rows],
        )
        output.say("bpsta prepare --list NAME: its split, licence, source and citation")
    output.result({"datasets": [_described(row, status) for row, status in rows]})


def _line(row: "Dataset", status: "Status") -> list[str]:
    return [
        row.name,
        "any" if row.user_supplied else row.kind,
        "-" if row.user_supplied else "x".join(map(str, row.shape)),
        "-" if row.user_supplied else str(len(row.classes)),
        "-" if row.embedded else _megabytes(status.downloaded),
        _megabytes(status.bytes),
    ]


def _show_whole(row: "Dataset", status: "Status", output: Output) -> None:
    """A line of text for each thing that is known; nothing is cut or broken, so that addresses can be copied."""
    output.say(f"{row.name}: {row.title}")
    known = {
        "kind": "any" if row.user_supplied else row.kind,
        "shape": "" if row.user_supplied else " x ".join(map(str, row.shape)),
        "classes": f"{len(row.classes)}: {', '.join(row.classes)}" if row.classes else "",
        "samples": f"{row.counts[0]:,} training, {row.counts[1]:,} test" if any(row.counts) else "",
        "split": row.split,
        "source": row.source,
        "licence": row.licence,
        "citation": row.citation.strip(),
        "note": row.note,
        "network": row.recipe.network,
        "downloaded": "" if row.embedded else _megabytes(status.downloaded),
        "prepared": ", ".join(map(str, status.stores)) or "-",
    }
    for name, text in known.items():
        if text:
            output.say(f"  {name}: {text}")


def _described(row: "Dataset", status: "Status") -> dict[str, Any]:
    return {
        "name": row.name,
        "title": row.title,
        "kind": None if row.user_supplied else row.kind,
        "shape": None if row.user_supplied else list(row.shape),
        "classes": None if row.user_supplied else list(row.classes),
        "train": row.counts[0] or None,
        "test": row.counts[1] or None,
        "split": row.split,
        "source": row.source,
        "licence": row.licence,
        "citation": row.citation,
        "checksums": row.checksums,
        "note": row.note,
        "downloaded_bytes": status.downloaded,
        "prepared": [str(path) for path in status.stores],
        "bytes": status.bytes,
    }


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else "-"
