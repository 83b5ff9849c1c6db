"""Small studies whose stages are stand-ins, and what tests of their jobs wait for."""

import signal
import threading
import time

import yaml
from cluster_board import TASK, local_processes

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


def begun(board):
    """How often each job's command began, by job."""
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
