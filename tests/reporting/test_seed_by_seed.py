"""Runs in a folder -> a table, a comparison seed by seed, and the front of accuracy against spikes."""

import json
import math
import re

import pandas as pd
import pytest
import typer
from test_pipeline import script

from bpsta_cli.errors import RunError
from bpsta_cli.reporting.front import front
from bpsta_cli.reporting.run_table import read_run_table, run_table
from bpsta_cli.reporting.seed_by_seed import seed_by_seed


def a_run(method, seed, accuracy, rate, *, T=8, rule=None, norm="folded", recipe="digits"):
    return {
        **{"run": f"{recipe}-{method}-T{T}-s{seed}", "recipe": recipe, "dataset": "digits", "method": method},
        **{"rule": rule or method, "T": T, "seed": seed, "accuracy": accuracy, "firing_rate": rate},
        **{"lowest_layer_rate": rate, "epochs": 4, "network": "4C3-10Voting", "norm": norm, "part": "test"},
    }


def table(*rows):
    return pd.DataFrame(rows)


def test_seeds_are_paired_and_one_that_only_one_side_has_is_left_out():
    runs = [a_run("stbp", seed, value, 0.2) for seed, value in enumerate((0.90, 0.80, 0.70, 0.10))]
    runs += [
        a_run("bpsta", seed, value, rate) for seed, value, rate in ((2, 0.73, 0.1), (1, 0.82, 0.15), (0, 0.91, 0.2))
    ]
    (row,) = seed_by_seed(table(*runs), ["stbp"]).records()
    assert (row["seeds"], row["method"], row["against"]) == (3, "bpsta", "stbp")
    assert row["accuracy_mean"] == pytest.approx(2.0)
    assert row["accuracy_p"] == pytest.approx(1 - math.sqrt(12 / 14))
    assert row["firing_rate_mean"] == pytest.approx(-25.0)


def test_cells_of_other_steps_norms_and_recipes_are_compared_within_themselves():
    def cell(base, **more):
        return [
            a_run(m, s, base + 0.01 * (m == "bpsa") + 0.001 * s, 0.1, **more) for m in ("stbp", "bpsa") for s in (0, 1)
        ]

    runs = cell(0.5) + cell(0.9, T=4) + cell(0.2, norm="per-step") + cell(0.3, recipe="other")
    found = seed_by_seed(table(*runs), ["stbp"])
    assert [row["accuracy_mean"] for row in found.records()] == pytest.approx([1.0] * 4)
    assert list(found.display["data"]) == [
        *("digits, norm folded", "digits, norm folded", "digits, norm per-step", "other, norm folded")
    ]


def test_p_is_corrected_over_all_rows_of_its_family():
    runs = []
    for T, step in ((4, 0.010), (8, 0.011), (16, 0.012)):
        for seed in range(4):
            runs.append(a_run("stbp", seed, 0.5, 0.2, T=T))
            runs.append(a_run("bpsa", seed, 0.5 + step + 0.001 * seed, 0.2, T=T))
    rows = seed_by_seed(table(*runs), ["stbp"]).records()
    assert all(row["firing_rate_p"] is None for row in rows)
    by_p = sorted(rows, key=lambda row: row["accuracy_p"])
    assert by_p[0]["accuracy_p_holm"] == pytest.approx(3 * by_p[0]["accuracy_p"])


def test_the_first_baseline_that_a_cell_has_is_its_own_and_a_cell_without_one_has_no_row():
    runs = [a_run(m, s, 0.5 + 0.1 * s, 0.1) for m in ("stbp", "stbp-penalty", "bpsa") for s in (0, 1)]
    runs += [a_run(m, s, 0.5 + 0.1 * s, 0.1, T=4) for m in ("stbp-penalty", "bpsa") for s in (0, 1)]
    found = seed_by_seed(table(*runs), ["stbp", "stbp-penalty"]).records()
    assert [(row["T"], row["method"], row["against"]) for row in found] == [
        *((8, "stbp-penalty", "stbp"), (8, "bpsa", "stbp"), (4, "bpsa", "stbp-penalty"))
    ]
    assert seed_by_seed(table(*runs), ["nothing"]).records() == []


