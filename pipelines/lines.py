"""Prints lines of params.yaml, one for each combination of data sets, methods, T and seeds.

python pipelines/lines.py --dataset digits --method stbp --method bpsta --T 8 --seed 0 --seed 1
"""

import itertools
from typing import Annotated

import typer

from bpsta_cli.config import Run


def lines(datasets: list[str], methods: list[str], steps: list[int], seeds: list[int]) -> list[str]:
    """A line a run, as they stand under `measured` or `train_only`."""
    runs = []
    for dataset, T, method, seed in itertools.product(datasets, steps, methods, seeds):
        name, _, recipe = dataset.partition(":")
        runs.append(Run(dataset=name, recipe=recipe or name, method=method, T=T, seed=seed))
    return [f"  {run.name}: {{{', '.join(f'{key}: {value}' for key, value in run)}}}" for run in runs]


def main(
    dataset: Annotated[
        list[str],
        typer.Option(
            metavar="NAME[:RECIPE]",
            help="cifar10, or cifar10:cifar10-resnet34 for the entry cifar10-resnet34 of `datasets:`.",
        ),
    ],
    method: Annotated[list[str], typer.Option(help="Learning rule, or ann.")],
    T: Annotated[list[int], typer.Option("--T", help="Number of time steps.")],
    seed: Annotated[list[int], typer.Option(help="Seed.")] = [0],  # noqa: B006 - Typer reads it once
) -> None:
    """Print a line of params.yaml for each combination; every option may be given several times."""
    typer.echo("\n".join(lines(dataset, method, T, seed)))


if __name__ == "__main__":
    typer.run(main)
