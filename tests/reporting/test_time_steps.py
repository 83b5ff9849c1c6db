"""Runs gathered by `bpsta latency`: rows, their values, and what may not stand in one table."""

import pandas as pd
import pytest

from bpsta_cli.errors import RunError
from bpsta_cli.reporting import anytime, time_steps


@pytest.fixture
def runs(settings):
    """Two methods at two T; two seeds of each but of stbp at T = 4."""
    runs = [(m, T, s) for m in ("stbp", "bpsta") for T in (2, 4) for s in (0, 1) if (m, T, s) != ("stbp", 4, 1)]
    return [(f"runs/{m}-{T}-{s}", settings(method=m, T=T, seed=s)) for m, T, s in runs]


def result(T, last, **more):
    """What is measured of a run: half right before the last step, `last` after it."""
    at = {str(t): 0.5 for t in range(1, T)} | {str(T): last}
    curve = [
        {"confidence": 0.0, "mean_steps": 1.0, "accuracy": 0.5},
        {"confidence": 1.0, "mean_steps": 1.5, "accuracy": last},
    ]
    chosen = [
        {
            "tolerance": 0.001,
            "confidence": 0.4,
            "mean_steps": 1.5,
            "accuracy": last,
            "full_accuracy": last,
            "loss": 0.0,
        },
        {
            "tolerance": 0.01,
            "confidence": 0.2,
            "mean_steps": 1.25,
            "accuracy": last,
            "full_accuracy": last,
            "loss": 0.02,
        },
    ]
    exits = {"curve": curve, "chosen_on": "every second test sample", "chosen": chosen}
    return {"T": T, "accuracy_at": at, "early_exit": exits, **more}


def clock(scale):
    times = {"p50_ms": scale, "p95_ms": 2 * scale, "p99_ms": 3 * scale, "all_ms": [scale, 2 * scale, 3 * scale]}
    return {
        "device": "cpu (some machine)",
        "threads": 1,
        "decision": {"batch": 1, "repeats": 3, "spiking": times, "twin": times, "spiking_over": {"twin": 1.0}},
        "throughput": {
            "batch": 8,
            "repeats": 5,
            "spiking": {"samples_per_second": 100.0},
            "twin": {"samples_per_second": 400.0},
            "spiking_over": {"twin": 4.0},
        },
    }


@pytest.fixture
def results(runs):
    return [result(settings.T, 0.9 + 0.04 * settings.seed) for _, settings in runs]


def test_an_entry_is_the_mean_over_seeds_with_their_spread_and_number(runs, results):
    table = time_steps.accuracy_by_time_steps(time_steps.run_results(runs, results))
    frame = table.frame.set_index(["method", "T"])
    assert frame.loc[("bpsta", 2), "accuracy_mean"] == pytest.approx(0.92)
    assert frame.loc[("bpsta", 2), "accuracy_sd"] == pytest.approx(0.04 / 2**0.5)
    assert frame["seeds"].tolist() == [2, 1, 2, 2]
    assert list(table.display.columns) == ["dataset", "method", "T = 2", "T = 4"]
    assert table.display["T = 4"].tolist() == ["90.00 (n = 1)", "92.00 ± 2.83 (n = 2)"]
    assert table.records()[1] == {
        "dataset": "digits",
        "T": 4,
        "method": "stbp",
        "seeds": 1,
        "accuracy_mean": 0.9,
        "accuracy_sd": None,
        "split": "not recorded",
    }


def test_a_number_of_steps_that_a_method_was_not_trained_at_is_a_dash(runs, results):
    some = [place for place, (_, settings) in enumerate(runs) if (settings.method, settings.T) != ("stbp", 4)]
    table = time_steps.accuracy_by_time_steps(
        time_steps.run_results([runs[place] for place in some], [results[place] for place in some])
    )
    assert table.display.set_index("method").loc["stbp", "T = 4"] == "-"


def test_early_exit_is_gathered_with_its_loss_beside_the_steps(runs, results):
    table = time_steps.early_exit(time_steps.run_results(runs, results))
    assert list(table.display.columns[3:]) == [
        "steps at 0.1 pp",
        "loss at 0.1 pp",
        "steps at 1.0 pp",
        "loss at 1.0 pp",
        "seeds",
    ]
    assert table.display.iloc[0].tolist()[3:] == ["1.50 ± 0.00", "0.00 ± 0.00", "1.25 ± 0.00", "2.00 ± 0.00", "2"]
    assert "every second test sample" in table.note


def test_runs_that_differ_in_another_setting_get_rows_of_their_own(settings):
    runs = [
        ("a", settings(method="bpsta")),
        ("b", settings(method="bpsta", data={"epochs": 5})),
        ("c", settings(method="stbp", data={"epochs": 5}, training={"lr": 0.02})),
        ("d", settings(method="bpsta", data={"epochs": 5, "source": "elsewhere"}, T=9)),
    ]
    assert time_steps.labels(runs) == [
        "bpsta (epochs 3, lr 0.01)",
        "bpsta (epochs 5, lr 0.01)",
        "stbp (epochs 5, lr 0.02)",
        "bpsta (epochs 5, lr 0.01)",
    ]


