"""Devices by the names that users give them."""

import torch

from bpsta_cli.errors import SettingsError


def resolve_device(name: str) -> torch.device:
    """The device called `name`; "auto" takes a GPU where there is one.

    Raises:
        SettingsError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as refused:
        raise SettingsError(
            "unusable device",
            expected="auto, cpu, or cuda where torch finds a GPU",
            got=f"{name!r} ({str(refused).splitlines()[0][:80]})",
            todo="Use --device cpu.",
        ) from None
    return device
