"""Progress without a terminal: a line now and then, with what is done, its rate and the time that is left."""

import itertools

import pytest

from bpsta_cli.cli import progress


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock is five seconds after the last."""
    ticks = itertools.count(start=0, step=5)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(ticks))


def test_a_line_says_what_is_done_how_fast_and_what_is_left(clock, capsys):
    with progress.Bar("samples") as bar:
        for done in (0, 50, 100):
            bar.update(done, 200, "test")
    # printed at 10 s: 50 samples in the 5 s since the first call; the next line would be printed at 20 s
    assert capsys.readouterr().err == "test: 50/200 samples, 10/s, 15 s left\n"


def test_the_rate_of_a_resumed_run_counts_from_where_it_goes_on(clock, capsys):
    with progress.Bar("steps") as bar:
        for done in (1000, 1010, 1020):
            bar.update(done, 1120, "epoch 3/4")
    assert capsys.readouterr().err == "epoch 3/4: 1010/1120 steps, 2/s, 55 s left\n"


@pytest.mark.parametrize(("size", "left"), [(200, 28), (400, 62)])
def test_the_rate_of_the_next_split_counts_from_its_own_beginning(clock, capsys, size, left):
    with progress.Bar("samples") as bar:
        for done in (1, 100, 200):
            bar.update(done, 200, "train")
        capsys.readouterr()
        for done in (1, 31, 60):
            bar.update(done, size, "test")
    assert capsys.readouterr().err == f"test: 31/{size} samples, 6/s, {left} s left\n"


def test_the_rate_leaves_out_what_was_done_before_the_number_of_samples_was_known(clock, capsys):
    with progress.Bar("samples") as bar:
        for done, total in ((0, 0), (1, 200), (51, 200)):
            bar.update(done, total, "test")
    assert capsys.readouterr().err == "test: 51/200 samples, 10/s, 15 s left\n"


def test_short_work_shows_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress.time, "monotonic", lambda: 1.0)
    with progress.Bar("samples") as bar:
        for done in range(5):
            bar.update(done, 5, "test")
    assert capsys.readouterr().err == ""


def test_an_unknown_total_is_no_error(clock, capsys):
    with progress.Bar("samples") as bar:
        for _ in range(4):
            bar.update(0, 0, "looking for the files")
    assert "looking for the files: 0/1" in capsys.readouterr().err
