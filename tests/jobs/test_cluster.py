"""pipelines/cluster.py: what is submitted and what is not, what interrupted and failing jobs come to, and the books."""

import errno
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

pytest.importorskip("submitit", reason="needs the extra `cluster`")

import cluster
import cluster_project as project
import receipts
from cluster_board import Board, local_processes
from cluster_engines import OnThisMachine, Wishes
from cluster_job import Job, JobFailed
from small_studies import alongside, begun, line, take_away, until, write_params

from bpsta_cli import locks
from bpsta_cli.cli.main import run as bpsta
from bpsta_cli.config import load_params
from bpsta_cli.errors import BpstaError, SettingsError

ROOT = Path(__file__).parent.parent.parent


def here(board, only=""):
    return cluster.submit(board, cluster.Executor.LOCAL, Wishes(2), only)


def test_each_run_is_made_once_after_its_data_and_entered_into_the_books(board, capfd):
    assert here(board) == 0
    assert begun(board) == {
        "prepare@a": 1,
        "prepare@b": 1,
        "a-stbp-T2-s0": 1,
        "b-bpsa-T2-s0": 1,
        "a-ann-T2-s0": 1,
    }
    said = capfd.readouterr().out
    assert said.index("prepare@a ended") < said.index("a-stbp-T2-s0 begins")
    (entered,) = [set(words[1:]) for words in board.told if words[0] == "commit"]
    assert entered == {
        *("prepare@a", "prepare@b"),
        *("train@a-stbp-T2-s0", "train@b-bpsa-T2-s0", "train-only@a-ann-T2-s0"),
    }
    assert here(board) == 0
    assert "0 jobs to submit" in capfd.readouterr().out


def test_one_that_fails_is_told_with_its_last_line_and_once_mended_is_the_only_one_made(board, capfd):
    bad = Path("bad-train@a-stbp-T2-s0")
    bad.touch()
    assert here(board, only="^a") == cluster.FAILED
    table = " ".join(capfd.readouterr().out.split())
    assert "a-stbp-T2-s0 failed Error: train@a-stbp-T2-s0 is bad" in table
    assert "all 1 0 1 1" in table  # one done, one that was not asked for
    bad.unlink()
    before = {name: board.log(name).read_text() for name in begun(board)}
    assert here(board, only="^a") == 0
    assert {name for name, said in before.items() if board.log(name).read_text() != said} == {"a-stbp-T2-s0"}


def test_a_job_that_is_taken_away_lets_its_command_save_its_state_and_goes_on(board):
    slow = Path("slow-train@a-stbp-T2-s0")
    slow.touch()
    log = board.log("a-stbp-T2-s0")

    def away():
        until(lambda: log.is_file() and "begun" in log.read_text())
        take_away(board, "a-stbp-T2-s0")

    thread = alongside(away)
    assert here(board, only="a-stbp") == 0
    thread.join()
    assert log.read_text().split("\n")[:3] == ["begun train@a-stbp-T2-s0", "kept", "begun train@a-stbp-T2-s0"]


def test_at_a_signal_the_jobs_save_their_state_and_the_same_command_goes_on(board):
    Path("slow-train-only@a-ann-T2-s0").touch()
    thread = alongside(lambda: (until(lambda: begun(board).get("a-ann-T2-s0")), os.kill(os.getpid(), signal.SIGTERM)))
    assert here(board, only="ann") == cluster.UNFINISHED
    thread.join()
    assert "kept" in board.log("a-ann-T2-s0").read_text()
    assert local_processes(board, ["a-ann-T2-s0"]) == {}
    assert "a-ann-T2-s0" not in board.handed  # it did not fail
    assert here(board, only="ann") == 0


def test_jobs_of_a_process_that_was_killed_are_not_begun_again(board, capfd):
    slow = Path("slow-train-only@a-ann-T2-s0")
    slow.touch()
    engine = OnThisMachine(board, Wishes(2), print)
    (job,) = project.made_jobs(project.opened(board), ["a-ann-T2-s0"])
    engine._begin(job, 1)  # and here the process that hands out is killed
    until(lambda: begun(board).get("a-ann-T2-s0"))
    found = Board(board.folder)
    assert found.live() == {"a-ann-T2-s0": "running"}
    thread = alongside(lambda: (until(lambda: begun(found).get("prepare@a")), slow.unlink()))
    assert here(found, only="ann") == 0
    thread.join()
    assert "1 jobs to submit; 1 are submitted already" in capfd.readouterr().out
    assert begun(found) == {"prepare@a": 1, "a-ann-T2-s0": 1}
    engine._begun.popitem()[1].wait()


