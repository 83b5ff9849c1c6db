"""What is measured: the options of `python -m benchmarks`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpsta_cli.errors import SettingsError

MEASURES = ("step", "memory", "inference", "neuron", "first-use", "profile")
INPUTS = ("static", "varying")
"""An image that is the same at every step, and another one at every step."""
DEFAULT_SHAPE = (3, 32, 32)
SHAPES = {"small": (1, 28, 28), "cnn-stbp": (1, 28, 28), "mlp": (1, 28, 28)}
"""Input of a named structure where it is not `DEFAULT_SHAPE`."""
QUICK: dict[str, Any] = {"T": (4, 8), "rounds": 3, "batch": 4, "neuron_mb": (64,)}


@dataclass(frozen=True)
class Settings:
    """What is measured, and how often.

    Attributes:
        network: a name or the notation; residual networks have no plain twin and are refused.
        shape: (C, H, W) of one step.
        classes: of the output.
        batch: samples of a step.
        T: numbers of time steps.
        rounds: timed turns of every variant.
        threads: of torch, 0 for torch's own choice.
        device: "cpu" or "cuda".
        amp: "bfloat16" or "float16" for autocast, "" for float32; outputs are checked in float32 either way.
        only: variants, all where empty.
        measures: of `MEASURES`.
        inputs: of `INPUTS`.
        neuron_mb: sizes of the neuron's input where it is timed alone, MiB.
        run: a run directory whose network and samples are taken for inference; "" for weights that fire at 0.1.
        data_dir: prepared data of the run.
        out: folder of the results.
    """

    network: str = "middle"
    shape: tuple[int, int, int] = DEFAULT_SHAPE
    classes: int = 10
    batch: int = 16
    T: tuple[int, ...] = (4, 8, 16, 32)
    rounds: int = 9
    threads: int = 0
    device: str = "cpu"
    amp: str = ""
    only: tuple[str, ...] = ()
    measures: tuple[str, ...] = MEASURES
    inputs: tuple[str, ...] = INPUTS
    neuron_mb: tuple[int, ...] = (64, 256)
    run: str = ""
    data_dir: str = "data"
    out: str = str(Path(__file__).parent / "results")

    def __post_init__(self) -> None:
        smallest = {
            "batch": self.batch,
            "rounds": self.rounds,
            "T": min(self.T),
            "neuron-mb": min(self.neuron_mb),
            "input": min(self.shape),
            "threads": self.threads or 1,
        }
        for name, value in smallest.items():
            if value < 1:
                raise SettingsError(
                    "unusable option", expected=f"--{name} of at least 1", got=str(value), todo="Correct it."
                )

    def to_dict(self) -> dict[str, Any]:
        """As JSON carries them to another process."""
        return dataclasses.asdict(self)


def from_dict(values: dict[str, Any]) -> Settings:
    """What `to_dict` gave, read back."""
    return Settings(**_tuples(values))


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """The settings that a command line asks for.

    Raises:
        SettingsError: the value of an option cannot be used.
    """
    given = {name: value for name, value in vars(_parser().parse_args(arguments)).items() if value is not None}
    quick = QUICK if given.pop("quick") else {}
    network = given.get("network", Settings.network)
    return Settings(**{"shape": SHAPES.get(network, DEFAULT_SHAPE), **quick, **_tuples(given)})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this package beside its ReLU twin, its convolutions alone and other packages.",
        argument_default=None,
    )
    add = parser.add_argument
    add("--network", help="a named structure or the notation (middle)")
    add("--input", dest="shape", type=_shape, metavar="CxHxW", help="of one time step (3x32x32; 1x28x28 for small)")
    add("--batch", type=int, help="samples of a step (16)")
    add("--T", type=int, nargs="+", help="time steps (4 8 16 32)")
    add("--rounds", type=int, help="timed turns of every variant (9)")
    add("--threads", type=int, help="of torch (its own choice)")
    add("--device", choices=("cpu", "cuda"), help="(cpu)")
    add("--amp", choices=("bfloat16", "float16"), help="autocast (none: float32)")
    add("--only", nargs="+", metavar="VARIANT", help="these variants (all); the ratios need ann and bpsta")
    add("--measures", nargs="+", choices=MEASURES, help="(all)")
    add("--inputs", nargs="+", choices=INPUTS, help="(both)")
    add("--neuron-mb", type=int, nargs="+", help="input of the neuron alone, MiB (64 256)")
    add("--run", metavar="RUN", help="a run directory, for inference at its own firing rates")
    add("--data-dir", help="prepared data of RUN (data)")
    add("--out", help="folder of the results (benchmarks/results)")
    add("--quick", action="store_true", help="T 4 8, batch 4, 3 rounds, 64 MiB, where not said otherwise")
    return parser


def _shape(text: str) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in text.split("x"))
    if len(sizes) != 3:
        raise argparse.ArgumentTypeError(f"{text!r} is not CxHxW")
    return sizes
