"""pipelines/grid.py: which runs are trained, in which order, and what is left when one fails or time is up."""

import json
import os
import threading
import time

import pytest
import yaml
from test_pipeline import script

from bpsta_cli.config import Params, Run, load_params

grid = script("grid")
ENTRY = {"network": "4C3-AP8-10Voting", "epochs": 2, "warmup_epochs": 1, "batch_size": 64, "train_samples": 100}


def line(recipe, method, T, seed):
    return Run(dataset="digits", recipe=recipe, method=method, T=T, seed=seed)


def write_params(tmp_path, lines, **entries):
    file = tmp_path / "params.yaml"
    runs = {run.name: run.model_dump() for run in lines}
    file.write_text(yaml.safe_dump({"train_only": runs, "datasets": entries}))
    return file


@pytest.fixture
def bpsta_stand_in(tmp_path, monkeypatch):
    """A program that says that it has begun and waits for a signal, as a training does."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\ntrap 'echo kept; exit 143' TERM\necho begun $*\nwhile :; do sleep 0.02; done\n")
    program.chmod(0o755)
    monkeypatch.setattr(grid.sys, "executable", str(program))


def test_seeds_come_one_after_the_other_and_the_longest_runs_of_each_first():
    entries = {"long": ENTRY | {"epochs": 9}, "short": ENTRY}
    runs = [
        line(r, m, T, s) for s in (1, 0) for r in ("short", "long") for m, T in (("stbp", 2), ("stbp", 4), ("ann", 4))
    ]
    study = Params(train_only={run.name: run for run in runs}, datasets=entries)
    names = [run.name for run in grid.in_order(runs, study)]
    first = ["long-stbp-T4-s0", "long-stbp-T2-s0", "long-ann-T4-s0", "short-stbp-T4-s0", "short-stbp-T2-s0"]
    assert names[:5] == first
    assert [name[-2:] for name in names] == ["s0"] * 6 + ["s1"] * 6


def test_runs_are_trained_once_and_one_that_fails_keeps_none_from_being_trained(tmp_path, capfd):
    lines = [line("good", "stbp", 2, 0), line("bad", "stbp", 2, 0), line("good", "ann", 2, 0)]
    params = write_params(tmp_path, lines, good=ENTRY, bad=ENTRY | {"network": "4C3-MP9-10Voting"})
    what = {"data": tmp_path / "data", "jobs": 2, "seconds": float("inf"), "overwrite": False}
    assert grid.train_all(params, tmp_path / "out", only="", **what) == grid.FAILED
    said = capfd.readouterr().out
    assert "2 of 3 done, 1 failed" in said
    assert "failed: bad-stbp-T2-s0: " in said
    assert (tmp_path / "out" / "good-stbp-T2-s0" / "metrics.json").is_file()
    assert grid.train_all(params, tmp_path / "out", only="^good", **what) == 0
    assert "2 runs, 2 of them finished before" in capfd.readouterr().out


def test_a_finished_run_of_other_settings_is_none_of_this_study(tmp_path):
    params = load_params(write_params(tmp_path, [line("good", "stbp", 2, 0)], good=ENTRY))
    (run,) = params.runs.values()
    settings = params.settings_of(run)
    assert not grid.is_finished(tmp_path, settings)
    (tmp_path / "metrics.json").write_text("{}")
    assert not grid.is_finished(tmp_path, settings)
    (tmp_path / "settings.json").write_text(json.dumps({"settings": settings.model_dump()}))
    assert grid.is_finished(tmp_path, settings)
    assert not grid.is_finished(tmp_path, settings.model_copy(update={"seed": 1}))


def test_when_time_is_up_nothing_begins(tmp_path, capfd):
    params = write_params(tmp_path, [line("good", "stbp", 2, s) for s in range(3)], good=ENTRY)
    what = {"data": tmp_path / "data", "jobs": 1, "only": "", "overwrite": False}
    assert grid.train_all(params, tmp_path / "out", seconds=-1.0, **what) == grid.UNFINISHED
    assert "3 runs are left; the same command goes on" in capfd.readouterr().out
    assert not list(tmp_path.glob("out/*/metrics.json"))


def test_a_training_that_is_stopped_saves_its_state_and_is_no_failure(tmp_path, bpsta_stand_in):
    trainings, ended = grid.Trainings(), []
    log = tmp_path / "log"
    thread = threading.Thread(target=lambda: ended.append(trainings.train("a", ["--run", "a"], log)))
    thread.start()
    while not log.is_file() or b"begun" not in log.read_bytes():
        time.sleep(0.01)
    assert trainings.names() == ["a"]
    trainings.stop()
    thread.join()
    assert (ended[0].finished, ended[0].problem) == (False, "")
    assert log.read_text() == "begun -m bpsta_cli train --threads 1 --run a\nkept\n"
    assert trainings.train("b", [], tmp_path / "b") == grid.Trained(0.0, finished=False)


def test_a_training_has_one_thread(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho $OMP_NUM_THREADS $MKL_NUM_THREADS\n")
    program.chmod(0o755)
    monkeypatch.setattr(grid.sys, "executable", str(program))
    monkeypatch.setattr(os, "environ", os.environ | {"OMP_NUM_THREADS": "8"})
    assert grid.Trainings().train("a", [], tmp_path / "log").finished
    assert (tmp_path / "log").read_text() == "1 1\n"