@pytest.mark.parametrize("content", ['{"a": {"job": 1}}', '{"a": 1}', "{"])
def test_a_damaged_list_of_jobs_is_said(tmp_path, content):
    (tmp_path / "jobs.json").write_text(content)
    with pytest.raises(BpstaError, match=r"jobs\.json"):
        Board(tmp_path)


def test_two_processes_do_not_hand_out_at_the_same_time(board):
    with board.held(), pytest.raises(BpstaError, match="Nothing is submitted twice"):
        here(Board(board.folder))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO])
def test_only_a_file_system_without_locks_is_handed_out_on_without_one(board, monkeypatch, number):
    def refused(descriptor, *, blocking):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks, "lock_descriptor", refused)
    with nullcontext() if number == errno.ENOLCK else pytest.raises(OSError, match=os.strerror(number)), board.held():
        pass


def test_each_job_on_this_machine_has_a_gpu_of_its_own(tmp_path):
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1)"
    board = Board(tmp_path / "logs")
    jobs = [Job(name, [sys.executable, "-c", code], tmp_path, board.log(name)) for name in ("a", "b")]
    OnThisMachine(board, Wishes(2, gpus=2), print).run(jobs)
    assert {board.log(name).read_text() for name in ("a", "b")} == {"0,1\n", "2,3\n"}


def test_a_training_that_is_taken_away_ends_with_the_bytes_of_one_that_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pipelines").symlink_to(ROOT / "pipelines")
    name, run = line("digits", "bpsa")
    write_params(Path("params.yaml"), [], [(name, run)], "digits", epochs=30)
    stage = f"train-only@{name}"
    study = load_params(Path("params.yaml"))
    for arguments in (
        ["prepare", "--params", "params.yaml", "--recipe", "digits", "--out", "data/stores/digits"],
        ["train", "--params", "params.yaml", "--run", name, "--out", "alone", "--threads", "1"],
    ):
        assert bpsta(arguments) == 0
    board = Board(tmp_path / "logs")
    log = board.log(name)

    def away():
        until(lambda: log.is_file() and "epoch   2/30" in log.read_text())
        take_away(board, name)

    thread = alongside(away)
    now = receipts.present(study)
    OnThisMachine(board, Wishes(1), print).run(project.made_jobs(project.Project(study, board, {stage}, now), [name]))
    thread.join()
    assert "the run there goes on after epoch" in log.read_text()
    assert receipts.holds(board.receipt(stage), stage, now)
    for file in receipts.outputs(stage, study):
        if file.parent.name == name:  # of the run itself
            assert file.read_bytes() == (tmp_path / "alone" / file.name).read_bytes()


def test_a_command_that_ends_by_a_strangers_signal_is_begun_again_and_one_that_is_killed_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster_job.GRACE", 0.0)
    once = (
        f"import os, pathlib, signal\np = pathlib.Path({str(tmp_path / 'once')!r})\nif not p.exists():\n    p.touch()\n"
    )
    ended = [sys.executable, "-c", f"{once}    os.kill(os.getpid(), signal.SIGTERM)"]
    Job("a", ended, tmp_path, tmp_path / "a")()
    killed = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    with pytest.raises(JobFailed, match="killed by signal 9: out of memory"):
        Job("b", killed, tmp_path, tmp_path / "b")()


def test_a_clusters_signal_to_all_processes_does_not_end_the_command_itself(tmp_path):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print('still here')"
    Job("a", [sys.executable, "-c", code], tmp_path, tmp_path / "log")()
    assert (tmp_path / "log").read_text() == "still here\n"


def test_only_a_preset_is_replaced_by_another_file(board, tmp_path):
    presets = tmp_path / "pipelines"
    presets.mkdir()
    write_params(presets / "large.yaml", [line("a", "bpsa")], [], "a")
    with pytest.raises(SettingsError, match=r"params\.yaml has settings of its own"):
        project.take_params(presets / "large.yaml")
    (presets / "small.yaml").write_bytes(Path("params.yaml").read_bytes())
    project.take_params(presets / "large.yaml")
    assert Path("params.yaml").read_bytes() == (presets / "large.yaml").read_bytes()


def test_more_jobs_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(cluster, "gpus_here", lambda: 2)
    assert cluster.places(cluster.Executor.LOCAL, None, None) == (2, 1)
    assert cluster.places(cluster.Executor.LOCAL, 5, 0) == (5, 0)
    with pytest.raises(SettingsError, match="more jobs than GPUs"):
        cluster.places(cluster.Executor.LOCAL, 3, None)


@pytest.mark.parametrize("given", [["gpu"], ["=x"], ["partition="], ["a=1", "a=2"]])
def test_an_option_of_sbatch_has_a_name_and_a_value(given):
    with pytest.raises(SettingsError, match="NAME=VALUE"):
        cluster.pairs(given)
