"""bpsta: deep spiking neural networks trained with BPSA and BPTA (Shen, Zhao and Zeng, Patterns 2022).

What a notebook needs is here, and loaded when it is first asked for:

    lif         the neuron over all T steps, as a function        kernels
    LIF         the same as a module                              network.neurons
    build       a network from the paper's notation               network
    Rule        the base of learning rules                        rules
    register    the decorator that makes one known by name        rules
    load        the network of a trained run                      training.load
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpsta_cli.kernels import lif
    from bpsta_cli.network import build
    from bpsta_cli.network.neurons import LIF
    from bpsta_cli.rules import Rule, register
    from bpsta_cli.sharing import load

__version__ = "0.1.0"
__all__ = ["LIF", "Rule", "build", "lif", "load", "register"]

_MODULES = {
    "LIF": "network.neurons",
    "Rule": "rules",
    "build": "network",
    "lif": "kernels",
    "load": "sharing",
    "register": "rules",
}


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` from where it lives: this module alone loads no torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
