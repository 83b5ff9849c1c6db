"""What one operation costs: every constant once, named, in picojoule, with its source."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bpsta_cli.config import validate
from bpsta_cli.errors import SettingsError
from bpsta_cli.reading import MissingError, UnreadableError, documents

# 45 nm CMOS at 0.9 V, pJ: Horowitz 2014, "Computing's energy problem (and what we can do about it)", ISSCC,
# doi:10.1109/ISSCC.2014.6757323, table of energies
FP32_ADD, FP32_MULTIPLY = 0.9, 3.7
INT32_ADD, INT32_MULTIPLY = 0.1, 3.1
INT8_MULTIPLY = 0.2
SRAM = ((8 * 1024, 10.0), (32 * 1024, 20.0), (1024 * 1024, 100.0))
"""(bytes, pJ) of one access to a cache. Horowitz's are 64 bits wide; Lemaire et al. 2022 (arXiv:2210.13107) charge
them for every access to a 32-bit value, and so does this package."""

PAPER_MAC = FP32_MULTIPLY + FP32_ADD
"""The paper's E_ANN: a 32-bit floating multiply-accumulate, 4.6 pJ (Eq. 1)."""
PAPER_AC = INT32_ADD
"""The paper's E_SNN: a 32-bit integer addition, 0.1 pJ (Eq. 1)."""

QUEUE_VALUES = 1000
"""Messages that a layer's queue of spikes holds. As SpikingJelly's LemaireEnergyConfig gives it for the experiments
of Lemaire et al.; not checked against their text. Twice as many raise an access from 13.6 to 13.9 pJ."""
NARROW_BITS = 8
"""Weights, pixels and other values in the quantised account, for both networks; also the width of `INT8_MULTIPLY`."""
POTENTIAL_BITS = 32
"""Potentials and partial sums in the quantised account."""


class Tech(BaseModel):
    """A table of costs; `load_tech` reads one from a file with these keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(description="what tables call it")
    source: str = Field(description="where the values are from")
    add_pj: float = Field(ge=0, description="adding a weight to a potential (a spike's operation), pJ")
    multiply_pj: float = Field(ge=0, description="multiplying a weight and a value, pJ")
    word_bits: int = Field(ge=1, description="width of weights, values and potentials, bits")
    int_add_pj: float = Field(ge=0, description="32-bit integer addition: addresses, sums of quantised networks, pJ")
    int_multiply_pj: float = Field(ge=0, description="32-bit integer multiplication: addresses, pJ")
    int8_multiply_pj: float = Field(ge=0, description="8-bit integer multiplication: quantised networks, pJ")
    sram: tuple[tuple[int, float], ...] = Field(description="(size in bytes, pJ an access), by rising size")
    sram_curve: Literal["line", "interpolate"] = Field(
        "line",
        description="between those sizes: their least-squares line, or straight from point to point from (0, 0) on",
    )

    @field_validator("sram")
    @classmethod
    def _sizes_rise(cls, points: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
        sizes, costs = [size for size, _ in points], [cost for _, cost in points]
        if len(points) < 2 or sizes[0] < 1 or sorted(set(sizes)) != sizes or sorted(costs) != costs or costs[0] < 0:
            raise ValueError("two sizes or more, in rising order, none with a lower cost than the one before")
        return points

    def access_pj(self, values: float, bits: float) -> float:
        """One read or write of a memory of so many values of so many bits, pJ.

        Lemaire et al.: "a linear interpolation function" of the three points of `SRAM`, the same for reads and
        writes. `line` reads that as their least-squares line, as the authors' laboratory's own program does
        (Qualia); `interpolate` as straight lines between the points, as SpikingJelly does. They differ most in small
        memories: 13.3 and 1.25 pJ at 1 kB, 16.0 and 20 pJ at 32 kB. The last piece goes on beyond the last point.
        """
        size = values * bits / 8
        if self.sram_curve == "line":
            slope, base = _line(self.sram)
            return base + slope * size
        points = [(0, 0.0), *self.sram]
        last = next((place for place in range(1, len(points)) if size <= points[place][0]), len(points) - 1)
        (low, cost), (high, more) = points[last - 1], points[last]
        return cost + (more - cost) * (size - low) / (high - low)


def _line(points: tuple[tuple[int, float], ...]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line."""
    x, y = (sum(column) / len(points) for column in zip(*points, strict=True))
    slope = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
    return slope, y - slope * x


