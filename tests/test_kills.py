"""A few of the kills at random moments that `make kills` tries by the hundred."""

import subprocess
import sys
from pathlib import Path


def test_killed_trainings_and_preparations_come_out_as_those_that_nobody_killed(tmp_path):
    command = [sys.executable, "-m", "tests.kills", "--count", "4", "--seed", "7"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 trials" in done.stdout
    assert "0 different" in done.stdout
