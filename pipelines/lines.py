"""Prints lines of params.yaml for every combination of data sets, methods, lengths and seeds.

    python pipelines/lines.py --dataset digits --method stbp bpsa bpsta --T 8 --seed 0 1 2

`--dataset cifar10:cifar10-resnet34` is cifar10 with the entry cifar10-resnet34 of `datasets`.
"""

import argparse
import itertools

from bpsta_cli.config import Run


def lines(datasets: list[str], methods: list[str], lengths: list[int], seeds: list[int]) -> list[str]:
    """A line a run, as they stand under `measured` or `train_only`."""
    runs = []
    for dataset, T, method, seed in itertools.product(datasets, lengths, methods, seeds):
        name, _, recipe = dataset.partition(":")
        runs.append(Run(dataset=name, recipe=recipe or name, method=method, T=T, seed=seed))
    return [f"  {run.name}: {{{', '.join(f'{key}: {value}' for key, value in run)}}}" for run in runs]


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", required=True, metavar="NAME[:RECIPE]")
    parser.add_argument("--method", nargs="+", required=True)
    parser.add_argument("--T", nargs="+", type=int, required=True)
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    given = parser.parse_args()
    print("\n".join(lines(given.dataset, given.method, given.T, given.seed)))  # noqa: T201 - a script


if __name__ == "__main__":
    main()
