"""The network of a trained run, for use in Python."""

from pathlib import Path

import torch

from bpsta_cli import rules
from bpsta_cli.network import Network
from bpsta_cli.training.run_directory import RunDir


def load(
    where: str | Path,
    *,
    device: torch.device | str = "cpu",
    rule: type[rules.Rule] | None = None,
    trust_rule: str | Path | None = None,
) -> Network:
    """The trained network of a run, with its weights and in evaluation mode: [T, B, C, H, W] -> votes [B, classes].

    No code is run on behalf of the run's directory. A run of a rule of the user's own therefore needs the rule from
    the caller: registered before, or given here as a class or as a file.

    Args:
        where: a directory that bpsta train wrote.
        device: where the weights go.
        rule: the class of the run's learning rule, where that is not registered; the run has its settings.
        trust_rule: a file that is run for it, if it is the very file that the run was trained with.

    Raises:
        RunError: no run, no weights, weights of another structure, or a rule that is neither registered nor given.
        SettingsError: settings in the run that the rule does not have or cannot use, or an unusable file.
    """
    trusted = () if trust_rule is None else (Path(trust_rule),)
    return RunDir(where).network(device, rule, trusted)[1]
