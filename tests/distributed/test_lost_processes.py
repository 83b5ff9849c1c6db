"""A process that dies or hangs ends all of them within a stated time; the run goes on from its checkpoint."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer.main
from rank_processes import CPU, environment, exit_codes, free_port, start
from torch.distributed.run import get_args_parser

from bpsta_cli.cli.main import USER_ERROR, app, run
from bpsta_cli.distributed import meeting
from bpsta_cli.errors import SettingsError
from bpsta_cli.training import run_lock
from bpsta_cli.training.run_directory import RunDir

ROOT = Path(__file__).parents[2]
TINY = "--T 2 --epochs 3 --warmup-epochs 1 --batch-size 30 --train-samples 240 --network 4C3-MP2-8C3-AP4-8FC-DP-2Voting"
SAME = ("settings.json", "model.safetensors", "history.csv", "metrics.json")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits-data")
    assert run(["prepare", "--dataset", "digits", "--data-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """The files of a run by one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert run(command(data, out)) == 0
    return contents(out)


def command(data, out, *more):
    places = ["--data-dir", str(data), "--out", str(out), "--checkpoint-minutes", "0"]
    return ["train", "--dataset", "digits", *TINY.split(), *places, *more]


def contents(out):
    return {name: (out / name).read_bytes() for name in SAME}


