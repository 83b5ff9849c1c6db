"""The largest network: its weights are counted from the structure, before any of them is made."""

from bpsta_cli.errors import StructureError

MOST_PARAMETERS = 1 << 28
"""Weights of a network: 1 GiB of float32, of which training with AdamW keeps four times as much."""


class Budget:
    """Counts the weights of a network while its layers are made."""

    def __init__(self) -> None:
        self.parameters = 0

    def take(self, parameters: int, what: str) -> None:
        """Count the weights of a layer that is about to be made.

        Raises:
            StructureError: with it the network has more than `MOST_PARAMETERS`.
        """
        self.parameters += parameters
        if self.parameters > MOST_PARAMETERS:
            raise StructureError(
                "the network is too large",
                expected=f"at most {MOST_PARAMETERS:,} weights",
                got=f"{self.parameters:,} with {what}",
                todo="Lower the numbers of filters or neurons there and before it, or pool more.",
            )
