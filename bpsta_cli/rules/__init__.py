"""Learning rules: which gradient paths exist at a spike. Loads no torch.

Every rule shares one forward pass (``bpsta_cli.kernels``), with u[t] the membrane potential before the
spike, o[t] the spike and v[t] the potential after the reset:

    u[t] = decay * v[t-1] + x[t],    o[t] = 1 if u[t] >= threshold else 0,    v[t] = u[t] * (1 - o[t])

and gives two partial derivatives, ``spike_gradient`` do[t]/du[t] and ``reset_gradient`` dv[t]/du[t], from
which the backward pass follows:

    dL/du[t] = dL/do[t] * do[t]/du[t] + decay * dL/du[t+1] * dv[t]/du[t]

Sources: Shen, Zhao and Zeng, Patterns 3(6), 2022, doi:10.1016/j.patter.2022.100522 (`bpsa`, `bpsta`);
Wu, Deng, Li, Zhu and Shi, Frontiers in Neuroscience 12:331, 2018, doi:10.3389/fnins.2018.00331 (`stbp`).
"""

from bpsta_cli.rules.stbp import STBP  # the baseline first: lists of the rules are in the order of registration

# isort: split
from bpsta_cli.rules.bpsta import BPSA, BPSTA, zero_gradient_without_spike
from bpsta_cli.rules.registry import (
    TWIN,
    file_hash,
    file_of,
    find,
    known,
    make,
    names,
    read,
    register,
    registered,
    rules_with,
    sha256_of,
    with_hash,
)
from bpsta_cli.rules.rule import Rule
from bpsta_cli.rules.settings import Setting, Value, setting, settings_of
from bpsta_cli.rules.silent import SilentGradient

__all__ = [
    "BPSA",
    "BPSTA",
    "STBP",
    "TWIN",
    "Rule",
    "Setting",
    "SilentGradient",
    "Value",
    "file_hash",
    "file_of",
    "find",
    "known",
    "make",
    "names",
    "read",
    "register",
    "registered",
    "rules_with",
    "setting",
    "settings_of",
    "sha256_of",
    "with_hash",
    "zero_gradient_without_spike",
]
