"""The network that a run's settings describe, and weights that fit it."""

from pathlib import Path

from torch import Tensor, nn

from bpsta_cli.config import RunSettings
from bpsta_cli.errors import RunError
from bpsta_cli.network import Network, build
from bpsta_cli.rules import Rule
from bpsta_cli.training.tensor_files import Shapes


def network_of(
    settings: RunSettings, input_shape: tuple[int, int, int], classes: int, rule: type[Rule] | None = None
) -> Network:
    """The untrained network that a run's settings describe; `rule` is the class of its rule, None: the method's."""
    return build(
        settings.data.network,
        input_shape,
        classes,
        settings.make_rule(rule) or settings.method,
        **settings.neuron.model_dump(),
        norm=settings.training.norm,
        dropout=settings.training.dropout,
    )


def load_weights(network: nn.Module, weights: dict[str, Tensor], origin: Path) -> None:
    """Load `weights` into `network`.

    Raises:
        RunError: names or shapes do not match.
    """
    check_shapes(network, {name: tuple(tensor.shape) for name, tensor in weights.items()}, origin)
    network.load_state_dict(weights)


def check_shapes(network: nn.Module, found: Shapes, origin: Path) -> None:
    """Hold the shapes of weights against those that `network` wants.

    Args:
        network: whose weights they are to be.
        found: their shapes by name.
        origin: where they come from, for the error.

    Raises:
        RunError: names or shapes do not match.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if wanted != found:
        name = next(name for name in (*wanted, *found) if wanted.get(name) != found.get(name))
        raise RunError(
            "weights of another structure",
            expected=f"{name} of shape {wanted[name]}" if name in wanted else f"no {name}",
            got=f"{found.get(name, 'none')} in {origin}",
            todo="Use a run of the same network, data set and norm.",
        )
