"""`bpsta latency` as a user meets it: several runs, other T, early exit, the clock, files and refusals."""

import json
import shutil

import pandas as pd
import pytest

from bpsta_cli import checksums
from bpsta_cli.cli.main import run
from bpsta_cli.files import write_checked_json

TINY = ["--dataset", "digits", "--network", "4C3-AP8-10Voting", "--epochs", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def runs(data):
    """bpsta and stbp at T = 2 and 3, two seeds of bpsta at T = 3."""
    found = {}
    for method, T, seed in (("bpsta", 2, 0), ("bpsta", 3, 0), ("bpsta", 3, 1), ("stbp", 3, 0)):
        out = data / "runs" / f"{method}-{T}-{seed}"
        options = ["--method", method, "--T", str(T), "--seed", str(seed)]
        assert run(["train", *TINY, *options, "--data-dir", str(data), "--out", str(out)]) == 0
        found[method, T, seed] = str(out)
    return found


@pytest.fixture
def latency(capsys, data):
    def call(*arguments):
        capsys.readouterr()
        code = run(["latency", *map(str, arguments), "--data-dir", str(data)])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed

    return call


@pytest.fixture
def refused(capsys, data):
    def call(*arguments):
        capsys.readouterr()
        assert run(["latency", *map(str, arguments), "--data-dir", str(data)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("Error: ")
        assert "Traceback" not in printed.err
        return printed.err

    return call


def test_one_run_is_one_object_without_a_clock_the_same_each_time(latency, runs):
    arguments = [runs["bpsta", 3, 0], "--no-clock", "--samples", "50", "--exit-confidence", "0.3", "--json"]
    found = json.loads(latency(*arguments).out)
    assert set(found) == {
        "run", "dataset", "split", "method", "T", "seed", "data_hash", "weights_sha256", "accuracy_at", "samples",
        "early_exit", "exit", "provenance",
    }  # fmt: skip
    assert (found["T"], found["samples"], list(found["accuracy_at"])) == (3, 50, ["1", "2", "3"])
    assert sum(found["exit"]["decided_after"].values()) == 50
    assert found["early_exit"]["chosen_on"] == "every second test sample"
    assert [row["samples"] for row in found["early_exit"]["chosen"]] == [25, 25]
    assert json.loads(latency(*arguments).out) == found


def test_images_run_for_other_numbers_of_steps_from_the_same_weights(latency, runs):
    found = json.loads(latency(runs["bpsta", 3, 0], "--no-clock", "--T", "5,2,3", "--json").out)
    at = {row["T"]: row["accuracy"] for row in found["other_time_steps"]}
    assert list(at) == [2, 3, 5]
    assert at[3] == found["accuracy_at"]["3"]
    assert at[2] == found["accuracy_at"]["2"]
    table = latency(runs["bpsta", 3, 0], "--no-clock", "--T", "5").out
    assert "T = 5" in table
    assert f"{100 * at[5]:.2f} %" in table


def test_the_clock_stands_beside_the_twin_and_early_exit_with_machine_and_energy(latency, runs):
    arguments = [runs["bpsta", 3, 0], "--samples", "50", "--repeats", "3", "--batch", "16", "--exit-confidence", "0.3"]
    found = json.loads(latency(*arguments, "--threads", "1", "--json").out)
    timed = found["clock"]
    assert {"spiking", "twin", "early_exit"} <= set(timed["decision"])
    assert {"p50_ms", "p95_ms", "p99_ms"} <= set(timed["decision"]["twin"])
    assert (timed["threads"], timed["throughput"]["batch"], timed["decision"]["repeats"]) == (1, 16, 3)
    assert found["energy"]["e_snn_pj"] > 0
    assert timed["convolution"] == "auto"
    assert set(timed["sparse_shares"]) == {"conv1"}
    table = latency(*arguments).out
    for words in (
        "sparse convolutions: conv1 ",
        "p99",
        "all steps",
        "early exit",
        "ReLU twin",
        "on cpu (",
        "1 thread",
        "nJ",
    ):
        assert words in table


def test_several_runs_are_gathered_by_method_and_length(latency, runs, tmp_path):
    folder = tmp_path / "written"
    out = tmp_path / "all.json"
    arguments = [*runs.values(), "--no-clock", "--figure", folder, "--csv", folder, "--out", out]
    printed = latency(*arguments)
    found = json.loads(out.read_text())
    assert len(found["runs"]) == 4
    rows = {(row["method"], row["T"]): row for row in found["time_steps"]}
    assert {key: row["seeds"] for key, row in rows.items()} == {("bpsta", 2): 1, ("bpsta", 3): 2, ("stbp", 3): 1}
    both = [row["accuracy_at"]["3"] for row in found["runs"][1:3]]
    assert rows["bpsta", 3]["accuracy_mean"] == pytest.approx(sum(both) / 2)
    assert "(n = 2)" in printed.out
    assert "T = 2" in printed.out
    assert {path.name for path in folder.iterdir()} == {
        *(f"{name}.{kind}" for name in ("test-curves", "accuracy-over-time", "early-exit") for kind in ("png", "svg")),
        *("time-steps.md", "time-steps.csv", "accuracy-over-time.csv", "early-exit.csv", "early-exit-chosen.csv"),
    }
    written = pd.read_csv(folder / "time-steps.csv")
    assert written["accuracy_mean"].tolist() == [row["accuracy_mean"] for row in found["time_steps"]]
    assert all(str(path) in printed.out for path in folder.iterdir())


def test_with_a_held_out_part_the_threshold_is_chosen_there(latency, data, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(
        "training: {selection: validation, validation_fraction: 0.2}\n"
        "datasets:\n  digits: {network: 4C3-AP8-10Voting, epochs: 2, warmup_epochs: 1, batch_size: 64}\n"
    )
    out = tmp_path / "run"
    places = ["--data-dir", str(data), "--out", str(out), "--T", "2", "--threads", "1"]
    assert run(["train", "--params", str(params), "--dataset", "digits", *places]) == 0
    found = json.loads(latency(out, "--no-clock", "--samples", "30", "--json").out)["early_exit"]
    assert "held-out part" in found["chosen_on"]
    assert found["chosen"][0]["samples"] == 30  # all that were tested judge


@pytest.mark.parametrize("given", ["0", "2,x", "4,-1", ",", "20000", "2;4"])
def test_numbers_of_steps_that_are_none_are_refused(refused, runs, given):
    assert "expected --T with whole numbers from 1 to 10000" in refused(runs["bpsta", 2, 0], "--T", given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--exit-confidence", "1.1"], "from 0 (decide after one step) to 1 (all votes for one class), got 1.1"),
        (["--exit-confidence", "-0.5"], "got -0.5"),
        (["--exit-confidence", "nan"], "got nan"),
        (["--batch", "0"], "--batch of at least 1"),
        (["--repeats", "0"], "--repeats of at least 1"),
        (["--threads", "0"], "--threads of at least 1"),
        (["--samples", "0"], "--samples of at least 1"),
    ],
)
def test_an_option_out_of_range_is_refused_before_anything_is_measured(refused, runs, options, message):
    assert message in refused(runs["bpsta", 2, 0], *options)


def test_a_run_of_the_twin_is_refused_by_name_before_the_others_are_measured(refused, runs, data, monkeypatch):
    twin = data / "runs" / "twin"
    places = ["--data-dir", str(data), "--out", str(twin)]
    assert run(["train", *TINY, "--method", "ann", "--T", "2", *places]) == 0
    monkeypatch.setattr("bpsta_cli.evaluation.accuracy_over_time.decisions_over_time", None)
    message = refused(runs["bpsta", 2, 0], twin)
    assert "a run of ann, the ReLU twin" in message
    assert str(twin) in message


def test_runs_of_different_data_sets_are_refused(refused, runs, tmp_path):
    shutil.copytree(runs["bpsta", 3, 0], tmp_path / "other")
    file = tmp_path / "other" / "settings.json"
    info, _ = checksums.parse(file.read_bytes())
    info["settings"]["dataset"] = "mnist"
    write_checked_json(file, info)
    assert "runs of different data sets" in refused(runs["bpsta", 3, 0], tmp_path / "other")


def test_the_same_run_given_twice_is_refused(refused, runs):
    assert "the same run twice" in refused(runs["bpsta", 3, 0], runs["bpsta", 3, 0])


def test_a_run_without_a_history_cannot_be_drawn_and_is_refused_at_once(refused, runs, tmp_path, monkeypatch):
    shutil.copytree(runs["bpsta", 3, 0], tmp_path / "other")
    (tmp_path / "other" / "history.csv").unlink()
    monkeypatch.setattr("bpsta_cli.evaluation.accuracy_over_time.decisions_over_time", None)
    assert "history.csv" in refused(tmp_path / "other", "--figure", tmp_path / "figures")
