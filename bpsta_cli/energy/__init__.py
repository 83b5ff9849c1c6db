"""Energy of a trained network by four accounts: the paper's, a count, the count with memory, a quantised twin.

What each counts, where its values come from and what it leaves out: docs/energy.md.
"""

from bpsta_cli.energy.accounts import account
from bpsta_cli.energy.costs import TECHS, Tech, load_tech
from bpsta_cli.energy.paper import paper_estimate
from bpsta_cli.energy.synapses import fan_out

__all__ = ["TECHS", "Tech", "account", "fan_out", "load_tech", "paper_estimate"]
