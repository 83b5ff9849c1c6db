"""Readers, the notation and the command line, given what chance makes of good inputs: refused, or read.

`make fuzz` runs each for a minute; the short form, always the same, is part of the other tests.
"""

import json
import struct
import warnings
from pathlib import Path

import fuzzing
import numpy as np
import pytest
import yaml
from file_damages import npy, tensors
from file_readers import BY_NAME, READERS, Reader
from hypothesis import given
from hypothesis import strategies as st
from outcomes import outcome

from bpsta_cli.cli.main import run
from bpsta_cli.data.encoding import check_events, split_by_number, split_by_time
from bpsta_cli.data.formats.audio import log_mel
from bpsta_cli.network import build
from bpsta_cli.reading.arrays import npy as read_array

EDGES = [0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
PACKED = [
    struct.pack(form, value % 2 ** (8 * struct.calcsize(form))) for value in EDGES for form in ("<I", ">I", "<Q", "<H")
]
OTHERS = [reader.good()[:4096] for reader in READERS]
Change = st.tuples(
    st.sampled_from(["cut", "drop", "put", "put", "put", "edge", "edge", "repeat", "splice"]),
    st.floats(0, 1),
    st.floats(0, 1),
)


@st.composite
def mutated(draw, good: bytes) -> bytes:
    """`good` after a few changes, most of them near its beginning, where headers are."""
    content = bytearray(good)
    for kind, where, length in draw(st.lists(Change, min_size=1, max_size=6)):
        at = int(len(content) * where**2)
        end = at + 1 + int(64 * length**2)
        if kind == "cut":
            del content[max(at, 1) :]
        elif kind == "drop":
            del content[at:end]
        elif kind == "put":
            content[at : at + 1] = draw(st.binary(min_size=1, max_size=3))
        elif kind == "edge":
            packed = draw(st.sampled_from(PACKED))
            content[at : at + len(packed)] = packed
        elif kind == "repeat":
            content[at:at] = content[at:end] * draw(st.integers(1, 50))
        else:
            content[at:end] = draw(st.sampled_from(OTHERS))[: 1 + int(512 * length)]
    return bytes(content)


def through(reader: Reader, path: Path) -> None:
    """What a reader gives, and what is made of it next."""
    found = reader.read(path)
    if hasattr(found, "_fields"):
        check_events(found, (2, 2048, 2048), str(path))
        for split in (split_by_number, split_by_time):
            split(found, T=2, shape=(2, 2048, 2048))
    elif reader.name.startswith("WAV"):
        samples, rate = found
        warnings.simplefilter("ignore", UserWarning)  # torchaudio's, that a low rate leaves bands of it empty
        log_mel(samples, rate, T=2, seconds=len(samples) / rate)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_file_that_chance_changed_is_refused_or_read(reader, tmp_path):
    file = tmp_path / reader.file

    @given(mutated(reader.good()))
    def check(content):
        file.write_bytes(content)
        assert not outcome(lambda: through(reader, file)).startswith("broken")

    fuzzing.fuzz(check)()


Scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=30), st.sampled_from(EDGES)
)
Values = st.recursive(
    Scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=9,
)


def put(value, place: float, new):
    """`new` in some place of nested mappings and lists, in depth-first order."""
    spots = []

    def walk(inner):
        for key in inner if isinstance(inner, dict) else range(len(inner)):
            spots.append((inner, key))
            if isinstance(inner[key], dict | list):
                walk(inner[key])

    walk(value)
    inner, key = spots[min(int(place * len(spots)), len(spots) - 1)]
    inner[key] = new


