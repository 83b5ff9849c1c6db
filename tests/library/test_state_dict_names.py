"""The names and shapes of weights stay: what was saved under an older commit is loaded by a newer one.

A new structure adds its lines: python tests/library/test_state_dict_names.py
"""

import json
from pathlib import Path

import pytest
import torch

from bpsta_cli.network import build, notation

FILE = Path(__file__).with_name("state_dict_names.json")
NOTATIONS = ("8C3-MP2-16C3-MP2-32C3-AP2-64FC-10Voting", "4C3-DP-5C2-MP2-12FC-DP-10", "16FC-10Voting")
STRUCTURES = (*notation.names(), *NOTATIONS)
INPUTS = {"mlp": (1, 28, 28), "cnn-stbp": (1, 28, 28), "large": (2, 128, 128)}
"""(C, H, W) of the structures that do not fit into 3 x 32 x 32."""
NORMS = ("folded", "tdbn", "per-step", "none")


def shapes(structure, norm="folded"):
    with torch.device("meta"):
        network = build(structure, INPUTS.get(structure, (3, 32, 32)), 10, norm=norm)
    return {name: list(value.shape) for name, value in network.state_dict().items()}


def found():
    """Structure -> name -> shape; for one structure by norm as well."""
    return {each: shapes(each) for each in STRUCTURES} | {
        f"{NOTATIONS[0]}, {norm}": shapes(NOTATIONS[0], norm) for norm in NORMS
    }


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structures_weights_keep_their_names_and_shapes(structure):
    assert shapes(structure) == json.loads(FILE.read_text(encoding="utf-8"))[structure]


@pytest.mark.parametrize("norm", NORMS)
def test_the_weights_keep_their_names_under_every_norm(norm):
    assert shapes(NOTATIONS[0], norm) == json.loads(FILE.read_text(encoding="utf-8"))[f"{NOTATIONS[0]}, {norm}"]


if __name__ == "__main__":
    lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in found().items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
