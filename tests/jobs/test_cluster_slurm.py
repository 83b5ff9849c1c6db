"""pipelines/cluster.py under SLURM, whose commands are stand-ins: what is submitted, and what is not."""

import os

import pytest

pytest.importorskip("submitit", reason="needs the extra `cluster`")

import cluster
import cluster_project as project
from cluster_board import Board, Handed
from cluster_engines import Wishes

from bpsta_cli.errors import BpstaError, SettingsError

SBATCH = """#!/bin/sh
cp "$1" SUBMITTED/$(ls SUBMITTED | wc -l)
echo Submitted batch job $((40 + $(ls SUBMITTED | wc -l)))
"""
"""Stands in for SLURM's: keeps what is submitted."""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Stand-ins for SLURM's commands; `queue` is what squeue says, nothing where it fails."""
    programs, submitted = tmp_path / "programs", tmp_path / "submitted"
    programs.mkdir()
    submitted.mkdir()
    scripts = {
        "sbatch": SBATCH.replace("SUBMITTED", str(submitted)),
        "srun": "",
        "squeue": f"#!/bin/sh\ncat {tmp_path / 'queue'}\n",
    }
    for name, content in scripts.items():
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    (tmp_path / "queue").touch()
    return submitted


def options(file):
    """What an sbatch file asks for."""
    words = [line.removeprefix("#SBATCH --") for line in file.read_text().split("\n") if line.startswith("#SBATCH")]
    return dict(word.partition("=")[::2] for word in words)


def to_the_cluster(board):
    return cluster.submit(board, cluster.Executor.SLURM, Wishes(2, gpus=1, slurm={"partition": "big"}), "")


def test_slurm_has_the_data_then_an_array_with_a_cap_then_the_books(board, slurm, tmp_path):
    assert to_the_cluster(board) == 0
    data, runs, books = (options(file) for file in sorted(slurm.iterdir()))
    assert (data["array"], runs["array"]) == ("0-1%2", "0-2%2")
    assert (runs["dependency"], books["dependency"]) == ("afterany:41", "afterany:42")
    assert {each["partition"] for each in (data, runs, books)} == {"big"}
    assert "requeue" in runs
    assert ["gpus-per-node" in each for each in (data, runs, books)] == [False, True, False]
    assert runs["signal"].startswith("USR2@")
    assert board.handed["b-bpsa-T2-s0"] == Handed("slurm", runs["job-name"], place=1)


def test_what_slurm_has_is_not_submitted_again_and_without_its_answer_nothing_is(board, slurm, tmp_path):
    to_the_cluster(board)
    places = {each.batch: [] for each in board.handed.values()}
    for name, each in board.handed.items():
        places[each.batch].append(f"{each.batch}|{each.place}|{'PENDING' if '@' in name else 'RUNNING'}|41")
    (tmp_path / "queue").write_text("\n".join(line for lines in places.values() for line in lines))
    before = len(list(slurm.iterdir()))
    assert to_the_cluster(Board(board.folder)) == 0
    assert len(list(slurm.iterdir())) == before
    (tmp_path / "queue").unlink()
    with pytest.raises(BpstaError, match="without its answer nothing is submitted"):
        to_the_cluster(Board(board.folder))


def test_what_slurm_does_not_take_is_not_handed_out(board, slurm, tmp_path):
    (tmp_path / "programs" / "sbatch").write_text("#!/bin/sh\necho sbatch: error: invalid partition >&2\nexit 1\n")
    with pytest.raises(SettingsError, match="got sbatch: error: invalid partition"):
        to_the_cluster(board)
    assert board.handed == {}


def test_a_job_that_slurm_no_longer_has_and_that_made_nothing_is_told_as_failed(board, slurm, capfd):
    to_the_cluster(board)
    batch = board.handed["a-ann-T2-s0"].batch
    place = board.handed["a-ann-T2-s0"].place
    (board.jobs_folder(batch) / f"42_{place}_0_log.err").write_text("slurmstepd: error: no such python\n")
    cluster.show(project.opened(board))
    assert "a-ann-T2-s0 failed slurmstepd: error: no such python" in " ".join(capfd.readouterr().out.split())
