"""pipelines/cluster.py: what is submitted and what is not, what interrupted and failing jobs come to, and the books."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("submitit", reason="needs the extra `cluster`")

import cluster
import cluster_project as project
import receipts
import repro
from cluster_board import TASK, Board, Handed, local_processes
from cluster_engines import OnThisMachine, Wishes
from cluster_job import Job, JobFailed

from bpsta_cli.cli.main import run as bpsta
from bpsta_cli.config import load_params
from bpsta_cli.errors import BpstaError, SettingsError

ROOT = Path(__file__).parent.parent
ENTRY = {"network": "4C3-AP8-10Voting", "epochs": 2, "warmup_epochs": 1, "batch_size": 64, "train_samples": 100}
STAND_IN = """
import pathlib, signal, sys, time
stage, receipt = sys.argv[1], pathlib.Path(sys.argv[-1])
def keep(*_):
    pathlib.Path("slow-" + stage).unlink(missing_ok=True)
    print("kept", flush=True)
    sys.exit(143)
signal.signal(signal.SIGUSR1, keep)
print("begun", stage, flush=True)
while pathlib.Path("slow-" + stage).exists():
    time.sleep(0.02)
if pathlib.Path("bad-" + stage).exists():
    sys.exit("Error: " + stage + " is bad")
receipt.parent.mkdir(parents=True, exist_ok=True)
receipt.touch()
"""
"""Stands in for pipelines/stage.py: makes nothing but its receipt; slow, or failing, where a file says so."""


def line(recipe, method, seed=0):
    return f"{recipe}-{method}-T2-s{seed}", {
        "dataset": "digits",
        "recipe": recipe,
        "method": method,
        "T": 2,
        "seed": seed,
    }


def write_params(file, measured, train_only, *recipes, **other):
    content = {"measured": dict(measured), "train_only": dict(train_only), "variants": {}, "stand_ins": {}}
    file.write_text(yaml.safe_dump({**content, "datasets": dict.fromkeys(recipes, ENTRY | other)}, sort_keys=False))


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A project of three runs of two recipes, none made; stages are stand-ins, and DVC only notes what it is told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stage.py").write_text(STAND_IN)
    write_params(tmp_path / "params.yaml", [line("a", "stbp"), line("b", "bpsa")], [line("a", "ann")], "a", "b")
    study = load_params(Path("params.yaml"))
    every = {f"prepare@{name}" for name in study.datasets}
    every |= {stage for name in study.runs for stage in repro.stages_of(study, name)}
    told = []
    monkeypatch.setattr(project, "STAGE", "stage.py")
    monkeypatch.setattr(project, "dvc", lambda *arguments: told.append(arguments))
    monkeypatch.setattr(project, "enter", lambda made: (every.difference_update(made), told.append(("commit", *made))))
    monkeypatch.setattr(repro, "changed_stages", lambda: set(every))
    monkeypatch.setattr(receipts, "holds", lambda file, stage, study: file.is_file())
    board = Board(tmp_path / "logs")
    board.told = told
    return board


def here(board, only=""):
    return cluster.submit(board, cluster.Executor.LOCAL, Wishes(2), only)


def begun(board):
    """How often each job's commands began, by job."""
    logs = (board.folder / "logs").glob("*.log")
    return {log.stem: log.read_text().count("begun") for log in logs}


def until(happens):
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alongside(what):
    thread = threading.Thread(target=what)
    thread.start()
    return thread


def take_away(board, name):
    """What a cluster does where somebody else goes before. (submitit's own `_interrupt` ends the local controller.)"""
    (task,) = [each for each in local_processes(board, [name])[name] if TASK in each.cmdline()]
    task.send_signal(signal.SIGUSR2)


def test_each_run_is_made_once_after_its_data_and_entered_into_the_books(board, capfd):
    assert here(board) == 0
    assert begun(board) == {
        "prepare@a": 1,
        "prepare@b": 1,
        "a-stbp-T2-s0": 2,  # trained, then measured
        "b-bpsa-T2-s0": 2,
        "a-ann-T2-s0": 1,
    }
    said = capfd.readouterr().out
    assert said.index("prepare@a ended") < said.index("a-stbp-T2-s0 begins")
    (entered,) = [set(words[1:]) for words in board.told if words[0] == "commit"]
    assert entered == {
        *("prepare@a", "prepare@b", "train@a-stbp-T2-s0", "measure@a-stbp-T2-s0"),
        *("train@b-bpsa-T2-s0", "measure@b-bpsa-T2-s0", "train-only@a-ann-T2-s0"),
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
    before = begun(board)
    assert here(board, only="^a") == 0
    assert {name for name, count in begun(board).items() if count != before[name]} == {"a-stbp-T2-s0"}


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
    assert log.read_text().split("\n")[:4] == [
        "begun train@a-stbp-T2-s0",
        "kept",
        "begun train@a-stbp-T2-s0",
        "begun measure@a-stbp-T2-s0",
    ]


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


def test_each_job_on_this_machine_has_a_gpu_of_its_own(tmp_path):
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1)"
    board = Board(tmp_path / "logs")
    jobs = [Job(name, [[sys.executable, "-c", code]], tmp_path, board.log(name)) for name in ("a", "b")]
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
    OnThisMachine(board, Wishes(1), print).run(project.made_jobs(project.Project(study, board, {stage}), [name]))
    thread.join()
    assert "the run there goes on after epoch" in log.read_text()
    assert receipts.holds(board.receipt(stage), stage, study)
    for file in receipts.outputs(stage, study):
        assert file.read_bytes() == (tmp_path / "alone" / file.name).read_bytes()