def test_a_rules_own_settings_tell_only_runs_of_that_rule_apart(settings):
    runs = [
        ("a", settings(method="bpsta", rule={"alpha": 0.2})),
        ("b", settings(method="bpsta", rule={"alpha": 0.4})),
        ("c", settings(method="stbp", rule={"surrogate": "sigmoid"})),
    ]
    assert time_steps.labels(runs) == ["bpsta (alpha 0.2)", "bpsta (alpha 0.4)", "stbp"]


def test_runs_of_different_data_sets_are_refused_by_name(settings):
    runs = [("first", settings()), ("second", settings(dataset="mnist"))]
    with pytest.raises(RunError, match=r"runs of different data sets.*digits \(first\), mnist \(second\)"):
        time_steps.labels(runs)


def test_the_same_run_twice_is_refused_as_it_would_count_twice(settings):
    runs = [("one", settings(seed=3)), ("other", settings(seed=4)), ("copy", settings(seed=3))]
    with pytest.raises(RunError, match=r"the same run twice.*one and copy, both bpsta at T = 3 with seed 3"):
        time_steps.labels(runs)


def test_a_run_without_a_history_is_named(tmp_path):
    with pytest.raises(RunError, match=r"no history of a run.*history\.csv"):
        time_steps.history(tmp_path)
    (tmp_path / "history.csv").write_text("")
    with pytest.raises(RunError, match="no history of a run"):
        time_steps.history(tmp_path)


HISTORY = pd.DataFrame({"epoch": [0, 1, 2], "phase": ["twin", "spiking", "spiking"], "accuracy": [0.5, 0.8, 0.9]})


def test_every_figure_is_a_picture_in_both_formats_with_the_colours_of_the_methods(runs, results, tmp_path):
    timed = [found | {"clock": clock(2.0)} for found in results]
    written = anytime.write_figures(time_steps.run_results(runs, timed, [HISTORY] * len(runs)), tmp_path)
    names = {path.name for path in written}
    kinds = ("test-curves", "accuracy-over-time", "early-exit", "decision-times")
    assert names == {f"{kind}.{suffix}" for kind in kinds for suffix in ("png", "svg")}
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG") if path.suffix == ".png" else b"<svg" in path.read_bytes()
    for kind in kinds:
        drawn = (tmp_path / f"{kind}.svg").read_text().lower()
        assert "#0072b2" in drawn  # stbp
        assert "#d55e00" in drawn  # bpsta
    assert "#555555" in (tmp_path / "decision-times.svg").read_text()  # the twin
    again = {path: path.read_bytes() for path in written}
    assert again == {
        path: path.read_bytes()
        for path in anytime.write_figures(time_steps.run_results(runs, timed, [HISTORY] * len(runs)), tmp_path)
    }


def test_untimed_runs_get_no_figure_of_times(runs, results, tmp_path):
    written = anytime.write_figures(time_steps.run_results(runs, results, [HISTORY] * len(runs)), tmp_path)
    assert not any(path.stem == "decision-times" for path in written)


def test_rows_beyond_the_methods_can_be_told_apart_in_a_figure(settings, tmp_path):
    runs = [(str(epochs), settings(data={"epochs": epochs})) for epochs in (3, 4)]
    runs = time_steps.run_results(runs, [result(3, 0.9), result(3, 0.8)], [HISTORY] * 2)
    anytime.write_figures(runs, tmp_path)
    drawn = (tmp_path / "accuracy-over-time.svg").read_text().lower()
    assert "#009e73" in drawn
    assert "#56b4e9" in drawn


def test_the_csv_files_carry_every_value_and_whose_it_is(runs, results, tmp_path):
    results[0] |= {
        "clock": clock(2.0),
        "other_time_steps": [result(2, 0.9), {"T": 3, "accuracy_at": {"1": 0.1, "3": 0.7}}],
    }
    written = anytime.write_tables(time_steps.run_results(runs, results), tmp_path)
    assert [path.name for path in written] == [
        "time-steps.md",
        "time-steps.csv",
        "accuracy-over-time.csv",
        "early-exit.csv",
        "early-exit-chosen.csv",
        "decision-times.csv",
    ]
    over_time = pd.read_csv(tmp_path / "accuracy-over-time.csv")
    first = over_time[over_time["run"] == runs[0][0]]
    assert first[["steps", "t", "accuracy"]].to_numpy().tolist() == [[2, 1, 0.5], [2, 2, 0.9], [3, 1, 0.1], [3, 3, 0.7]]
    assert len(over_time) == 2 + 2 + 2 + 4 + 2 + 2 + 4 + 4
    exits = pd.read_csv(tmp_path / "early-exit.csv")
    assert exits[["method", "T", "seed", "confidence", "mean_steps"]].iloc[-1].tolist() == ["bpsta", 4, 1, 1.0, 1.5]
    assert set(pd.read_csv(tmp_path / "early-exit-chosen.csv")["tolerance"]) == {0.001, 0.01}
    times = pd.read_csv(tmp_path / "decision-times.csv")
    assert times[["subject", "batch"]].to_numpy().tolist() == [["spiking", 1], ["twin", 1], ["spiking", 8], ["twin", 8]]
    assert times["spiking_over"].tolist()[1::2] == [1.0, 4.0]
    assert times["p99_ms"].tolist()[:2] == [6.0, 6.0]
    assert set(times["device"]) == {"cpu (some machine)"}
