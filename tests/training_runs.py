"""Short runs that several tests train, interrupt and compare."""

import pandas as pd
import torch

from bpsta_cli.training import checkpoint_files, train
from bpsta_cli.training.run_directory import RunDir

CPU = torch.device("cpu")
SAME = ("settings.json", "model.safetensors", "history.csv", "metrics.json")
"""What an equal run leaves behind byte for byte; timings.json may differ."""


def run(settings, store, out, **options):
    events = list(train(settings, store, out, device=CPU, **options))
    return RunDir(out), events


def contents(out):
    return {name: (out / name).read_bytes() for name in SAME}


def history(out):
    return pd.read_csv(out / "history.csv")


def assert_same_run(one, other):
    assert contents(one) == contents(other)
    assert sorted(file.name for file in one.iterdir()) == sorted(file.name for file in other.iterdir())


def state(out):
    """The tensors and the rest of the newest checkpoint."""
    run = RunDir(out)
    return checkpoint_files.read(run.checkpoints.files()[0], run.info_checksum())


def network_state(out):
    return {name.removeprefix("network/"): each for name, each in state(out)[0].items() if name.startswith("network/")}


def until(events, kind, count):
    """Take events up to the `count`-th of a kind, then stop as an interruption does."""
    found = 0
    for event in events:
        found += isinstance(event, kind)
        if found == count:
            events.close()
            return
    raise AssertionError("the run was over before")
