"""A record that lacks a key, or has another value under it, is read or refused; it never breaks the reader."""

import json

import fuzzing
import pytest
import yaml
from file_readers import READERS, Reader
from outcomes import outcome

VALUES = (None, True, -1, 0, 1e300, 10**24, "", "x" * 5000, "\ud800", [], {}, [[1]], {"a": 1})
"""What may stand under any key instead."""
RECORDS = [reader for reader in READERS if reader.kind in ("json", "yaml")]


def loaded(reader: Reader):
    """A record without its checksum, which would be the first thing to be wrong with any other."""
    value = (yaml.safe_load if reader.kind == "yaml" else json.loads)(reader.good())
    value.pop("sha256", None)
    return value


def places(value, before=(), depth=3):
    """Every key of nested mappings, down to a depth, as the keys that lead to it; of many alike the first two."""
    if not isinstance(value, dict) or not depth:
        return
    alike = {}
    for key, inner in value.items():
        shape = sorted(inner) if isinstance(inner, dict) else key
        alike[str(shape)] = alike.get(str(shape), 0) + 1
        if alike[str(shape)] <= 2:
            yield (*before, key)
            yield from places(inner, (*before, key), depth - 1)


def changed(value, place, change):
    """A copy of nested mappings with one of them changed by `change(mapping, key)`."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    change(inner, place[-1])
    return copy


@pytest.mark.parametrize("reader", RECORDS, ids=lambda reader: reader.name)
def test_no_value_under_any_key_breaks_a_reader(reader, tmp_path):
    good, broken = loaded(reader), {}
    for number, place in list(enumerate(places(good)))[:: 1 if fuzzing.SECONDS else 5]:
        changes = {"nothing": lambda mapping, key: mapping.pop(key)}
        for value in (VALUES[number % len(VALUES)], VALUES[(number * 5 + 2) % len(VALUES)]):
            changes[repr(value)[:40]] = lambda mapping, key, value=value: mapping.__setitem__(key, value)
        for name, change in changes.items():
            (tmp_path / reader.file).write_text(json.dumps(changed(good, place, change)), encoding="utf-8")
            found = outcome(lambda: reader.read(tmp_path / reader.file))
            if found.startswith("broken"):
                broken[f"{'.'.join(map(str, place))} = {name}"] = found
    assert broken == {}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *(("report metrics.json of train", key) for key in ("dataset", "method", "T", "seed", "accuracy", "network")),
        *(("report metrics.json of train", key) for key in ("firing_rate", "epochs", "selection", "data_hash")),
        *(("report run.json of energy", key) for key in ("paper", "counted", "memory", "quantised", "samples")),
        ("report run.json of latency", "accuracy_at"),
        ("report settings.json of train", "settings"),
    ],
)
def test_a_report_names_the_key_that_a_result_lacks(name, key, tmp_path):
    reader = next(each for each in READERS if each.name == name)
    lacking = changed(loaded(reader), (key,), lambda mapping, key: mapping.pop(key))
    (tmp_path / reader.file).write_text(json.dumps(lacking), encoding="utf-8")
    found = outcome(lambda: reader.read(tmp_path / reader.file))
    assert found.startswith("refused: unreadable result")
    assert f"{key}: " in found


def test_a_result_of_another_run_is_refused(tmp_path):
    reader = next(each for each in READERS if each.name == "report metrics.json of train")
    other = changed(loaded(reader), ("seed",), lambda mapping, key: mapping.__setitem__(key, 1))
    (tmp_path / reader.file).write_text(json.dumps(other), encoding="utf-8")
    assert "result of another run" in outcome(lambda: reader.read(tmp_path / reader.file))
