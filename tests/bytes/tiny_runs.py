"""Six runs that take a second each, of every kind of data, rule and layer, and the hashes of what they leave.

As a script it trains runs and prints their hashes as JSON: `python tests/bytes/tiny_runs.py --help`.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from odd_addresses import OddAddresses
from sklearn.datasets import load_digits

from bpsta_cli.config import Preparation, RunSettings
from bpsta_cli.data import catalogue
from bpsta_cli.data.datasets import synthetic
from bpsta_cli.data.preparation import applied
from bpsta_cli.data.sources import Images, Source
from bpsta_cli.data.store import build, open_store
from bpsta_cli.evaluation.accuracy import evaluate
from bpsta_cli.training import train
from bpsta_cli.training.epoch import StepDone
from bpsta_cli.training.run_directory import RunDir
from bpsta_cli.training.run_network import load_weights, network_of

HASHES = Path(__file__).parent / "hashes.json"
CPU = torch.device("cpu")
ODD_NETWORK = "5C3-MP2-9C3-AP2-2Voting"
"""Filters that fill no vector of any processor."""
RUNS = {
    "static": {"method": "bpsta", "T": 3, "data": {"network": ODD_NETWORK, "epochs": 3, "warmup_epochs": 1}},
    "events": {
        "dataset": "synthetic-gestures",
        "method": "stbp",
        "T": 4,
        "data": {"network": "6C5-MP2-8C3-MP2-2Voting", "batch_size": 11, "augmentation": "standard"},
        "training": {
            "norm": "tdbn",
            "loss": "cross-entropy",
            "label_smoothing": 0.1,
            "clip_norm": 0.5,
            "warmup": "none",
        },
    },
    "speech": {
        "dataset": "synthetic-speech",
        "method": "bpsa",
        "T": 4,
        "data": {"network": "6C3-MP2-8C3-MP2-30FC-2Voting", "batch_size": 7, "augmentation": "standard"},
        "training": {
            "loss": "tet",
            "schedule": "sgdr",
            "sgdr_period": 1,
            "warmup": "none",
            "idle_momentum": False,
            "norm_weight_decay": False,
        },
    },
    "residual": {
        "method": "bpsta",
        "T": 2,
        "data": {"network": "resnet18", "epochs": 1, "train_samples": 20, "batch_size": 10},
        "training": {"loss": "one-sided", "spike_penalty": 0.1},
    },
    "dropout": {
        "method": "bpsa",
        "T": 3,
        "data": {"network": "6C3-DP-MP2-20FC-DP-2Voting"},
        "training": {
            "norm": "per-step",
            "recompute": True,
            "accumulate": 2,
            "selection": "test",
            "initial_rate": 0.2,
            "spike_penalty": 0.01,
        },
    },
    "resumed": {
        "method": "stbp",
        "T": 3,
        "data": {"network": ODD_NETWORK, "epochs": 3, "warmup_epochs": 1},
        "training": {"silent_gradient": 1, "initial_rate": 0.2},
    },
}
"""What differs from a run on digits of two epochs without warm-up, under its name."""
DATA = {"epochs": 2, "warmup_epochs": 0, "batch_size": 32}
SIZES = {"digits": (96, 40), "synthetic-gestures": (22, 11), "synthetic-speech": (20, 10)}
"""Samples to train on and to test on."""
INTERRUPTED_AT = ("resumed", 5)
"""This run is broken off after so many steps, in its second epoch, and taken up again."""


def settings_of(name):
    """The settings of one of `RUNS`."""
    chosen = {"dataset": "digits", "seed": 3, **RUNS[name]}
    return RunSettings.model_validate({**chosen, "data": {**DATA, **chosen["data"]}})


def store_of(settings, folder):
    """The prepared data of a run, of few samples, made in `folder`."""
    row = catalogue.get(settings.dataset)
    how = applied(Preparation(T=settings.T, size=32 if row.kind == "events" else None), row)
    row = dataclasses.replace(row, counts=SIZES[settings.dataset])
    source = SOURCES[settings.dataset](row, None, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    build.build(folder, row, how, source, lambda *_: None, processes=1)
    return open_store(folder)


def _digits(row, _, folder):
    """The first of scikit-learn's digits."""
    bunch, (train_samples, test_samples) = load_digits(), row.counts
    x, y = bunch.images[:, None].astype(np.uint8), bunch.target.astype(np.int64)
    rows = {"train": slice(train_samples), "test": slice(train_samples, train_samples + test_samples)}
    return Source(folder, (), lambda split: Images(x[rows[split]], y[rows[split]]))


SOURCES = {
    "digits": _digits,
    "synthetic-gestures": synthetic.synthetic_gestures,
    "synthetic-speech": synthetic.synthetic_speech,
}


def trained(name, folder, *, kill_at=None):
    """Train one of `RUNS` in `folder`; what it left, hashed.

    With `kill_at` the process ends at that step as a crash would end it; called again, the run goes on.
    """
    settings = settings_of(name)
    store = store_of(settings, folder / "stores" / f"{settings.dataset}-{os.getpid()}")
    out = folder / name
    if kill_at is not None:
        for step in _steps(settings, store, out):
            if step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
    if name == INTERRUPTED_AT[0] and not out.exists():
        next(step for step in _steps(settings, store, out) if step == INTERRUPTED_AT[1])
    for _ in _steps(settings, store, out):
        pass
    run = RunDir(out)
    assert _measured_again(run, store) == tuple(run.metrics()[key] for key in ("accuracy", "loss", "firing_rate"))
    return hashes(run, store)


def _measured_again(run, store):
    """Accuracy, loss and firing rate of the weights that a run left, in a network made for it."""
    settings = run.info().settings
    network = network_of(settings, store.shape, len(store.classes))
    load_weights(network, run.weights(), run.path)
    found = evaluate(network, store, store.split("test"), T=settings.T, device=CPU, loss=settings.training.loss)
    return found.accuracy, found.loss, found.firing_rate


def _steps(settings, store, out):
    """The number of each training step, from 1."""
    count = 0
    for event in train(settings, store, out, device=CPU, resume=out.exists()):
        if isinstance(event, StepDone):
            count += 1
            yield count


def hashes(run, store):
    """Hashes of the prepared data, the weights, the history and the metrics."""
    contents = {
        "data": store.content_hash.encode(),
        "weights": (run.path / "model.safetensors").read_bytes(),
        "history": (run.path / "history.csv").read_bytes(),
        "metrics": json.dumps(run.metrics(), sort_keys=True).encode(),
    }
    return {part: hashlib.sha256(content).hexdigest()[:16] for part, content in contents.items()}


def main():
    """Train the runs that the options name and print what they left, or write it to hashes.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("runs", nargs="*", help=f"of {', '.join(RUNS)}; none: all")
    parser.add_argument("--folder", type=Path, help="where to train; none: a temporary folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--odd", action="store_true", help="keep every tensor at an odd address")
    parser.add_argument("--kill-at", type=int, help="end the process at this step, as a crash would")
    parser.add_argument("--write", action="store_true", help=f"write {HASHES.name} anew")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="bpsta-bytes-") as new, OddAddresses() if options.odd else nullcontext():
        folder = options.folder or Path(new)
        found = {name: trained(name, folder, kill_at=options.kill_at) for name in options.runs or RUNS}
    text = json.dumps(found, indent=2) + "\n"
    if options.write:
        HASHES.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
