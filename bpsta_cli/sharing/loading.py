"""The network of a trained run, from a folder or from the Hub."""

import re
from pathlib import Path

import torch

from bpsta_cli import rules
from bpsta_cli.errors import RunError
from bpsta_cli.network import Network
from bpsta_cli.sharing import hub
from bpsta_cli.training.load import load as load_folder

_LIKE_AN_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load(
    where: str | Path,
    *,
    device: torch.device | str = "cpu",
    rule: type[rules.Rule] | None = None,
    trust_rule: str | Path | None = None,
) -> Network:
    """The trained network of a run, with its weights and in evaluation mode: [T, B, C, H, W] -> votes [B, classes].

    As `bpsta_cli.training.load.load`, whose arguments and errors it has; and "hub:user/name" is a place too, which is
    downloaded. No code is run on behalf of the run, wherever it is from.

    Raises:
        RunError: also where the Hub does not give it.
        SettingsError: also where huggingface_hub is not installed.
    """
    return load_folder(located(where), rule=rule, trust_rule=trust_rule, device=device)


def located(where: str | Path) -> Path:
    """The folder of a run; one on the Hub is downloaded.

    Raises:
        RunError: there is no such folder, or the Hub does not give it.
        SettingsError: no such place, or huggingface_hub is not installed.
    """
    text = str(where)
    if text.startswith(hub.PREFIX):
        return hub.fetch(text)
    if not Path(where).exists() and _LIKE_AN_ID.fullmatch(text):
        raise RunError(
            "not a run",
            expected="a directory written by bpsta train, or hub:user/name for one on the Hub",
            got=f"{text} (no such directory)",
            todo=f"Check the path, or write {hub.PREFIX}{text}.",
        )
    return Path(where)
