"""Six tiny runs leave the same bytes on any machine, for any number of threads, killed or not.

What a run says of its weights is measured again with these weights loaded anew.

`BPSTA_BYTES=all` tries every condition by itself, also those that take minutes.
"""

import json
import os
import signal
import subprocess
import sys

import pytest
from conditions import CONDITIONS, HERE, TOGETHER, environment, usable

EXPECTED = json.loads((HERE / "hashes.json").read_text(encoding="utf-8"))
TINIEST = "static"
EVERY = os.environ.get("BPSTA_BYTES") == "all"
SECONDS = 3600 if EVERY else 1200


@pytest.fixture(scope="module", autouse=True)
def _promised():
    if reason := usable():
        pytest.skip(f"no compiled kernel: {reason}")


def start(condition, *options):
    if condition.missing:
        pytest.skip(condition.missing)
    script = [*condition.command, sys.executable, str(HERE / "tiny_runs.py")]
    return subprocess.run(
        [*script, *condition.options, *options],
        env=environment(condition),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )


def left_by(condition, *options):
    done = start(condition, *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CONDITIONS if EVERY else TOGETHER)
def test_every_run_leaves_the_bytes_that_are_committed(name):
    condition = (CONDITIONS if EVERY else TOGETHER)[name]
    runs = [TINIEST] if condition.command else list(EXPECTED)
    assert left_by(condition, *runs) == {run: EXPECTED[run] for run in runs}


def test_a_run_that_is_killed_and_taken_up_again_leaves_the_same(tmp_path):
    killed = start(CONDITIONS["as it is"], TINIEST, "--folder", str(tmp_path), "--kill-at", "5")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / TINIEST / "history.csv").exists()
    assert not (tmp_path / TINIEST / "metrics.json").exists()
    assert left_by(CONDITIONS["as it is"], TINIEST, "--folder", str(tmp_path)) == {TINIEST: EXPECTED[TINIEST]}
