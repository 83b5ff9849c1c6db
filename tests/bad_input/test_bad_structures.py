"""Structures that cannot be read, do not fit, or are too large to be made."""

import pytest
from outcomes import outcome

from bpsta_cli.network import build

HUGE = (
    "999999C3-999999C3-10Voting",
    "999999999C3-10Voting",
    "99999FC-99999FC-99999FC-10Voting",
    "999999999Voting",
    "999999999-10",
    "20000C3-20000C3-10Voting",
    "1C3-" * 5000 + "10Voting",
)
SENSELESS = (
    *("", "-", "--", " ", "x", "C3", "16C", "16X3-10Voting", "0C3-10Voting", "16C0-10Voting", "MP0-10Voting"),
    *("Voting", "0Voting", "-1Voting", "10voting", "10Voting-10Voting", "10Voting-16C3", "16C3", "MP2", "DP", "16FC"),
    *("16C3-MP9-10Voting", "16C99-10Voting", "MP2-MP2-MP2-MP2-10Voting", "100FC-16C3-10Voting", "100FC-MP2-10Voting"),
    *("7x7x7-10", "1x8x8-11", "64-100-11", "65-100-10", "1x8x8", "16C3-1x8x8-10", "1.5C3-10Voting"),
    *("16C3 - 10Voting", "16C3-\n10Voting", "16C3-10Voting\x00", "16C3\u201310Voting"),
    *("{inputs}-10", "{classes}", "{0}", "%s", "resnet", "resnet19", "small-10Voting", "\ud800", "\udcff-10Voting"),
    "9" * 5000 + "C3-10Voting",
    "16C" + "9" * 5000 + "-10Voting",
    "x" * 1_000_000,
    "-" * 1_000_000,
    "16C3-" * 100_000,
)  # fmt: skip


@pytest.mark.parametrize("structure", [*HUGE, *SENSELESS], ids=lambda text: f"{text[:24]!a} of {len(text)}")
def test_a_structure_that_cannot_be_made_is_refused_before_it_takes_memory(structure):
    assert outcome(lambda: build(structure, (1, 8, 8), 10)).startswith("refused")


@pytest.mark.parametrize("shape", [(0, 8, 8), (-1, 8, 8), (10**9, 8, 8), (1, 0, 8), (1, 10**6, 10**6)])
def test_a_sample_of_no_or_many_values_is_refused(shape):
    assert outcome(lambda: build("16C3-100FC-10Voting", shape, 10)).startswith("refused")


@pytest.mark.parametrize("classes", [0, -1, 10**9])
def test_no_or_many_classes_are_refused(classes):
    for structure in ("16C3-10Voting", "resnet18"):
        assert outcome(lambda s=structure: build(s, (1, 8, 8), classes)).startswith("refused")