@pytest.mark.parametrize(
    "reader", [each for each in READERS if each.kind in ("json", "yaml")], ids=lambda each: each.name
)
def test_a_record_with_other_values_is_refused_or_read(reader, tmp_path):
    file, text = tmp_path / reader.file, reader.good()
    good = json.dumps((yaml.safe_load if reader.kind == "yaml" else json.loads)(text))

    @given(st.lists(st.tuples(st.floats(0, 1), Values), min_size=1, max_size=3))
    def check(changes):
        value = json.loads(good)
        for place, new in changes:
            put(value, place, new)
        file.write_text(json.dumps(value), encoding="utf-8")
        assert not outcome(lambda: reader.read(file)).startswith("broken")

    fuzzing.fuzz(check)()


Numbers = st.integers(-2, 12) | st.sampled_from(EDGES)
Types = st.sampled_from(
    ["'<i8'", "'|u1'", "'<f4'", "'|O'", "'|V8'", "'<U3'", "'|b1'", "[('t', '<i8')]", "('<i8', (3,))", "7"]
)


def test_an_npy_with_any_header_is_refused_or_read(tmp_path):
    @given(Types, st.lists(Numbers, max_size=5), st.sampled_from(["True", "False", "None"]), st.binary(max_size=99))
    def check(kind, shape, order, data):
        lengths = "".join(f"{length}, " for length in shape)
        (tmp_path / "a.npy").write_bytes(
            npy(f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': ({lengths})}}", data)
        )
        for read in (read_array, BY_NAME["npy"].read, BY_NAME["tonic's npy"].read):
            assert not outcome(lambda read=read: read(tmp_path / "a.npy")).startswith("broken")

    fuzzing.fuzz(check)()


Tensors = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F64", "BOOL", "I8", "U64", "", 3]),
        "shape": st.lists(Numbers, max_size=4) | Values,
        "data_offsets": st.lists(Numbers, max_size=3) | Values,
    },
)


def test_weights_with_any_header_are_refused_or_read(tmp_path):
    @given(
        st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), Tensors | Values), st.binary(max_size=64), Numbers
    )
    def check(header, data, length):
        for size in (None, length % 2**64):
            (tmp_path / "model.safetensors").write_bytes(tensors(json.dumps(header).encode(), data, size))
            found = outcome(lambda: BY_NAME["weights"].read(tmp_path / "model.safetensors"))
            assert not found.startswith("broken")

    fuzzing.fuzz(check)()


Words = st.one_of(
    st.builds("{}{}{}".format, Numbers, st.sampled_from(["C", "FC", "Voting", "MP", "", "x"]), Numbers),
    st.builds("{}{}".format, st.sampled_from(["MP", "AP", "P", "DP", ""]), Numbers),
    st.sampled_from(["10Voting", "8C3", "16C3", "MP2", "AP4", "DP", "100FC", "{inputs}", "{classes}", "10"]),
    st.text(max_size=5),
)


def test_a_structure_of_any_words_is_refused_or_built():
    @given(st.lists(Words, max_size=8), st.tuples(Numbers, st.integers(0, 12), st.integers(0, 12)), st.integers(-1, 12))
    def check(words, shape, classes):
        assert not outcome(lambda: build("-".join(words), shape, classes)).startswith("broken")

    fuzzing.fuzz(check)()


NAMES = [
    "--T",
    "--lr",
    "--epochs",
    "--batch-size",
    "--seed",
    "--accumulate",
    "--threshold",
    "--decay",
    "--dropout",
    "--alpha",
]
Texts = st.one_of(st.integers().map(str), st.floats().map(str), st.text(max_size=8), st.sampled_from(EDGES).map(str))


def test_a_command_line_of_any_values_ends_in_a_code(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    @given(st.lists(st.tuples(st.sampled_from(NAMES), Texts), max_size=5))
    def check(options):
        words = [f"{name}={value}" for name, value in options]
        assert run(["train", "--dataset", "digits", "--device", "nowhere9", *words]) == 2
        printed = capsys.readouterr()
        assert len(printed.err.rstrip("\n").split("\n")) <= 3
        assert np.all([len(line) <= 400 for line in printed.err.split("\n")])

    fuzzing.fuzz(check)()
    assert list(tmp_path.iterdir()) == []
