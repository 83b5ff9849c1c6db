"""A learning rule of one's own with a parameter: the same network trained with three values of it.

The rule is `leaky_gradient.py` beside this file: BPSA with a leak, so that neurons that do not fire learn too.

    python examples/own_rule.py
"""

import tempfile
from pathlib import Path

from bpsta_cli import training

RULE = Path(__file__).with_name("leaky_gradient.py")


def main() -> None:
    """Train with a leak of 0 (which is BPSA), 0.05 and 0.2, and print accuracy and firing rate."""
    for leak in (0.0, 0.05, 0.2):
        settings = training.settings(
            "digits", method=str(RULE), leak=leak, T=4, epochs=4, network="8C3-AP2-10Voting", train_samples=400
        )
        with tempfile.TemporaryDirectory() as folder:
            for event in training.train(settings, training.data(settings), Path(folder) / "run"):
                if isinstance(event, training.EpochDone):
                    last = event.record
        print(f"leak {leak:<4}: test accuracy {last['accuracy']:.2%}, firing rate {last['firing_rate']:.3f}")


if __name__ == "__main__":
    main()
