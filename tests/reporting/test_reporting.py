"""Tables and figures from results: the values of each run, their mean and spread, and what is missing."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from bpsta_cli.cli.main import run
from bpsta_cli.config import Run, load_params
from bpsta_cli.errors import RunError
from bpsta_cli.files import write_checked_json
from bpsta_cli.reporting import write_report
from bpsta_cli.reporting.collect import collect

ROOT = Path(__file__).parents[2]
ACCURACY = {("stbp", 0): 0.90, ("stbp", 1): 0.94, ("bpsta", 0): 0.95, ("bpsta", 1): 0.95}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def results(tmp_path):
    """Four runs: two rules, two seeds."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    runs = [Run(dataset="digits", recipe="digits", method=method, T=2, seed=seed) for method, seed in ACCURACY]
    params |= {"measured": {run.name: run.model_dump() for run in runs}, "train_only": {}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for (method, seed), accuracy in ACCURACY.items():
        name = f"digits-{method}-T2-s{seed}"
        provenance = {
            "commit": "a" * 40 + "-dirty",
            "device": "cpu",
            "threads": 2,
            "python": "3.11.7",
            "libraries": {"torch": "2.14.1"},
        }
        train = {"dataset": "digits", "method": method, "network": "4C3-AP8-10Voting", "T": 2, "seed": seed}
        train |= {"accuracy": accuracy, "firing_rate": 0.25, "epochs": 3, "selection": "final"}
        write(tmp_path / "train" / name / "metrics.json", train | {"data_hash": "f" * 64, "provenance": provenance})
        history = pd.DataFrame(
            {"epoch": [0, 1, 2], "phase": ["twin", "spiking", "spiking"], "accuracy": [0.5, 0.8, accuracy]}
            | {"train_accuracy": [0.4, 0.7 + seed / 10, 0.9]}
        )
        history.to_csv(tmp_path / "train" / name / "history.csv", index=False)
        energy = {"firing_rate": 0.25, "samples": 360, "paper": {"ratio": 92.0 + seed}}
        energy |= {"memory": {"ratio": 0.5 + seed}, "quantised": {"memory": {"ratio": 0.25}}}
        write(tmp_path / "energy" / f"{name}.json", energy | {"counted": {"ratio": 1.5, "macs": 1e3, "acs": 2e3}})
        write(tmp_path / "latency" / f"{name}.json", {"accuracy_at": {"1": 0.5, "2": accuracy}})
    return tmp_path


def test_every_table_says_which_split_its_values_are_from(results):
    for file in results.glob("train/digits-stbp-*/metrics.json"):
        metrics = json.loads(file.read_text())
        write(file, metrics | {"split": "no official split: the first 90 % of each class"})
    write_report(results, results / "params.yaml")
    for name in ("accuracy", "energy", "latency"):
        table = pd.read_csv(results / "tables" / f"{name}.csv").set_index("method")
        assert table.loc["stbp", "split"] == "no official split: the first 90 % of each class"
        assert table.loc["bpsta", "split"] == "not recorded"
        assert "the first 90 % of each class" in (results / "tables" / f"{name}.md").read_text()


def test_a_row_holds_mean_and_sample_standard_deviation_over_seeds(results):
    write_report(results, results / "params.yaml")
    table = pd.read_csv(results / "tables" / "accuracy.csv").set_index("method")
    assert list(table.index) == ["stbp", "bpsta"]
    assert table.loc["stbp", "seeds"] == 2
    assert table.loc["stbp", "accuracy_mean"] == pytest.approx(0.92)
    assert table.loc["stbp", "accuracy_sd"] == pytest.approx(0.02 * 2**0.5)  # two values 0.04 apart, n - 1
    assert table.loc["bpsta", "accuracy_sd"] == 0
    assert "92.00 ± 2.83" in (results / "tables" / "accuracy.md").read_text()
    energy = pd.read_csv(results / "tables" / "energy.csv").set_index("method")
    assert energy.loc["stbp", "paper_ratio_mean"] == pytest.approx(92.5)
    assert energy.loc["stbp", "memory_ratio_mean"] == pytest.approx(1.0)
    assert energy.loc["stbp", "quantised_ratio_mean"] == pytest.approx(0.25)
    latency = pd.read_csv(results / "tables" / "latency.csv").set_index("method")
    assert latency.loc["stbp", "t2_mean"] == pytest.approx(0.92)


def test_every_figure_is_a_picture_in_both_formats(results):
    report = write_report(results, results / "params.yaml")
    figures = [path for path in report.files if path.parent.name == "figures"]
    assert {path.suffix for path in figures} == {".png", ".svg"}
    for path in figures:
        start = path.read_bytes()[:200]
        assert start.startswith(b"\x89PNG") if path.suffix == ".png" else b"<svg" in path.read_bytes()[:1000]
    drawn = (results / "figures" / "figure-1.svg").read_text()
    assert "#0072b2" in drawn.lower()  # stbp
    assert "#d55e00" in drawn.lower()  # bpsta


def test_the_same_results_give_the_same_bytes(results):
    first = {path: path.read_bytes() for path in write_report(results, results / "params.yaml").files}
    second = {path: path.read_bytes() for path in write_report(results, results / "params.yaml").files}
    assert first == second


def test_a_missing_run_is_named_and_the_rest_is_reported(results):
    (results / "train" / "digits-stbp-T2-s1" / "metrics.json").unlink()
    report = write_report(results, results / "params.yaml")
    assert report.missing == ["digits-stbp-T2-s1"]
    assert "- not there: digits-stbp-T2-s1\n" in (results / "tables" / "README.md").read_text()
    table = pd.read_csv(results / "tables" / "accuracy.csv").set_index("method")
    assert (table.loc["stbp", "seeds"], table.loc["bpsta", "seeds"]) == (1, 2)
    assert pd.isna(table.loc["stbp", "accuracy_sd"])


def test_a_run_that_was_not_measured_stands_in_the_other_tables(results):
    (results / "energy" / "digits-stbp-T2-s1.json").unlink()
    for file in results.glob("latency/*.json"):
        file.unlink()
    report = write_report(results, results / "params.yaml")
    assert report.missing[:2] == ["digits-stbp-T2-s0 (latency)", "digits-stbp-T2-s1 (energy)"]
    names = [table.name for table in report.tables if table.supplementary]
    assert names == ["methods", "accuracy", "comparison", "learning", "energy"]
    seeds = {
        name: pd.read_csv(results / "tables" / f"{name}.csv").set_index("method").loc["stbp", "seeds"]
        for name in ("accuracy", "energy")
    }
    assert seeds == {"accuracy": 2, "energy": 1}
    assert "accuracy-over-time" not in (results / "tables" / "README.md").read_text()


@pytest.mark.parametrize("file", ["train/digits-stbp-T2-s0/metrics.json", "energy/digits-stbp-T2-s0.json"])
def test_a_damaged_result_is_not_reported(results, file):
    write_checked_json(results / file, json.loads((results / file).read_text()))
    write_report(results, results / "params.yaml")
    content = bytearray((results / file).read_bytes())
    content[len(content) // 2] ^= 1
    (results / file).write_bytes(content)
    with pytest.raises(RunError, match="unreadable result"):
        write_report(results, results / "params.yaml")


def test_a_damaged_history_is_not_reported(results):
    folder = results / "train" / "digits-stbp-T2-s0"
    metrics = json.loads((folder / "metrics.json").read_text())
    write_checked_json(folder / "metrics.json", {**metrics, "files": {"history.csv": "0" * 64}})
    with pytest.raises(RunError, match=r"unreadable result.*history\.csv: .*got another checksum"):
        write_report(results, results / "params.yaml")


def test_a_dirty_tree_shows_in_the_provenance(results):
    write_report(results, results / "params.yaml")
    assert "aaaaaaaaaaaa-dirty" in (results / "tables" / "README.md").read_text()


def test_the_machine_shows_in_the_provenance_and_runs_of_two_machines_are_two_rows(results):
    file = results / "train" / "digits-stbp-T2-s0" / "metrics.json"
    metrics = json.loads(file.read_text())
    metrics["provenance"]["machine"] = {
        "processor": "Vendor 1-2-3",
        "caches": "",
        "instructions": "avx2",
        "builds": "t 2",
    }
    file.write_text(json.dumps(metrics))
    rows = write_report(results, results / "params.yaml").provenance.set_index("machine")
    assert rows["runs"].to_dict() == {"Vendor 1-2-3; t 2": "1", "-": "3"}


def test_a_run_whose_provenance_nobody_recorded_is_reported_as_such(results):
    for file in results.glob("train/*/metrics.json"):
        metrics = json.loads(file.read_text())
        del metrics["provenance"]
        file.write_text(json.dumps(metrics))
    report = write_report(results, results / "params.yaml")
    assert (report.provenance[["commit", "device"]] == "not recorded").all(axis=None)
    assert "not recorded" in report.page.read_text()


def test_no_results_and_unreadable_results_are_refused(results, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(RunError, match="Run dvc repro"):
        write_report(empty, results / "params.yaml")
    (results / "energy" / "digits-stbp-T2-s1.json").write_text("{")
    with pytest.raises(RunError, match=r"energy/digits-stbp-T2-s1\.json"):
        write_report(results, results / "params.yaml")


def test_reporting_loads_no_torch():
    script = "import sys, bpsta_cli.reporting; assert not {'torch', 'sklearn', 'tonic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_report_command_prints_what_it_wrote(results, capsys):
    arguments = ["report", "--results", str(results), "--params", str(results / "params.yaml"), "--json"]
    assert run(arguments) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["missing"] == []
    assert all(Path(path).is_file() for path in written["files"])


def test_the_rules_are_held_against_the_baseline_with_welchs_test(results):
    for (method, seed), rate in {("stbp", 0): 0.2, ("stbp", 1): 0.3, ("bpsta", 0): 0.1, ("bpsta", 1): 0.1}.items():
        file = results / "train" / f"digits-{method}-T2-s{seed}" / "metrics.json"
        write(file, json.loads(file.read_text()) | {"firing_rate": rate})
    write_report(results, results / "params.yaml")
    row = pd.read_csv(results / "tables" / "comparison.csv").iloc[0]
    assert (row["method"], row["seeds"], row["accuracy_difference"]) == ("bpsta", 2, pytest.approx(0.03))
    # t = 0.03 / sqrt(0.0008 / 2) = 1.5 with 1 degree of freedom: p = 1 - 2 atan(1.5) / pi
    assert row["accuracy_p"] == pytest.approx(1 - 2 * math.atan(1.5) / math.pi)
    assert row["firing_rate_change"] == pytest.approx(0.1 / 0.25 - 1)
    shown = (results / "tables" / "comparison.md").read_text()
    assert "| digits | 2 | bpsta | +3.00 | 0.374 | -60.0 | 0.205 | 2 |" in shown


def test_one_seed_or_no_baseline_gives_no_test(results):
    params = yaml.safe_load((results / "params.yaml").read_text())
    params["measured"] = {name: run for name, run in params["measured"].items() if run["seed"] == 0}
    (results / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    write_report(results, results / "params.yaml")
    assert "| digits | 2 | bpsta | +5.00 | - | +0.0 | - | 1 |" in (results / "tables" / "comparison.md").read_text()
    params["measured"] = {name: run for name, run in params["measured"].items() if run["method"] == "bpsta"}
    (results / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    tables = write_report(results, results / "params.yaml").tables
    names = [table.name for table in tables if table.supplementary]
    assert names == ["methods", "accuracy", "learning", "energy", "latency"]


def test_early_exit_is_reported_with_its_steps_and_what_it_loses(results):
    for seed, steps in enumerate((1.25, 1.75)):
        file = results / "latency" / f"digits-bpsta-T2-s{seed}.json"
        chosen = [{"tolerance": 0.01, "mean_steps": steps, "loss": 0.005}]
        write(file, json.loads(file.read_text()) | {"early_exit": {"chosen_on": "held-out samples", "chosen": chosen}})
    write_report(results, results / "params.yaml")
    row = pd.read_csv(results / "tables" / "early-exit.csv").iloc[0]
    assert row[["method", "steps_1.0_mean", "loss_1.0_mean", "seeds"]].tolist() == ["bpsta", 1.5, 0.005, 2]
    shown = (results / "tables" / "early-exit.md").read_text()
    assert "| digits | 2 | bpsta | 1.50 ± 0.35 | 0.50 ± 0.00 | 2 |" in shown
    assert "chosen on held-out samples" in shown


def test_learning_is_reported_from_the_warm_up_to_the_end(results):
    write_report(results, results / "params.yaml")
    frame = pd.read_csv(results / "tables" / "learning.csv")
    milestones = frame[["twin_mean", "first_mean", "second_mean", "half_mean", "end_mean"]]
    assert milestones.iloc[0].tolist() == pytest.approx([0.4, 0.75, 0.9, 0.75, 0.9])


def test_a_run_that_is_trained_alone_lacks_no_measurement(results):
    params = yaml.safe_load((results / "params.yaml").read_text())
    params["train_only"] = {"digits-bpsta-T2-s1": params["measured"].pop("digits-bpsta-T2-s1")}
    (results / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    found = collect(results, load_params(results / "params.yaml"))
    assert [run.name for run in found.runs][-1] == "digits-bpsta-T2-s1"
    assert (found.runs[-1].energy, found.runs[-1].latency, found.missing) == ({}, {}, [])
    assert {run.recipe for run in found.runs} == {"digits"}


def with_twins(results, **quantised):
    """The study's energies with the bits of their quantised account, and two twins, one of them quantised."""
    for file in (results / "energy").glob("*.json"):
        energy = json.loads(file.read_text())
        write(file, energy | {"quantised": {"bits": 2, "memory": {"ratio": 0.25}}})
    params = yaml.safe_load((results / "params.yaml").read_text())
    for seed, accuracy in ((0, 0.96), (1, 0.98)):
        run = Run(dataset="digits", recipe="digits", method="ann", T=2, seed=seed)
        params["train_only"][run.name] = run.model_dump()
        shutil.copytree(results / "train" / f"digits-stbp-T2-s{seed}", results / "train" / run.name)
        metrics = json.loads((results / "train" / run.name / "metrics.json").read_text())
        twin = {"method": "ann", "accuracy": accuracy, "firing_rate": None}
        write(results / "train" / run.name / "metrics.json", metrics | twin)
        if quantised:
            found = {"bits": 2, "accuracy": 0.8 + seed / 10, "fine_tuned": {"accuracy": 0.94 + seed / 50}}
            write(results / "eval" / f"{run.name}.json", {"accuracy": accuracy, "quantised": found | quantised})
    (results / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    write_report(results, results / "params.yaml")
    tables = results / "tables"
    return pd.read_csv(tables / "energy.csv").set_index("method"), (tables / "energy.md").read_text()


def test_the_accuracy_of_quantised_twins_stands_beside_the_energies(results):
    frame, text = with_twins(results, weight_bits=8)
    row = frame.loc["stbp"]
    assert row[["twin_accuracy_mean", "calibrated_twin_accuracy_mean"]].tolist() == pytest.approx([0.97, 0.85])
    assert row["quantised_twin_accuracy_mean"] == pytest.approx(0.95)
    assert row["quantised_twin_accuracy_sd"] == pytest.approx(0.02 / 2**0.5)
    assert "| 97.00 ± 1.41 | 95.00 ± 1.41 |" in text


@pytest.mark.parametrize("quantised", [{}, {"bits": 4}])
def test_results_without_a_twin_of_these_bits_have_an_empty_cell(results, quantised):
    frame, text = with_twins(results, **quantised)
    assert frame["quantised_twin_accuracy_mean"].isna().all()
    assert "| 97.00 ± 1.41 | - |" in text


def test_a_twin_that_was_calibrated_alone_counts_with_that_accuracy(results):
    frame, _ = with_twins(results, fine_tuned=None)
    assert frame.loc["stbp", "quantised_twin_accuracy_mean"] == pytest.approx(0.85)


def test_a_run_without_results_is_named_with_its_data_set(results):
    (results / "train" / "digits-stbp-T2-s1" / "metrics.json").unlink()
    found = collect(results, load_params(results / "params.yaml"))
    assert found.missing == ["digits-stbp-T2-s1"]
    assert found.asked[found.missing[0]] == "digits"
    assert (len(found.asked), len(found.runs)) == (4, 3)


def test_a_study_without_runs_has_nothing_to_report(results):
    params = yaml.safe_load((results / "params.yaml").read_text()) | {"measured": {}, "train_only": {}}
    (results / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.raises(RunError, match="names no runs"):
        write_report(results, results / "params.yaml")
