"""Short runs that several tests train, interrupt and compare."""

import pandas as pd
import torch

from bpsta_cli.training import train
from bpsta_cli.training.run_directory import RunDir

CPU = torch.device("cpu")
SAME = ("settings.json", "model.safetensors", "history.csv", "metrics.json")
"""What an equal run leaves behind byte for byte; timings.json and the container of state.pt may differ."""


def run(settings, store, out, **options):
    events = list(train(settings, store, out, device=CPU, **options))
    return RunDir(out), events


def contents(out):
    return {name: (out / name).read_bytes() for name in SAME}


def history(out):
    return pd.read_csv(out / "history.csv")


def assert_same_run(one, other):
    assert contents(one) == contents(other)
    first, second = (RunDir(out).state() for out in (one, other))
    assert first.pop("history") == second.pop("history")
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def until(events, kind, count):
    """Take events up to the `count`-th of a kind, then stop as an interruption does."""
    found = 0
    for event in events:
        found += isinstance(event, kind)
        if found == count:
            events.close()
            return
    raise AssertionError("the run was over before")