def wait_for_a_checkpoint(out):
    until = time.monotonic() + 60
    while not list(out.glob("checkpoints/epoch-000001-*")):
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.parametrize(("rank", "how"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_all_end_when_one_is_gone_and_the_same_command_finishes_the_run(data, alone, tmp_path, rank, how):
    out, seconds = tmp_path / "run", 3.0
    children = start(3, lambda _rank: run(command(data, out)), tmp_path / "log", BPSTA_RANK_SECONDS=str(seconds))
    wait_for_a_checkpoint(out)
    os.kill(children[rank], how)
    others = [child for child in children if child != children[rank]]
    codes = exit_codes(others, seconds + 20)  # much else may run on the machine
    if how == signal.SIGSTOP:
        os.kill(children[rank], signal.SIGKILL)
    exit_codes([children[rank]])
    said = (tmp_path / "log").read_text()
    assert codes == [USER_ERROR] * 2, said
    assert said.count("another process of the run is gone or does not answer") == 2
    assert "Traceback" not in said
    assert RunDir(out).checkpoints.files()
    assert not RunDir(out).finished
    again = start(2, lambda _rank: run(command(data, out)), tmp_path / "again", restarts=1)
    assert exit_codes(again) == [0, 0], (tmp_path / "again").read_text()
    assert contents(out) == alone


SLOW_LOGGER = """
import time
from bpsta_cli import tracking

@tracking.register
class Slow:
    name = "slow"

    def start(self, run):
        time.sleep(4)

    def epoch(self, row):
        pass

    def finish(self, end):
        pass
"""


def test_a_logger_that_takes_long_to_start_is_waited_for(data, alone, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_LOGGER)
    out, log = tmp_path / "run", tmp_path / "log"
    more = ["--log", str(tmp_path / "slow.py")]
    children = start(2, lambda _rank: run(command(data, out, *more)), log, BPSTA_RANK_SECONDS="2")
    assert exit_codes(children) == [0, 0], log.read_text()
    assert contents(out) == alone


def test_processes_that_are_started_again_go_on_even_where_the_command_says_overwrite(data, tmp_path):
    out, options = tmp_path / "run", ("--overwrite",)
    children = start(2, lambda _rank: run(command(data, out, *options)), tmp_path / "log")
    wait_for_a_checkpoint(out)
    os.kill(children[1], signal.SIGTERM)  # asks it to stop: both do, with a checkpoint
    assert exit_codes(children) == [143, 143], (tmp_path / "log").read_text()
    again = start(2, lambda _rank: run(command(data, out, *options)), tmp_path / "again", restarts=1)
    assert exit_codes(again) == [0, 0]
    said = (tmp_path / "again").read_text()
    assert said.count("the run there goes on after epoch 1") == 1


def test_processes_that_are_started_again_refuse_what_the_first_start_refused(data, tmp_path):
    """A finished shorter run, which only --resume would train for longer."""
    out, options = tmp_path / "run", ("--schedule", "sgdr", "--lr-warmup-epochs", "1", "--keep-state")
    assert run(command(data, out, *options)) == 0
    before = contents(out)

    def longer(_rank):
        return run(command(data, out, *options, "--epochs", "4"))

    assert exit_codes(start(2, longer, tmp_path / "log", restarts=1)) == [USER_ERROR] * 2
    assert "the run directory is taken" in (tmp_path / "log").read_text()
    assert contents(out) == before


def test_one_process_speaks_and_the_run_directory_is_required(data, tmp_path, monkeypatch, capsys):
    children = start(2, lambda _rank: run(command(data, tmp_path / "run")), tmp_path / "log")
    assert exit_codes(children) == [0, 0]
    assert (tmp_path / "log").read_text().count("test accuracy") == 1
    for name, value in environment(0, 1, free_port()).items():
        monkeypatch.setenv(name, value)
    assert run(["train", "--dataset", "digits", "--data-dir", str(data)]) == USER_ERROR
    assert "no run directory for all processes" in capsys.readouterr().err


def test_processes_with_other_settings_refuse_each_other(data, tmp_path):
    def work(rank):
        return run(command(data, tmp_path / "run", "--seed", str(rank)))

    assert exit_codes(start(2, work, tmp_path / "log")) == [USER_ERROR] * 2
    assert "processes that are to train different runs" in (tmp_path / "log").read_text()
    assert not RunDir(tmp_path / "run").exists


def test_a_run_directory_that_is_taken_ends_all(data, tmp_path):
    assert run(command(data, tmp_path / "run", "--seed", "5")) == 0
    assert exit_codes(start(2, lambda _rank: run(command(data, tmp_path / "run")), tmp_path / "log")) == [2, 2]
    assert "the run directory is taken" in (tmp_path / "log").read_text()


def test_a_run_directory_that_is_in_use_ends_all_with_the_reason(data, tmp_path):
    with run_lock.held(tmp_path / "run"):
        children = start(2, lambda _rank: run(command(data, tmp_path / "run")), tmp_path / "log")
        assert exit_codes(children) == [2, 2]
    assert (tmp_path / "log").read_text().count("the run directory is in use") == 2


def test_checkpoints_that_cannot_be_used_end_all_with_the_reason(data, tmp_path):
    out = tmp_path / "run"
    children = start(2, lambda _rank: run(command(data, out)), tmp_path / "log")
    wait_for_a_checkpoint(out)
    os.kill(children[0], signal.SIGTERM)
    exit_codes(children)
    for file in RunDir(out).checkpoints.files():
        file.write_bytes(b"damaged")
    assert exit_codes(start(2, lambda _rank: run(command(data, out)), tmp_path / "again")) == [2, 2]
    assert (tmp_path / "again").read_text().count("unreadable training state") == 2


def test_more_processes_than_shares_are_refused_unless_sums_are_added_as_they_come(monkeypatch):
    for name, value in environment(0, 13, free_port()).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="at most 12"), meeting.met(CPU, "shares", compiled=True):
        pass


def test_a_wait_that_is_no_time_is_refused(monkeypatch):
    monkeypatch.setenv("BPSTA_RANK_SECONDS", "soon")
    with pytest.raises(SettingsError, match="BPSTA_RANK_SECONDS"):
        meeting._seconds()


def test_torchrun_hands_every_option_of_train_on():
    options = [each.opts[0] for each in typer.main.get_command(app).commands["train"].params]
    words = [word for option in options for word in (option, "1")]
    read = get_args_parser().parse_args(["--nproc-per-node", "2", "-m", "--", "bpsta_cli", "train", *words])
    assert [read.training_script, *read.training_script_args] == ["bpsta_cli", "train", *words]


def test_torchrun_starts_the_processes_again_and_the_run_has_the_bytes_of_one(data, alone, tmp_path):
    out = tmp_path / "run"
    starter = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [*starter, "--max-restarts", "2", "-m", "--", "bpsta_cli", *command(data, out)]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(line, env=environ, stdout=log, stderr=log) as torchrun:
        wait_for_a_checkpoint(out)
        workers = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split()
        os.kill(int(workers[-1]), signal.SIGKILL)
        code = torchrun.wait(120)
    said = (tmp_path / "log").read_text()
    assert code == 0, said
    assert said.count("the run there goes on after") == 1
    assert contents(out) == alone