_INTEGERS: dict[str, Any] = {
    "source": "Horowitz 2014, ISSCC, 45 nm",
    "word_bits": 32,
    "int_add_pj": INT32_ADD,
    "int_multiply_pj": INT32_MULTIPLY,
    "int8_multiply_pj": INT8_MULTIPLY,
    "sram": SRAM,
}
TECHS = {
    "45nm-fp32": Tech(name="45nm-fp32", add_pj=FP32_ADD, multiply_pj=FP32_MULTIPLY, **_INTEGERS),
    "45nm-int32": Tech(name="45nm-int32", add_pj=INT32_ADD, multiply_pj=INT32_MULTIPLY, **_INTEGERS),
}
"""The built-in tables by name; the first is the default."""
DEFAULT_TECH = next(iter(TECHS))


def load_tech(name: str) -> Tech:
    """A built-in table by its name, or a user's own from a YAML or JSON file.

    Raises:
        SettingsError: no such table or file, not YAML, a missing or unknown key, a value out of range.
    """
    if name in TECHS:
        return TECHS[name]
    path = Path(name)
    try:
        values = documents.yaml(path)
    except MissingError as missing:
        raise SettingsError(
            "unknown table of costs",
            expected=f"{', '.join(TECHS)} or a file",
            got=f"{name} ({missing.got})",
            todo="Correct --tech; docs/energy.md shows such a file.",
        ) from None
    except UnreadableError as broken:
        raise SettingsError(
            "unreadable table of costs",
            expected=f"{broken.expected} or JSON" if broken.expected == "YAML" else broken.expected,
            got=f"{path}: {broken.got}",
            todo="Mend the file at that line.",
        ) from None
    return validate(Tech, values, where=str(path))


@dataclass(frozen=True)
class Prices:
    """What the operations of an SNN and of its twin cost (pJ) and how wide their values are (bits).

    Attributes:
        spike: a spike at a synapse: adding its weight.
        value: a pixel, event count or average at a synapse: multiplying and adding.
        activation: the twin's activation at a synapse: multiplying and adding.
        update: a neuron at a time step: multiplying by the leak and adding the bias.
        requantise: the twin's neuron: scaling to its few bits; 0 where there is no such step.
        weight_bits: of weights and biases.
        value_bits: of pixels, event counts, averages and the messages of a queue.
        activation_bits: of the twin's activations.
        potential_bits: of potentials and input currents.
    """

    spike: float
    value: float
    activation: float
    update: float
    requantise: float
    weight_bits: int
    value_bits: int
    activation_bits: int
    potential_bits: int


def full_width(tech: Tech) -> Prices:
    """Everything at the table's own width."""
    mac, bits = tech.multiply_pj + tech.add_pj, tech.word_bits
    return Prices(tech.add_pj, mac, mac, mac, 0.0, bits, bits, bits, bits)


def activation_bits(T: int) -> int:
    """Bits for the T + 1 possible spike counts of T steps: ceil(log2(T + 1)) (Yan et al. 2024, arXiv:2409.08290)."""
    return T.bit_length()  # the same, without rounding


def quantised(tech: Tech, T: int) -> Prices:
    """8-bit weights for both networks, ceil(log2(T + 1))-bit activations for the twin, sums in 32-bit integers.

    A multiplication of w by b bits is w * b partial products, so it is priced as w * b / 64 of one of 8 by 8 bits.
    (Horowitz's 32-bit one, 3.1 pJ, is 3.2 pJ by that rule.)
    """
    bits = activation_bits(T)

    def mac(width: int) -> float:
        return tech.int8_multiply_pj * width / NARROW_BITS + tech.int_add_pj

    wide = mac(NARROW_BITS)
    return Prices(tech.int_add_pj, wide, mac(bits), wide, wide, NARROW_BITS, NARROW_BITS, bits, POTENTIAL_BITS)