def test_the_front_is_what_no_other_method_of_the_cell_beats_in_both():
    runs = [
        a_run("stbp", 0, 0.90, 0.20),
        a_run("bpsa", 0, 0.90, 0.10),  # as accurate with fewer spikes
        a_run("bpsta", 0, 0.95, 0.15),
        a_run("stbp-penalty", 0, 0.80, 0.10, rule="stbp"),  # fewer right with as many spikes
        a_run("bpsa", 0, 0.99, 0.01, T=4),  # another cell
        a_run("ann", 0, 1.0, None),
    ]
    points = front(table(*runs)).set_index(["T", "method"])["on_front"]
    assert dict(points) == {
        **{(8, "stbp"): False, (8, "bpsa"): True, (8, "bpsta"): True, (8, "stbp-penalty"): False},
        (4, "bpsa"): True,
    }


@pytest.fixture
def runs_on_disk(tmp_path):
    """Two methods, two seeds; the best epoch is not the last."""
    data = {"network": "4C3-10Voting", "epochs": 2, "warmup_epochs": 0, "batch_size": 8}
    for method, variant in (("stbp", None), ("bpsa", "bpsa-gate")):
        for seed in (0, 1):
            label = variant or method
            folder = tmp_path / "runs" / f"tiny-{label}-T2-s{seed}"
            folder.mkdir(parents=True)
            accuracy = 0.5 + 0.1 * seed + 0.2 * (method == "bpsa")
            run = {"dataset": "digits", "method": method, "variant": variant, "T": 2, "seed": seed, "data": data}
            (folder / "settings.json").write_text(json.dumps({"settings": run}))
            metrics = {"dataset": "digits", "method": label, "network": "4C3-10Voting", "T": 2, "seed": seed}
            metrics |= {"accuracy": 0.99, "firing_rate": 0.3, "epochs": 2, "selection": "test", "data_hash": "0"}
            (folder / "metrics.json").write_text(json.dumps(metrics))
            (folder / "history.csv").write_text(
                "epoch,phase,train_accuracy,accuracy,firing_rate,train_firing_rate/lif1,train_firing_rate/lif2\n"
                "0,spiking,0.5,0.99,0.3,0.4,0.2\n"
                f"1,spiking,0.5,{accuracy},0.1,0.05,0.15\n"
            )
    return tmp_path / "runs"


def test_a_row_is_of_the_last_epoch_whatever_epoch_was_selected(runs_on_disk):
    first = run_table(runs_on_disk).iloc[0]
    assert (first["run"], first["recipe"], first["method"], first["rule"]) == (
        "tiny-stbp-T2-s0",
        "tiny",
        "stbp",
        "stbp",
    )
    assert (first["accuracy"], first["firing_rate"], first["lowest_layer_rate"]) == (0.5, 0.1, 0.05)
    last = run_table(runs_on_disk).iloc[-1]
    assert (last["run"], last["recipe"], last["method"], last["rule"]) == (
        "tiny-bpsa-gate-T2-s1",
        "tiny",
        "bpsa-gate",
        "bpsa",
    )


def test_where_a_run_held_a_part_out_the_row_is_of_that_part_and_is_compared_with_no_row_of_the_test_part(runs_on_disk):
    for folder in runs_on_disk.glob("tiny-bpsa-gate-*"):
        settings = json.loads((folder / "settings.json").read_text())
        settings["settings"]["training"] = {"selection": "validation"}
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "history.csv").write_text(
            "epoch,phase,train_accuracy,accuracy,firing_rate,validation_accuracy,validation_firing_rate\n"
            "0,spiking,0.5,0.9,0.1,0.5,0.3\n"
            "1,spiking,0.5,0.9,0.1,0.6,0.2\n"
        )
    found = run_table(runs_on_disk)
    held_out = found[found["method"] == "bpsa-gate"]
    assert set(zip(held_out["part"], held_out["accuracy"], held_out["firing_rate"], strict=True)) == {
        ("validation", 0.6, 0.2)
    }
    assert set(found[found["method"] == "stbp"]["part"]) == {"test"}
    assert seed_by_seed(found, ["stbp"]).frame.empty


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(RunError, match="nothing to compare"):
        run_table(tmp_path)