def test_a_command_that_ends_by_a_strangers_signal_is_begun_again_and_one_that_is_killed_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster_job.GRACE", 0.0)
    once = (
        f"import os, pathlib, signal\np = pathlib.Path({str(tmp_path / 'once')!r})\nif not p.exists():\n    p.touch()\n"
    )
    ended = Job(
        "a", [[sys.executable, "-c", f"{once}    os.kill(os.getpid(), signal.SIGTERM)"]], tmp_path, tmp_path / "l"
    )
    ended()
    killed = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    with pytest.raises(JobFailed, match="killed by signal 9: out of memory"):
        Job("b", [killed], tmp_path, tmp_path / "b")()


def test_a_clusters_signal_to_all_processes_does_not_end_the_command_itself(tmp_path):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print('still here')"
    Job("a", [[sys.executable, "-c", code]], tmp_path, tmp_path / "log")()
    assert (tmp_path / "log").read_text() == "still here\n"


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


def test_only_a_preset_is_replaced_by_another_file(board, tmp_path):
    presets = tmp_path / "pipelines"
    presets.mkdir()
    write_params(presets / "large.yaml", [line("a", "bpsa")], [], "a")
    with pytest.raises(SettingsError, match=r"params\.yaml has settings of its own"):
        project.take_params(presets / "large.yaml")
    (presets / "small.yaml").write_bytes(Path("params.yaml").read_bytes())
    project.take_params(presets / "large.yaml")
    assert Path("params.yaml").read_bytes() == (presets / "large.yaml").read_bytes()


def test_what_is_entered_into_dvc_lock_is_unchanged_for_dvc_and_nothing_else_is(tmp_path, monkeypatch):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    for file in ("dvc.yaml", ".dvcignore"):
        Path(file).write_text((ROOT / file).read_text())
    preset = yaml.safe_load((ROOT / "params.yaml").read_text())
    runs = dict([line("digits", "ann", seed) for seed in (0, 1, 2)])
    Path("params.yaml").write_text(yaml.safe_dump({**preset, "measured": {}, "train_only": runs}, sort_keys=False))
    stages = [f"train-only@{name}" for name in runs]
    study = load_params(Path("params.yaml"))
    made = [path for stage in stages for path in receipts.outputs(stage, study)]
    for file in (Path("data/stores/digits/T2.json"), Path("data/code/train.sha256"), *made):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(file))
    Repo.init(no_scm=True).close()
    project.enter(stages[:2])
    with Repo() as repo:
        assert set(repo.status(targets=stages)) == {stages[2]}


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


STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", ["prepare", "train", "train-only", "measure"])
def test_a_receipt_names_the_files_that_dvc_keeps(stage, tmp_path):
    write_params(tmp_path / "params.yaml", [line("a", "stbp")], [line("a", "ann")], "a")
    name = {"prepare": "a", "train-only": "a-ann-T2-s0"}.get(stage, "a-stbp-T2-s0")
    named = receipts.outputs(f"{stage}@{name}", load_params(tmp_path / "params.yaml"))
    body = STAGES[stage]["do"]
    kept = [path.replace("${key}", name) for each in (*body["outs"], *body.get("plots", [])) for path in each]
    assert {str(path) for path in named} == ({"data/stores/a/T2.json"} if stage == "prepare" else set(kept))
    if stage == "prepare":
        assert kept == ["data/stores/a"]


def test_a_receipt_holds_for_these_settings_data_code_and_files_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "params.yaml", [], [line("a", "ann")], "a")
    study, stage, receipt = load_params(Path("params.yaml")), "train-only@a-ann-T2-s0", Path("receipt")
    with pytest.raises(SettingsError, match="prepare@a is not made"):
        receipts.inputs(stage, study)
    store = Path("data/stores/a/T2.json")
    for file in (store, *receipts.outputs(stage, study)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name)
    assert not receipts.holds(receipt, stage, study)
    receipts.write(receipt, stage, study, receipts.inputs(stage, study))
    assert receipts.holds(receipt, stage, study)
    other = study.model_copy(update={"neuron": study.neuron.model_copy(update={"decay": 0.5})})
    assert not receipts.holds(receipt, stage, other)
    with monkeypatch.context() as patch:
        patch.setattr(receipts, "digests", lambda what: "other code")
        assert not receipts.holds(receipt, stage, study)
    for file in (store, *receipts.outputs(stage, study)):
        before = file.read_text()
        file.write_text("other")
        assert not receipts.holds(receipt, stage, study)
        file.write_text(before)
    assert receipts.holds(receipt, stage, study)
