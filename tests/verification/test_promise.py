"""Where equal bytes are promised, and what is said to have changed."""

import pytest

from bpsta_cli.kernels.dispatch import Choice
from bpsta_cli.verification.promise import changes, unpromised

HERE = {
    "commit": "c" * 40,
    "code": "d" * 64,
    "python": "3.11.7",
    "libraries": {"torch": "2.14.1"},
    "device": "cpu (x86_64, 2 cores, AVX2)",
    "machine": {"processor": "A 1-2-3", "caches": "L1d 48K/1"},
    "threads": 1,
    "kernel": "cpu",
}
COMPILED, REFERENCE = Choice("cpu", "the fastest here"), Choice("reference", "there is no compiler g++")


def test_bytes_are_promised_for_the_compiled_kernels_on_whatever_machine_with_whatever_threads():
    moved = HERE | {"machine": {"processor": "B"}, "threads": 7, "libraries": {}, "device": "cpu (x86_64, 64 cores)"}
    assert unpromised(moved, HERE, COMPILED, "float32") == ""
    assert unpromised({}, HERE, COMPILED, "float32") == ""
    assert unpromised(HERE | {"processes": 4, "reduce": "shares"}, HERE, COMPILED, "float32") == ""
    assert unpromised(HERE | {"kernel": None}, HERE, COMPILED, "float32") == ""


@pytest.mark.parametrize(
    ("recorded", "here", "kernel", "precision", "reason"),
    [
        ({"device": "cuda (H100)", "kernel": "gpu"}, {}, COMPILED, "float32", "it was trained on cuda (H100)"),
        ({}, {"device": "cuda (H100)"}, COMPILED, "float32", "it is trained again on cuda (H100)"),
        ({"kernel": "reference"}, {}, COMPILED, "float32", "it was trained with the reference kernel"),
        ({}, {}, REFERENCE, "float32", "do not run here (there is no compiler g++)"),
        (
            {"processes": 4, "reduce": "sums"},
            {},
            COMPILED,
            "float32",
            "over 4 processes, whose sums",
        ),
        ({}, {}, COMPILED, "bfloat16", "it was trained in bfloat16"),
    ],
)
def test_why_no_bytes_are_promised_is_told(recorded, here, kernel, precision, reason):
    assert reason in unpromised(HERE | recorded, HERE | here, kernel, precision)


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ({}, []),
        ({"commit": "e" * 40}, ["commit: eeeeeeeeeeee -> cccccccccccc"]),
        ({"commit": "c" * 40 + "-dirty"}, ["commit: cccccccccccc-dirty -> cccccccccccc"]),
        ({"code": "e" * 64}, ["code: eeeeeeeeeeee -> dddddddddddd"]),
        ({"libraries": {"torch": "2.11.0"}}, ["torch: 2.11.0 -> 2.14.1"]),
        ({"machine": {"processor": "B"}}, ["processor: B -> A 1-2-3"]),
        ({"threads": 2, "kernel": "reference"}, ["threads: 2 -> 1", "kernel: reference -> cpu"]),
        ({"device": "cpu (x86_64, 64 cores)"}, []),
        ({"device": "cuda (H100)"}, ["device: cuda (H100) -> cpu"]),
        ({"kernel": None}, []),
    ],
)
def test_what_changed_is_named_with_both_values(changed, lines):
    assert changes(HERE | changed, HERE) == lines


def test_that_nothing_was_recorded_is_said():
    assert changes({}, HERE) == ["provenance: not recorded"]