MADE = {"methods.md", "comparison.csv", "comparison.md", "front.csv", "front.png", "front.svg"}


def compared(runs, out, **chosen):
    script("compare").main(runs, out, ["stbp"], **{"recipe": [], "method": []} | chosen, margin=0.5, rate_margin=5.0)
    return {file.name: file.read_bytes() for file in out.iterdir()}


def test_the_script_writes_the_tables_and_the_picture(runs_on_disk, tmp_path, capsys):
    written = compared(runs_on_disk, tmp_path / "out")
    assert "| tiny | 2 | bpsa-gate | stbp | 2 | +20.00 (+20.00 to +20.00) |" in capsys.readouterr().out
    assert written.keys() == {"runs.csv", *MADE}
    assert pd.read_csv(tmp_path / "out" / "front.csv").set_index("method").loc["bpsa-gate", "on_front"]
    texts = re.findall("<!-- (.+) -->", written["front.svg"].decode())
    assert [text for text in texts if not text[0].isdigit()] == [
        *("firing rate", "test accuracy, %", "tiny, T = 2, 2\N{NO-BREAK SPACE}seeds", "stbp", "bpsa-gate")
    ]


def test_the_script_makes_the_same_of_the_table_of_runs_as_of_their_folder(runs_on_disk, tmp_path):
    of_folder = compared(runs_on_disk, tmp_path / "one")
    of_table = compared(tmp_path / "one" / "runs.csv", tmp_path / "other")
    assert of_table == {name: of_folder[name] for name in MADE}


def test_the_script_compares_the_named_methods_and_keeps_every_run_in_its_table(runs_on_disk, tmp_path, capsys):
    written = compared(runs_on_disk, tmp_path / "out", method=["stbp"])
    assert written["runs.csv"].decode() == run_table(runs_on_disk).to_csv(index=False)
    assert set(pd.read_csv(tmp_path / "out" / "front.csv")["method"]) == {"stbp"}
    with pytest.raises(typer.Exit) as ended:
        compared(runs_on_disk, tmp_path / "none", method=["stbp", "bpsa-gat"])
    assert ended.value.exit_code == 2
    assert "got 'bpsa-gat'. Did you mean bpsa-gate?" in capsys.readouterr().err


def test_a_table_of_runs_is_read_from_its_csv_value_by_value(runs_on_disk, tmp_path):
    made = run_table(runs_on_disk)
    made.loc[0, ["accuracy", "firing_rate", "norm"]] = [0.1 + 0.2, None, "none"]
    file = tmp_path / "runs.csv"
    file.write_text(made.to_csv(index=False))
    assert read_run_table(file).to_csv(index=False) == file.read_text()
    pd.testing.assert_frame_equal(read_run_table(file), made, check_dtype=False)


@pytest.mark.parametrize(
    ("old", "new", "got"),
    [
        ("run,recipe", "name,recipe", "run: Field required"),
        (",test,", ",train,", "part: Input should be 'test' or 'validation'"),
        (",0.5,", ",50,", "accuracy: Input should be less than or equal to 1"),
        (",folded\n", "\n", "norm: Input should be a valid string"),
        (",folded\n", ",folded,more\n", "Keys should be strings"),
        ("", '"', "unexpected end of data"),
    ],
)
def test_another_table_is_refused_with_what_is_wrong_in_it(runs_on_disk, tmp_path, old, new, got):
    file = tmp_path / "runs.csv"
    text = run_table(runs_on_disk).to_csv(index=False)
    file.write_text(text.replace(old, new) if old else new + text)
    with pytest.raises(RunError, match=re.escape(got)):
        read_run_table(file)
