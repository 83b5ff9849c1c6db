"""Early exit: a sample is decided once its two highest mean votes are far enough apart; what that costs and saves."""

from typing import Any

import torch
from torch import Tensor

from bpsta_cli.errors import SettingsError
from bpsta_cli.evaluation.accuracy_over_time import Anytime

ROUNDING = 1e-6
"""A margin that is below a threshold by no more than this reaches it: 7 of 10 voters are 0.69999999 in float32."""
THRESHOLDS = tuple(step / 50 for step in range(51))
"""Thresholds of the curve."""
TOLERANCES = (0.001, 0.01)
"""Losses of accuracy for which a threshold is chosen: 0.1 and 1.0 percentage points."""


def check_confidence(confidence: float) -> None:
    """Raise SettingsError unless 0 <= confidence <= 1."""
    if not 0 <= confidence <= 1:
        raise SettingsError(
            "unusable threshold of early exit",
            expected="a margin between mean votes, from 0 (decide after one step) to 1 (all votes for one class)",
            got=f"{confidence:g}",
            todo="Correct --exit-confidence.",
        )


def decided(margins: Tensor, confidence: float | None) -> Tensor:
    """Whether each margin reaches the threshold; none does where the threshold is None."""
    return torch.zeros_like(margins, dtype=torch.bool) if confidence is None else margins >= confidence - ROUNDING


def exit_steps(decisions: Anytime, confidence: float | None) -> Tensor:
    """After how many steps each sample is decided, from 1 to T (at the latest): int64 [N]."""
    enough = decided(decisions.margins, confidence)
    enough[-1] = True
    return enough.to(torch.uint8).argmax(0) + 1  # the first of the largest


def with_exit(decisions: Anytime, confidence: float | None) -> dict[str, float | None]:
    """Accuracy and mean steps of decisions at one threshold: confidence, mean_steps, accuracy."""
    steps = exit_steps(decisions, confidence)
    right = decisions.correct.gather(0, steps.unsqueeze(0) - 1)
    return {
        "confidence": confidence,
        "mean_steps": steps.sum().item() / len(decisions),
        "accuracy": right.sum().item() / len(decisions),
    }


def curve(decisions: Anytime) -> list[dict[str, float | None]]:
    """`with_exit` at each of `THRESHOLDS`, from the one full pass."""
    return [with_exit(decisions, confidence) for confidence in THRESHOLDS]


def choose_threshold(decisions: Anytime, tolerance: float) -> float | None:
    """The lowest threshold such that neither it nor a higher one loses more accuracy than `tolerance`.

    The loss is that to the accuracy of the full pass. A still lower threshold may lose little by chance, between
    others that lose more; it is not chosen.

    Returns:
        One of `THRESHOLDS`; None where even the highest loses more.
    """
    full = decisions.accuracy_at()[str(decisions.T)]
    chosen = None
    for row in reversed(curve(decisions)):
        assert row["accuracy"] is not None
        if full - row["accuracy"] > tolerance + 1e-12:
            break
        chosen = row["confidence"]
    return chosen


def select_and_test(selection_set: Anytime, test_set: Anytime, tolerance: float) -> dict[str, float | int | None]:
    """A threshold that is chosen on one set of samples and tested on another.

    On the samples that it was chosen on, a threshold looks better than it is. On the others the loss may
    exceed the tolerance; `loss` is the loss there.

    Returns:
        tolerance, confidence, mean_steps, accuracy, full_accuracy and loss (fractions), samples (of the test set).
    """
    found = with_exit(test_set, choose_threshold(selection_set, tolerance))
    full = test_set.accuracy_at()[str(test_set.T)]
    assert found["accuracy"] is not None
    return {
        "tolerance": tolerance,
        **found,
        "full_accuracy": full,
        "loss": full - found["accuracy"],
        "samples": len(test_set),
    }


def summary(test: Anytime, held_out: Anytime | None) -> dict[str, Any]:
    """The curve over the test samples, and a threshold for each of `TOLERANCES`.

    The thresholds are chosen on `held_out`, training samples that the weights were not fitted to, where the run
    kept some; otherwise on every second test sample, and tested on the others.

    Returns:
        curve (`curve`), chosen_on (a phrase) and chosen, a list of `select_and_test`; empty with a single test sample.
    """
    if held_out is not None:
        selection_set, test_set, where = held_out, test, "the held-out part of the training samples"
    else:
        selection_set, test_set, where = test.every_second(0), test.every_second(1), "every second test sample"
    chosen = [select_and_test(selection_set, test_set, tolerance) for tolerance in TOLERANCES] if len(test_set) else []
    return {"curve": curve(test), "chosen_on": where, "chosen": chosen}
