"""pipelines/repro.py: what is run at the same time, what is left out, and what the exit code says."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_pipeline import script

from bpsta_cli.config import Params, Run

DATA = {"network": "small", "epochs": 2, "warmup_epochs": 1, "batch_size": 1}
repro = script("repro")


def runs(*names):
    made = []
    for dataset in names:
        made += [Run(dataset=dataset, recipe=dataset, method=m, T=4, seed=s) for m in ("stbp", "ann") for s in (0, 1)]
    return made


@pytest.fixture
def study():
    both = {run.name: run for run in runs("digits", "mnist")}
    measured = {name: run for name, run in both.items() if run.method != "ann"}
    train_only = {name: run for name, run in both.items() if run.method == "ann"}
    return Params(measured=measured, train_only=train_only, datasets={"digits": DATA, "mnist": DATA})


class Recorder:
    """Stands in for the processes: notes what is started, and which waits end badly."""

    def __init__(self, *, stored=(), bad=()):
        self.started, self.waits, self.stored, self.bad = [], 0, stored, bad
        self.compiled = []

    def start(self, *arguments):
        self.started.append(arguments)
        if "prepare" in arguments:
            for entry in self.stored:
                folder = repro.STORES / entry
                folder.mkdir(parents=True)
                (folder / "T4.json").write_text("{}")

    def compile_kernels(self):
        self.compiled.append((len(self.started), self.waits))

    def wait(self):
        self.waits += 1
        return not any(word in self.started[-1] for word in self.bad)

    def share(self, word):
        return [arguments for arguments in self.started if word in arguments]


@pytest.fixture
def all_changed(monkeypatch, tmp_path, study):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(repro, "changed_runs", lambda study: (True, list(study.runs.values())))


@pytest.mark.parametrize("jobs", [1, 2, 3, 20])
def test_every_run_is_dealt_once_and_the_shares_are_alike(jobs):
    every = runs("digits", "mnist")
    dealt = repro.shares(every, jobs)
    assert sorted(run.name for share in dealt for run in share) == sorted(run.name for run in every)
    assert len(dealt) == min(jobs, len(every))
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    if jobs == 2:
        assert [[run.recipe for run in share] for share in dealt] == [["digits"] * 2 + ["mnist"] * 2] * 2


def test_a_run_is_measured_where_it_is_trained_and_a_twin_is_not(study):
    assert repro.stage_of(study, "digits-stbp-T4-s0") == "train@digits-stbp-T4-s0"
    assert repro.stage_of(study, "digits-ann-T4-s0") == "train-only@digits-ann-T4-s0"


def test_with_all_data_the_runs_go_side_by_side_and_one_pass_ends_it(all_changed, study):
    dvc = Recorder(stored=["digits", "mnist"])
    assert repro.regenerate(study, 2, dvc) == 0
    assert dvc.started[0] == ("repro", "--keep-going", "params-check", "code-train", "code-measure", "prepare")
    assert dvc.compiled == [(0, 0)]  # while the data are prepared, which is waited for afterwards
    assert len(dvc.share("--single-item")) == 2
    assert dvc.started[-1] == ("repro", "--keep-going")


def test_the_kernels_are_compiled_by_a_program_that_ends_well():
    dvc = repro.Processes()
    dvc.compile_kernels()
    assert dvc.wait()


def test_one_job_is_dvcs_own_order_alone(all_changed, study):
    dvc = Recorder(stored=["digits", "mnist"])
    repro.regenerate(study, 1, dvc)
    assert dvc.started[1:] == [("repro", "--keep-going")]


def test_runs_without_data_are_left_out_and_the_rest_is_made_and_reported(all_changed, study, capsys):
    dvc = Recorder(stored=["digits"], bad=["prepare"])
    assert repro.regenerate(study, 2, dvc) == 0
    assert not any("mnist" in word for arguments in dvc.started for word in arguments)
    assert dvc.started[-1] == ("repro", "--single-item", "--keep-going", "metrics", "report")
    assert "train@digits-stbp-T4-s1" in dvc.started[-2]
    assert "no data for mnist" in capsys.readouterr().out


def test_without_any_data_the_report_says_so_by_itself(all_changed, study):
    dvc = Recorder(bad=["prepare", "report"])
    assert repro.regenerate(study, 2, dvc) == 1
    assert [arguments[-1] for arguments in dvc.started] == ["prepare", "report"]


def test_a_stage_that_fails_with_its_data_there_is_a_failure(all_changed, study, capsys):
    assert repro.regenerate(study, 2, Recorder(stored=["digits", "mnist"], bad=["--keep-going"])) == 1
    assert "a stage failed" in capsys.readouterr().out


def test_a_stage_that_fails_is_a_failure_beside_missing_data_too(all_changed, study):
    dvc = Recorder(stored=["digits"], bad=["prepare", "train@digits-stbp-T4-s0"])
    assert repro.regenerate(study, 2, dvc) == 1
    assert dvc.started[-1] == ("repro", "--single-item", "--keep-going", "metrics", "report")


def test_nothing_is_started_where_nothing_changed(monkeypatch, study, capsys):
    monkeypatch.setattr(repro, "changed_runs", lambda study: (False, []))
    dvc = Recorder()
    assert repro.regenerate(study, 2, dvc) == 0
    assert len(dvc.started) == 1  # what all depend on
    assert "nothing to do" in capsys.readouterr().out


def test_the_runs_with_a_changed_stage_are_those_that_dvc_names(monkeypatch, study):
    told = json.dumps({"train@digits-stbp-T4-s1": [], "train-only@mnist-ann-T4-s0": [], "report": []}).encode()
    done = subprocess.CompletedProcess([], 0, stdout=told)
    monkeypatch.setattr(repro.subprocess, "run", lambda *_, **__: done)
    changed, found = repro.changed_runs(study)
    assert changed
    assert [run.name for run in found] == ["digits-stbp-T4-s1", "mnist-ann-T4-s0"]


def ended(pid):
    """No such process, or one that is dead and not yet collected by init."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.is_file() or stat.read_text().rsplit(")")[-1].split()[0] == "Z"


