"""The network of a trained run, for use in Python."""

from pathlib import Path

import torch

from bpsta_cli import rules
from bpsta_cli.errors import RunError
from bpsta_cli.network import Network
from bpsta_cli.training.run_directory import RunDir


def load(run: str | Path, *, rule: type[rules.Rule] | None = None, device: torch.device | str = "cpu") -> Network:
    """The trained network of a run, with its weights and in evaluation mode: [T, B, C, H, W] -> votes [B, classes].

    No code is run on behalf of the run's directory. A run of a rule of the user's own therefore needs the rule from
    the caller: registered before, or given here.

    Args:
        run: a directory that bpsta train wrote.
        rule: the class of the run's learning rule, where that is not registered; the run has its settings.
        device: where the weights go.

    Raises:
        RunError: no run, no weights, weights of another structure, or a rule that is neither registered nor given.
        SettingsError: settings in the run that the rule does not have or cannot use.
    """
    directory = RunDir(Path(run))
    method = directory.info().settings.method
    if rule is None and method != rules.TWIN and rules.known(method) is None:
        raise RunError(
            "a run of a learning rule that is not registered",
            expected=f"one of {', '.join((*rules.names(), rules.TWIN))}, or the rule's class",
            got=f"{run}, trained with {method}",
            todo="Read the rule's file, import its class, and give it: load(run, rule=ItsClass).",
        )
    return directory.network(device, rule)[1]
