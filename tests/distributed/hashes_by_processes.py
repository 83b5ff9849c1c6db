"""Hashes of weights that runs over 1, 2, 3 and 4 processes leave, for three structures and three rules.

    python -m tests.distributed.hashes_by_processes

Each run has augmentation, dropout where the structure has any, a batch at the end of an epoch that is not full, and
the settings' other defaults. The exit code is 1 where two numbers of processes left other bytes.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

import torch
import typer

import bpsta_cli
from bpsta_cli.cli.main import run
from bpsta_cli.training import loop  # noqa: F401 - loaded before the first fork
from tests.distributed.rank_processes import exit_codes, start

NETWORKS = {
    "cnn": ["--network", "8C3-MP2-16C3-AP4-16FC-DP-2Voting", "--train-samples", "220", "--batch-size", "50"],
    "mlp": ["--network", "64FC-DP-64FC-DP-2Voting", "--train-samples", "220", "--batch-size", "50"],
    "resnet18": ["--network", "resnet18", "--train-samples", "31", "--batch-size", "24"],
}
RULES = ("stbp", "bpsa", "bpsta")
PROCESSES = (1, 2, 3, 4)
COMMON = ["--dataset", "digits", "--T", "3", "--epochs", "2", "--warmup-epochs", "1", "--augmentation", "standard"]
FILES = ("model.safetensors", "history.csv", "metrics.json")


def digest(out: Path) -> str:
    """The beginnings of the files' hashes."""
    return ", ".join(hashlib.sha256((out / name).read_bytes()).hexdigest()[:12] for name in FILES)


def main() -> None:
    """Print a table in Markdown."""
    bpsta_cli.lif(torch.rand(1, 1, 1))
    different = 0
    numbers = ", ".join(map(str, PROCESSES))
    typer.echo(f"| network | rule | {', '.join(FILES)} | over {numbers} processes |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(["prepare", "--dataset", "digits", "--data-dir", str(folder / "data")])
        for network, options in NETWORKS.items():
            for rule in RULES:
                found = []
                for world in PROCESSES:
                    out = folder / f"{network}-{rule}-{world}"
                    places = ["--data-dir", str(folder / "data"), "--out", str(out)]
                    command = ["train", *COMMON, *options, "--method", rule, *places]
                    codes = exit_codes(start(world, lambda _rank, line=command: run(line), folder / "log"), 1200)
                    if any(codes):
                        raise SystemExit((folder / "log").read_text())
                    found.append(digest(out))
                equal = len(set(found)) == 1
                different += not equal
                typer.echo(f"| {network} | {rule} | {found[0]} | {'equal' if equal else ', '.join(found)} |")
                sys.stdout.flush()
    sys.exit(different > 0)


if __name__ == "__main__":
    typer.run(main)
