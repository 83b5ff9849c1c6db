"""From a structure's notation to a network that votes: the layers, the neurons, the norms and their fusion."""

from bpsta_cli.network.builder import build
from bpsta_cli.network.network import Network

__all__ = ["Network", "build"]
