"""`benchmarks.gpu_step`: who takes part. What it measures is a GPU's; here the CPU stands in."""

import torch

from benchmarks import gpu_step


def test_every_rule_is_timed_with_and_without_the_silent_gradient_and_eagerly():
    lines = gpu_step.table(torch.device("cpu"), structure="4C3-MP2-2Voting", batch=2, rounds=1)
    names = [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]]
    assert names[:6] == [
        name for rule in ("stbp", "bpsa") for name in (rule, f"{rule}, silent gradient", f"{rule}, eager")
    ]
    assert lines[2].endswith("| 1.00 |")
