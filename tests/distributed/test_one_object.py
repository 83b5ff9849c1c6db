"""With `--json` the processes of a run print one JSON object between them, whatever becomes of it."""

import json
import os
import signal
import time

from rank_processes import exit_codes, start

from bpsta_cli.cli.main import USER_ERROR, run

TINY = "--T 2 --epochs 200 --warmup-epochs 1 --batch-size 30 --train-samples 60 --network 4C3-AP8-2Voting --json"


def objects(log):
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def command(data, *more):
    return ["train", "--dataset", "digits", *TINY.split(), "--data-dir", str(data), "--checkpoint-minutes", "0", *more]


def test_an_error_of_all_is_one_object_and_told_by_each_of_the_others(tmp_path):
    log = tmp_path / "log"
    children = start(3, lambda _rank: run(command(tmp_path)), log)
    assert exit_codes(children) == [USER_ERROR] * 3, log.read_text()
    (found,) = objects(log)
    assert found["error"]["kind"] == "SettingsError"
    assert log.read_text().count("Error: ") == 2


def test_a_run_that_is_stopped_is_one_object(tmp_path):
    log, out = tmp_path / "log", tmp_path / "run"
    assert run(["prepare", "--dataset", "digits", "--data-dir", str(tmp_path)]) == 0
    children = start(2, lambda _rank: run(command(tmp_path, "--out", str(out))), log)
    until = time.monotonic() + 60
    while not list(out.glob("checkpoints/epoch-000001-*")):
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.002)
    os.kill(children[1], signal.SIGTERM)
    assert exit_codes(children) == [128 + signal.SIGTERM] * 2, log.read_text()
    (found,) = objects(log)
    assert found["error"]["kind"] == "StoppedCommand"
