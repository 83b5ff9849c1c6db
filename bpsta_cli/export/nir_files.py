"""A network written as NIR: one file, and what its nodes are to the network."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bpsta_cli import files
from bpsta_cli.data.store import Store
from bpsta_cli.export import packages
from bpsta_cli.export.nir_graph import DT, graph
from bpsta_cli.export.plan import INPUT, plan
from bpsta_cli.network import Network

FILE = "network.nir"


def write(
    folder: Path, network: Network, store: Store, words: Mapping[str, str], *, relu_levels: int = 0
) -> dict[str, Any]:
    """Write the graph.

    Args:
        folder: where the file goes.
        network: on the CPU.
        store: the data that it was trained on.
        words: from `about.about`.
        relu_levels: as in `nir_graph.graph`.

    Returns:
        files, dt in seconds, the input's name, shape and scale, and nodes: what each stands for, whether it is exact,
        and why.

    Raises:
        ExportError: what NIR cannot hold, or the package nir is not there.
    """
    made = graph(plan(network, store.shape), dict(words), constant=store.T is None, relu_levels=relu_levels)
    content = io.BytesIO()
    packages.load("nir").write(content, made.graph)
    with files.replacing(folder / FILE) as file:
        file.write(content.getvalue())
    return {
        "files": {"step": FILE},
        "dt": DT,
        "relu_levels": relu_levels,
        "input": {"name": INPUT, "shape": list(store.shape), "scale": store.scale},
        "nodes": [node._asdict() for node in made.nodes],
    }
