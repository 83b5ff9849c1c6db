"""JSON, YAML and CSV: documents of a bounded depth and number of values, with numbers of a length that numbers have."""

import csv
import io
import json
import math
from array import array
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
import yaml as pyyaml

from bpsta_cli import checksums
from bpsta_cli.checksums import DamagedError
from bpsta_cli.reading.regular import DOCUMENT, MIB, text, unreadable

if TYPE_CHECKING:
    import pandas as pd

DEPTH = 32
"""Lists and mappings in one another; params.yaml and a run's records have at most six."""
VALUES = 1_000_000
"""Values of a JSON document."""
YAML_VALUES = 100_000
"""Values of a YAML document, those that an alias repeats counted again."""
DIGITS = 25
"""Of a whole number."""
YAML_BYTES = MIB
_NUMBERS = "numbers with commas between them"
_Loader: Any = getattr(pyyaml, "CSafeLoader", pyyaml.SafeLoader)


def json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file, held against its checksum where it has one, and without it.

    Raises:
        UnreadableError: no file that can be read, no JSON, no object, one beyond the limits of this module, or another
            checksum.
    """
    return checked_object(path)[0]


def checked_object(path: Path) -> tuple[dict[str, Any], bool]:
    """As `json_object`, and whether the file has a checksum."""
    try:
        return checksums.parse(text(path).encode(), lambda found: parsed_object(path, found.decode()))
    except DamagedError as broken:
        raise unreadable(path, "JSON as it was written", str(broken)) from None


def parsed_object(path: Path, found: str) -> dict[str, Any]:
    """The object in a JSON text that is in the file `path`.

    Raises:
        UnreadableError: no JSON, no object, or one beyond the limits of this module.
    """
    if sum(map(found.count, ",[{")) > VALUES:
        raise unreadable(path, f"JSON of at most {VALUES:,} values", "more")
    try:
        loaded = json.loads(found, parse_int=_whole, parse_float=_decimal, parse_constant=_no_number)
    except RecursionError:
        raise unreadable(path, f"JSON of at most {DEPTH} levels", "more") from None
    except ValueError as broken:
        raise unreadable(path, "JSON", str(broken)) from None
    if not isinstance(loaded, dict):
        raise unreadable(path, "a JSON object", f"a {type(loaded).__name__}")
    _check_levels(path, loaded)
    return loaded


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a whole number of {len(digits):,} digits")
    return int(digits)


def _decimal(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"a number without end: {digits[:DIGITS]}")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no number")


def _check_levels(path: Path, value: dict[str, Any]) -> None:
    level: list[Any] = [value]
    for _ in range(DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise unreadable(path, f"at most {DEPTH} levels", "more")


def yaml(path: Path) -> Any:
    """What a YAML file says: mappings, lists, text, numbers, truth values and null; dates stay text.

    Raises:
        UnreadableError: no file that can be read, no YAML, another type, or one beyond the limits of this module.
    """
    found = text(path, YAML_BYTES)
    try:
        _check_events(found)
        loader = _PlainLoader(found)
        try:
            return loader.plain()
        finally:
            loader.dispose()
    except (pyyaml.YAMLError, ValueError, RecursionError) as broken:
        raise unreadable(path, "YAML", " ".join(str(broken).split())) from None


def _check_events(found: str) -> None:
    """Refuse what is nested too deeply, before anything is built by recursion."""
    depth = 0
    for event in pyyaml.parse(found, Loader=_Loader):
        depth += isinstance(event, pyyaml.CollectionStartEvent) - isinstance(event, pyyaml.CollectionEndEvent)
        if depth > DEPTH:
            raise ValueError(f"more than {DEPTH} levels {str(event.start_mark).strip()}")


class _PlainLoader(_Loader):  # type: ignore[misc]
    """Makes plain values, and none that a small file can make large."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))]
        for first, resolvers in pyyaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        f"tag:yaml.org,2002:{name}": pyyaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{name}"]
        for name in ("null", "bool", "int", "float", "str", "seq", "map")
    }
    yaml_multi_constructors: dict[str, Any] = {}  # noqa: RUF012

    def plain(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return self.construct_document(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise pyyaml.constructor.ConstructorError(None, None, "a key that is no text", key.start_mark)
        return found

    def whole(self, node: Any) -> int:
        if len(node.value) > DIGITS:
            problem = f"a whole number of {len(node.value):,} digits"
            raise pyyaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return int(self.construct_yaml_int(node))

    def decimal(self, node: Any) -> float:
        value = float(self.construct_yaml_float(node))
        if not math.isfinite(value):
            problem = f"{node.value[:DIGITS]} where a finite number is wanted"
            raise pyyaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return value


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.whole)
_PlainLoader.add_constructor("tag:yaml.org,2002:float", _PlainLoader.decimal)
_PlainLoader.add_constructor(None, pyyaml.SafeLoader.construct_undefined)


def _measure(node: Any, sizes: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Values that a node stands for, each alias counted with all that it repeats, and their levels.

    Raises:
        ValueError: too many of either, or a node that holds itself.
    """
    if sizes.get(id(node)) == (0, 0):
        raise ValueError("a list or mapping that holds itself")
    if id(node) not in sizes:
        sizes[id(node)] = (0, 0)  # it is being measured
        inner = node.value if isinstance(node, pyyaml.CollectionNode) else ()
        parts = [_measure(part, sizes) for each in inner for part in (each if isinstance(each, tuple) else (each,))]
        sizes[id(node)] = (1 + sum(values for values, _ in parts), 1 + max((levels for _, levels in parts), default=0))
    values, levels = sizes[id(node)]
    if values > YAML_VALUES or levels > DEPTH + 1:
        raise ValueError(f"more than {YAML_VALUES:,} values or {DEPTH} levels, by aliases of aliases")
    return values, levels


def table(path: Path) -> "pd.DataFrame":
    """The table in a CSV file with a line of names.

    Raises:
        UnreadableError: no file that can be read, or no such table.
    """
    import pandas as pd

    found = text(path, DOCUMENT)
    try:
        return pd.read_csv(io.StringIO(found))
    except (ValueError, OverflowError, RecursionError) as broken:
        raise unreadable(path, "a table in CSV", " ".join(str(broken).split())) from None


def numbers(path: Path) -> npt.NDArray[np.float64]:
    """The numbers of a CSV file, [lines, columns]. A first line of names, none of them a number, is left out.

    Raises:
        UnreadableError: no file that can be read, something else than numbers, or lines of different lengths.
    """
    return _numbers(path, texts=0)[1]


def labelled_numbers(path: Path) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The first cell of each line of a CSV file as text, and its other cells as `numbers` [lines, columns].

    Raises:
        UnreadableError: as `numbers`.
    """
    return _numbers(path, texts=1)


def _numbers(path: Path, texts: int) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Of each line, the first cell where `texts` is 1, and the numbers of the others."""
    first: list[str] = []
    values, width = array("d"), 0
    for count, cells in _lines(path):
        row = [_number(cell) for cell in cells[texts:]]
        if count == 1 and not any(value is not None for value in row):
            continue
        if None in row:
            got = f"'{cells[texts + row.index(None)].strip()[:40]}' in line {count:,}"
            raise unreadable(path, _NUMBERS, got)
        if width not in (0, len(row)):
            raise unreadable(path, f"{width:,} numbers in each line", f"{len(row):,} in line {count:,}")
        width = len(row)
        first.append(cells[0].strip())
        values.extend(value for value in row if value is not None)
    return first, np.array(values, dtype=np.float64).reshape(-1, max(width, 1))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number, from 1 on, and the cells of each line of a CSV file that is not empty."""
    lines = csv.reader(io.StringIO(text(path, DOCUMENT).removeprefix("\ufeff"), newline=""), strict=True)
    try:
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield lines.line_num, cells
    except csv.Error as broken:
        raise unreadable(path, _NUMBERS, f"{broken} in line {lines.line_num:,}") from None


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # Python takes 1_000 for a number, which no writer of CSV means
    except ValueError:
        return None
