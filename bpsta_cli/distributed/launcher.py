"""What torchrun tells each process that it starts, by the environment. Loads no torch.

RANK and WORLD_SIZE (of all), LOCAL_RANK and LOCAL_WORLD_SIZE (of this machine), GROUP_RANK (which machine), MASTER_ADDR
and MASTER_PORT (where they meet), TORCHELASTIC_RESTART_COUNT (how often it had to start them again).
"""

import os

_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launched() -> bool:
    """Whether torchrun started this process, or another starter that tells it the same."""
    return all(name in os.environ for name in _TOLD)


def restarted() -> bool:
    """Whether the processes were started again after one of them had failed."""
    return launched() and number("TORCHELASTIC_RESTART_COUNT", 0) > 0


def world() -> int:
    """How many processes there are."""
    return number("WORLD_SIZE", 1) if launched() else 1


def rank() -> int:
    """The number of this one, from 0."""
    return number("RANK", 0) if launched() else 0


def is_writer() -> bool:
    """Whether this process is the one that writes and speaks: the first, or one that is alone."""
    return rank() == 0


def machine_share() -> float:
    """The share of a batch that all processes of this machine compute, in its memory."""
    return number("LOCAL_WORLD_SIZE", 1) / world() if launched() else 1.0


def process_share() -> float:
    """The share of a batch that this process computes, in the memory of its GPU."""
    return 1 / world()


def number(name: str, otherwise: int) -> int:
    """The whole number that the environment has under a name."""
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else otherwise