def test_what_was_started_ends_with_it(monkeypatch, tmp_path):
    """A stop signal reaches the command below DVC too."""
    fake = tmp_path / "dvc"
    fake.mkdir()
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "child.wait()\n"
    )
    monkeypatch.chdir(tmp_path)
    processes = repro.Processes()
    processes.start("repro")
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 30
    while not (pid.is_file() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    processes.end()
    assert processes.running[0].wait(10) == -signal.SIGTERM
    while not ended(pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended(pid.read_text())


STAGE = """
import signal, sys, time
sys.path.insert(0, "PIPELINES")
import stage
seen = []
def save(*_):  # as a training does: a second signal ends it at once
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    seen.append(time.monotonic())
HANDLED
stage.end_with_dvc(training=TRAINING, patience=PATIENCE)
print("begun", flush=True)
while not seen:
    time.sleep(0.01)
time.sleep(0.5)
print("saved", flush=True)
"""
DVC = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize(
    ("training", "handled", "patience", "group", "saved"),
    [
        (True, "signal.signal(signal.SIGTERM, save)", 60, False, True),
        (True, "signal.signal(signal.SIGTERM, save)", 60, True, True),
        (True, "", 1, False, False),
        (False, "", 60, False, False),
    ],
    ids=["training", "training that got the signal too", "training that cannot be asked", "no training"],
)
def test_a_command_ends_with_the_dvc_that_was_killed(training, handled, patience, group, saved):
    code = STAGE.replace("PIPELINES", str(Path(repro.__file__).parent)).replace("TRAINING", str(training))
    code = code.replace("HANDLED", handled).replace("PATIENCE", str(patience))
    with subprocess.Popen(
        [sys.executable, "-c", DVC, code], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as dvc:
        lines = {dvc.stdout.readline().strip() for _ in range(2)}
        (pid,) = lines - {"begun"}
        if group:
            os.killpg(dvc.pid, signal.SIGTERM)
        else:
            dvc.kill()
        rest = dvc.stdout.read()  # ends when the command does
    assert (rest == "saved\n") == saved
    deadline = time.monotonic() + 30
    while not ended(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended(pid)


@pytest.fixture
def started(monkeypatch, tmp_path):
    """A DVC that runs a command, once that has begun; the command's number is in a file `pid`."""

    def start(command):
        (tmp_path / "dvc").mkdir()
        (tmp_path / "dvc" / "__init__.py").touch()
        (tmp_path / "dvc" / "__main__.py").write_text(
            f"import subprocess\nsubprocess.run(['{sys.executable}', 'command.py'])\n"
        )
        ready = "import os, pathlib\npathlib.Path('p').write_text(str(os.getpid()))\npathlib.Path('p').rename('pid')\n"
        (tmp_path / "command.py").write_text(f"import signal, sys, time\n{command}{ready}time.sleep(60)\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(repro.signal, "signal", lambda *_: None)  # those of pytest stay
        processes = repro.Processes()
        processes.start("repro")
        deadline = time.monotonic() + 30
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return processes

    return start


def test_ending_waits_until_what_a_dvc_ran_has_saved_its_state(started, tmp_path):
    """A command that takes a moment over a stop signal, though its DVC dies at once."""
    processes = started(
        "def stop(*_):\n    time.sleep(0.5)\n    pathlib.Path('saved').touch()\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
    )
    processes.end()
    assert (tmp_path / "saved").exists()


def test_what_takes_too_long_over_a_stop_signal_is_killed(started, tmp_path):
    processes = started("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n")
    processes.end(seconds=0.1)
    assert ended((tmp_path / "pid").read_text())


def test_no_dvc_is_ended_in_the_middle_of_its_book_keeping(started):
    """It holds its lock then, and writes dvc.lock in place."""
    processes = started("")
    with ThreadPoolExecutor(1) as other:
        with repro.dvc_locks.quiet() as ours:
            assert ours
            ending = other.submit(processes.end)
            time.sleep(0.2)
            assert processes.running[0].poll() is None
        ending.result(60)
    assert processes.running[0].poll() == -signal.SIGTERM
