"""What is measured: one validated object, of which each field is an option of `python -m benchmarks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt

from bpsta_cli import config

Measure = Literal["step", "memory", "inference", "neuron", "first-use", "profile"]
Input = Literal["static", "varying"]
"""An image that is the same at every step, and another one at every step."""
Shape = tuple[PositiveInt, PositiveInt, PositiveInt]
DEFAULT_SHAPE = (3, 32, 32)
SHAPES = {"small": (1, 28, 28), "cnn-stbp": (1, 28, 28), "mlp": (1, 28, 28)}
"""Input of a named structure where it is not `DEFAULT_SHAPE`."""
QUICK: dict[str, Any] = {"T": (4, 8), "rounds": 3, "batch": 4, "neuron_mb": (64,)}


def _sizes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    sizes = value.split("x")
    if len(sizes) != len(DEFAULT_SHAPE):
        raise ValueError("CxHxW, as 3x32x32")
    return sizes


class Settings(BaseModel):
    """What is measured, and how often; an option's help is its field's description."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = Field("middle", description="a named structure or the notation, without residual blocks")
    shape: Annotated[Shape, BeforeValidator(_sizes)] = Field(
        DEFAULT_SHAPE, description="input of one time step, CxHxW; 1x28x28 for small, cnn-stbp and mlp"
    )
    classes: PositiveInt = Field(10, description="classes of the output")
    batch: PositiveInt = Field(16, description="samples of a step")
    T: tuple[PositiveInt, ...] = Field((4, 8, 16, 32), min_length=1, description="time steps")
    rounds: PositiveInt = Field(9, description="timed turns of every variant")
    threads: int = Field(0, ge=0, description="threads of torch; 0: torch's own choice")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where to compute")
    amp: Literal["", "bfloat16", "float16"] = Field(
        "", description="autocast; none: float32; outputs are checked in float32 either way"
    )
    only: tuple[str, ...] = Field(
        (), description="these variants; none: all; the ratios need ann, convolutions and bpsta"
    )
    measures: tuple[Measure, ...] = Field(
        ("step", "memory", "inference", "neuron", "first-use", "profile"), description="what to measure"
    )
    inputs: tuple[Input, ...] = Field(
        ("static", "varying"), description="one image at every step, or another one at every step"
    )
    neuron_mb: tuple[PositiveInt, ...] = Field(
        (64, 256), min_length=1, description="size of the input where the neuron is timed alone, MiB"
    )
    run: str = Field(
        "", description="a run directory, for inference at its own firing rates; none: weights that fire at 0.1"
    )
    data_dir: str = Field("data", description="folder of the run's prepared data")
    out: str = Field(str(Path(__file__).parent / "results"), description="folder of the results")

    def changed(self, **values: Any) -> Settings:
        """These settings with other values, checked."""
        return validate({**self.model_dump(), **values})


def validate(values: dict[str, Any]) -> Settings:
    """The settings of these values.

    Raises:
        SettingsError: a value that cannot be used.
    """
    return config.validate(Settings, values, where="the options")


def from_options(given: dict[str, Any], *, quick: bool = False) -> Settings:
    """The settings that a command line asks for.

    Args:
        given: the options that were given, by field.
        quick: the values of `QUICK` for those that were not.

    Raises:
        SettingsError: a value that cannot be used.
    """
    network = given.get("network", Settings.model_fields["network"].default)
    return validate({"shape": SHAPES.get(network, DEFAULT_SHAPE), **(QUICK if quick else {}), **given})
