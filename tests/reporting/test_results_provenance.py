"""results/provenance.json: an entry changes only where its result does."""

import json

import pytest

from bpsta_cli.errors import RunError
from bpsta_cli.reporting.results_provenance import recorded, update

HERE, THERE = {"commit": "a", "machine": {"processor": "here"}}, {"commit": "b", "machine": {"processor": "there"}}
RUN, ENERGY = "train/digits-stbp-T8-s0", "energy/digits-stbp-T8-s0"


def write(file, value):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


def make(results, provenance, accuracy=0.5, energy=1.0):
    """A run and its energy, as a process of this provenance leaves them."""
    write(results / RUN / "provenance.json", provenance)
    write(results / RUN / "settings.json", {})
    write(results / RUN / "metrics.json", {"accuracy": accuracy})
    (results / RUN / "history.csv").write_text("epoch\n0\n")
    write(results / f"{ENERGY}.json", {"energy": energy})
    write(results / f"{ENERGY}.provenance.json", provenance)


def test_made_again_elsewhere_with_equal_results_the_file_is_the_same_bytes(tmp_path):
    make(tmp_path, HERE)
    assert update(tmp_path) == {RUN: HERE, ENERGY: HERE}
    before = (tmp_path / "provenance.json").read_bytes()
    make(tmp_path, THERE)
    assert update(tmp_path) == {RUN: HERE, ENERGY: HERE}
    assert (tmp_path / "provenance.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "made"),
    [({"accuracy": 0.6}, {RUN: THERE, ENERGY: HERE}), ({"energy": 2.0}, {RUN: HERE, ENERGY: THERE})],
)
def test_where_a_result_changes_its_own_entry_does_and_no_other(tmp_path, changed, made):
    make(tmp_path, HERE)
    update(tmp_path)
    make(tmp_path, THERE, **changed)
    assert update(tmp_path) == made
    assert {name: provenance for name, (_, provenance) in recorded(tmp_path).items()} == made


def test_a_clone_without_the_processes_own_files_keeps_what_is_recorded(tmp_path):
    make(tmp_path, HERE)
    update(tmp_path)
    before = (tmp_path / "provenance.json").read_bytes()
    for file in (tmp_path / RUN / "provenance.json", tmp_path / f"{ENERGY}.provenance.json"):
        file.unlink()
    assert update(tmp_path) == {RUN: HERE, ENERGY: HERE}
    assert (tmp_path / "provenance.json").read_bytes() == before
    (tmp_path / RUN / "history.csv").write_text("epoch\n1\n")
    assert update(tmp_path)[RUN] == {}


def test_an_unfinished_run_is_no_result_and_one_that_is_gone_is_forgotten(tmp_path):
    make(tmp_path, HERE)
    update(tmp_path)
    (tmp_path / RUN / "metrics.json").unlink()
    assert set(update(tmp_path)) == {ENERGY}


def test_a_provenance_inside_the_result_is_read(tmp_path):
    write(tmp_path / RUN / "metrics.json", {"provenance": HERE})
    write(tmp_path / f"{ENERGY}.json", {"provenance": THERE})
    assert update(tmp_path) == {RUN: HERE, ENERGY: THERE}


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(RunError, match=r"provenance\.json"):
        update(tmp_path)
