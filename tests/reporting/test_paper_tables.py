"""The paper's tables: values by hand, whose they are, what they were trained on, and what is not there."""

import io
import math

import pandas as pd
import pytest
from made_up_runs import PRINTED, a_run, study, two_rules

from bpsta_cli.errors import SettingsError
from bpsta_cli.reporting.artifacts import markdown
from bpsta_cli.reporting.paper import TABLES, literature, tables
from bpsta_cli.reporting.paper.study import Study, check_stand_ins

STAND_INS = {"mnist": "digits", "dvs-gesture": "synthetic-gestures"}
# t = 3 / sqrt(8 / 2) = 1.5 with 1 degree of freedom, since one of the two samples has no spread
WELCH = 1 - 2 * math.atan(1.5) / math.pi


def table(number, *runs, **more):
    return TABLES[number - 1].table(study(runs, **more))


def ours(found, dataset="mnist"):
    """Our rows on one data set, by method."""
    rows = found.frame[(found.frame["source"] == "ours") & (found.frame["dataset"] == dataset)]
    return rows.set_index("method")


def test_a_row_is_mean_sd_and_difference_over_seeds():
    found = ours(table(1, *two_rules()))
    assert found.loc["stbp", ["accuracy_percent", "seeds"]].tolist() == [pytest.approx(92), 2]
    assert found.loc["stbp", "sd_percent"] == pytest.approx(2 * 2**0.5)  # two values 4 apart, n - 1
    assert pd.isna(found.loc["stbp", "difference_points"])  # the paper's baseline is not in its Table 1
    # the paper's row of the same T, not its other one
    assert found.loc["bpsta", ["paper_percent", "difference_points"]].tolist() == [99, pytest.approx(-4)]


def test_a_paper_value_at_another_t_is_compared_where_there_is_no_other():
    found = ours(table(1, a_run("bpsta", 0, 0.95, T=16)))
    assert found.loc["bpsta", "paper_percent"] == 99.6  # the first of the two that are printed


@pytest.mark.parametrize(("structure", "value"), [("resnet34", 90.5), ("middle", 80.5), ("4C3-10Voting", 80.5)])
def test_a_run_is_held_against_the_papers_value_of_the_same_structure(structure, value):
    found = ours(table(1, a_run("bpsta", 0, 0.85, dataset="cifar10", network=structure)), "cifar10")
    assert found.loc["bpsta", ["paper_percent", "difference_points"]].tolist() == [value, pytest.approx(85 - value)]


def test_where_the_paper_contradicts_itself_is_said_beside_the_value():
    rows = table(1).frame.query("source == 'paper' and dataset == 'mnist'")
    assert rows["remark"].tolist() == ["", "its Table 4 prints 93.5"]  # of the same structure and T alone
    row = table(5).frame.query("dataset == 'n-mnist'").iloc[0]
    # 46 / (16 x 0.125) = 23.0, and 23.1 is printed
    assert row["remark"].endswith("; the paper's own: its Eq. 1 gives 23.0 for the ratio 23.1")
    ablation = ours(table(4, *two_rules(), text=PRINTED)).loc["bpsta", "remark"]
    assert ablation == "mnist; the paper's own: its Table 1 prints 99.0"


def test_the_literatures_values_and_ours_are_never_mixed():
    found = table(1, *two_rules())
    on_mnist = found.frame[found.frame["dataset"] == "mnist"]
    printed = on_mnist[on_mnist["source"] != "ours"]
    assert printed["accuracy_percent"].tolist() == [87, 99.6, 99, 88.5]
    assert printed["source"].tolist() == ["literature", "paper", "paper", "elsewhere"]
    assert printed[["seeds", "selection", "epochs", "trained_on", "difference_points"]].isna().all(axis=None)
    own = on_mnist[on_mnist["source"] == "ours"]
    assert own["accuracy_percent"].tolist() == pytest.approx([92, 95])
    assert own[["reference", "identifier", "quoted_from"]].isna().all(axis=None)
    display = found.display[found.display["data set"] == "MNIST"]
    # what the paper prints, then ours, then works that it does not print
    by = ["Doe 2018", *["Shen et al. 2022, the paper"] * 2, *["this study"] * 2, "Roe 2019"]
    assert display["by"].tolist() == by
    accuracies = ["87.0", "99.6", "99.0", "92.00 ± 2.83", "95.00 ± 0.00", "88.50 ± 0.02"]
    assert display["accuracy, %"].tolist() == accuracies
    assert display["remarks"].tolist()[-1] == "not in the paper's table"


@pytest.mark.parametrize("number", range(1, 7))
def test_a_stand_in_is_named_in_every_row_and_has_no_difference_to_the_paper(number):
    runs = [*two_rules(dataset="digits"), *two_rules(dataset="synthetic-gestures", T=4)]
    found = table(number, *runs, stand_ins=STAND_INS)
    trained = found.frame["trained_on"].notna()
    assert set(found.frame.loc[trained, "trained_on"]) <= {"digits", "synthetic-gestures"}
    assert trained.any() == (number != 3)
    assert found.frame.loc[trained, "stand_in"].all()
    for words in found.display.loc[trained.to_numpy(), "remarks"]:
        assert ", a stand-in" in words
        assert ("simulated" in words) == ("synthetic" in words)
    if "difference_points" in found.frame:
        assert found.frame["difference_points"].isna().all()
        assert set(found.display.get("to the paper, points", ["-"])) == {"-"}


def test_runs_on_the_papers_own_data_set_go_before_its_stand_in():
    runs = [*two_rules(dataset="digits"), a_run("bpsta", 0, 0.97)]
    found = ours(table(1, *runs, stand_ins=STAND_INS))
    assert found["trained_on"].tolist() == ["mnist"]
    assert found["difference_points"].tolist() == [pytest.approx(-2)]


def test_a_data_set_without_a_run_is_a_row_that_says_why():
    missing = ["digits-stbp-T8-s0", "digits-stbp-T8-s1", "cifar10-ann-T8-s0", "mnist-s (energy)"]
    asked = {"digits-stbp-T8-s0": "digits", "digits-stbp-T8-s1": "digits", "cifar10-ann-T8-s0": "cifar10"}
    found = table(1, missing=missing, asked=asked, stand_ins=STAND_INS)
    rows = found.display[found.display["by"] == "this study"].set_index("data set")
    assert rows["remarks"].to_dict() == {
        "MNIST": "no run: digits-stbp-T8-s0 and 1 more missing",
        "CIFAR10": "no run: cifar10-ann-T8-s0 missing",
        "CIFAR100": "no run: not asked for in params.yaml",
    }
    assert set(rows["accuracy, %"]) == {"-"}


@pytest.mark.parametrize("number", range(1, 7))
def test_csv_and_markdown_hold_the_same_values(number):
    found = table(number, *two_rules(counted=2.0), stand_ins=STAND_INS)
    csv = pd.read_csv(io.StringIO(found.frame.to_csv(index=False)))
    lines = [line for line in markdown(found).splitlines() if line.startswith("| ")]
    header, *rows = [[entry.strip() for entry in line.strip("|").split("|")] for line in lines]
    assert len(rows) == len(csv)
    for entries, row in zip(rows, csv.to_dict("records"), strict=True):
        entry = dict(zip(header, entries, strict=True))["accuracy, %"]
        percent = row["accuracy_percent"]
        assert (entry == "-") if math.isnan(percent) else float(entry.split()[0]) == pytest.approx(percent, abs=0.005)
        if not math.isnan(row["sd_percent"]):
            assert float(entry.split()[2]) == pytest.approx(row["sd_percent"], abs=0.005)


def test_no_accuracy_decides_which_t_stands_in_a_table():
    few = [a_run("bpsta", seed, 0.99, T=8) for seed in range(2)]
    many = [a_run("bpsta", seed, 0.90, T=4) for seed in range(3)]
    assert ours(table(1, *few, *many))["T"].tolist() == [4]
    assert ours(table(1, *few, *many[:2]))["T"].tolist() == [8]  # of equals the longest
    measured = a_run("bpsta", 0, 0.5, T=2, counted=2.0)
    assert ours(table(1, *few, *many, measured))["T"].tolist() == [2]


def test_runs_of_another_recipe_are_no_seeds():
    runs = [a_run("bpsta", 0, 0.90), a_run("bpsta", 0, 0.96, recipe="mnist-large")]
    found = table(1, *runs).frame
    found = found[found["source"] == "ours"].query("dataset == 'mnist'")
    assert found["accuracy_percent"].tolist() == pytest.approx([90, 96])
    assert found["seeds"].tolist() == [1, 1]
    assert found["settings"].tolist() == ["mnist", "mnist-large"]
    assert found["remark"].tolist() == ["mnist", "mnist, recipe mnist-large"]


def test_the_twin_on_still_images_has_one_step_and_counts_once_a_seed():
    twins = [a_run("ann", 0, 0.98, T=4), a_run("ann", 0, 0.98, T=8), a_run("ann", 1, 0.96, T=8)]
    found = ours(table(1, *two_rules(), *twins))
    assert list(found.index) == ["ann", "stbp", "bpsta"]
    assert found.loc["ann", ["T", "seeds", "accuracy_percent"]].tolist() == [1, 2, pytest.approx(97)]
    events = [a_run(method, 0, 0.9, dataset="n-mnist", T=T) for method in ("ann", "bpsta") for T in (4, 8)]
    assert ours(table(2, *events), "n-mnist")["T"].to_dict() == {"ann": 8, "bpsta": 8}


def test_a_part_of_a_data_set_and_the_choice_of_the_epoch_are_said():
    split = "official; a partial copy: 900 of 60,000 training and 100 of 10,000 test samples"
    part = a_run("stbp", 0, 0.9, split=split, train_samples=500, selection="test")
    whole = a_run("bpsta", 0, 0.9, train_samples=2000, selection="validation")
    display = table(1, part, whole).display.query("by == 'this study' and `data set` == 'MNIST'")
    assert display["remarks"].tolist() == [
        "mnist, 500 training samples, 900 of 60,000 training and 100 of 10,000 test samples",
        "mnist, 2,000 training samples",
    ]
    assert display["epoch"].tolist() == ["best on test of 4", "best on validation of 4"]
    assert split in table(1, part).note


def test_the_ablation_holds_each_rule_against_the_baseline_and_the_paper():
    found = table(4, *two_rules())
    row = ours(found).loc["bpsta"]
    assert (row["gain_points"], row["gain_p"]) == (pytest.approx(3), pytest.approx(WELCH))
    # the paper's: 93.5 against its baseline's 91; ours 95 against 93.5
    assert (row["paper_percent"], row["paper_gain_points"], row["difference_points"]) == (93.5, 2.5, pytest.approx(1.5))
    baseline = ours(found).loc["stbp"]
    assert baseline[["gain_points", "gain_p", "paper_gain_points"]].isna().all()
    assert baseline["difference_points"] == pytest.approx(1)
    assert found.display.iloc[1].tolist()[5:10] == ["+3.00", f"{WELCH:.3f}", "93.50", "+2.50", "+1.50"]


def test_energy_stands_beside_the_twins_accuracy_and_the_papers_values():
    runs = [*two_rules(T=16, counted=2.0), a_run("ann", 0, 0.97, T=16, rate=None)]
    found = table(5, *runs)
    baseline, method = ours(found).loc["stbp"], ours(found).loc["bpsta"]
    assert method["firing_rate_change_percent"] == pytest.approx(100 * (0.1 / 0.25 - 1))
    # t = 0.15 / sqrt(0.005 / 2) = 3 with 1 degree of freedom
    assert method["firing_rate_p"] == pytest.approx(1 - 2 * math.atan(3) / math.pi)
    assert (method["paper_ratio_mean"], method["counted_ratio_mean"]) == (pytest.approx(46 / 1.6), 2)
    assert (method["memory_ratio_mean"], method["quantised_memory_ratio_mean"]) == (1, 0.5)
    assert (method["twin_percent"], method["twin_seeds"]) == (97, 1)
    assert baseline[["paper_percent", "paper_firing_rate", "paper_printed_ratio"]].tolist() == [91, 0.25, 11.5]
    assert pd.isna(method["paper_printed_ratio"])
    assert "ann" not in ours(found).index
    # the paper's data set that nothing was run on stands there with the paper's values alone
    alone = found.frame[found.frame["dataset"] == "n-mnist"]
    assert alone[["method", "paper_firing_rate", "paper_printed_ratio", "T"]].to_numpy().tolist() == [
        ["bpsta", 0.125, 23.1, 16]
    ]
    assert alone[["accuracy_percent", "firing_rate_mean", "trained_on"]].isna().all(axis=None)
    shown = found.display["twin; quantised, %"]
    assert shown.tolist() == ["97.00; -" if dataset == "mnist" else "-" for dataset in found.frame["dataset"]]


def test_energy_stands_beside_the_quantised_twins_accuracy():
    runs = two_rules(T=4, counted=2.0)
    for run in runs:
        run.energy["frames"] = 1
        run.energy["quantised"]["bits"] = 3
    twins = [a_run("ann", seed, 0.97, T=8, rate=None) for seed in (0, 1)]  # one image whatever T is
    for twin, accuracy in zip(twins, (0.95, 0.97), strict=True):
        twin.evaluation["quantised"] = {"bits": 3, "accuracy": 0.9, "fine_tuned": {"accuracy": accuracy}}
    row = ours(table(5, *runs, *twins)).loc["bpsta"]
    assert (row["quantised_bits"], row["calibrated_twin_percent"]) == (3, pytest.approx(90))
    assert (row["quantised_twin_percent"], row["quantised_twin_sd_percent"]) == pytest.approx((96, 2**0.5))
    for run in runs:
        run.energy["frames"] = 4  # other frames of events
    assert pd.isna(ours(table(5, *runs, *twins)).loc["bpsta", "quantised_twin_percent"])


def test_a_run_whose_energy_was_not_counted_says_so():
    row = ours(table(5, a_run("bpsta", 0, 0.9))).loc["bpsta"]
    assert row["remark"] == "mnist; energy not measured"
    assert pd.isna(row["paper_ratio_mean"])


def test_latency_has_a_row_for_each_t_and_holds_rules_of_equal_t_together():
    runs = [*two_rules(T=4), *two_rules(T=8), a_run("bpsta", 0, 0.80, T=2)]
    found = table(6, *runs, stand_ins=STAND_INS)
    rows = found.frame[found.frame["dataset"] == "mnist"]
    assert rows["T"].tolist() == [32, 16, 8, 8, 4, 4, 2]  # in the paper's order
    at_4 = rows[(rows["T"] == 4) & (rows["method"] == "bpsta")].iloc[0]
    assert (at_4["gain_points"], at_4["gain_p"]) == (pytest.approx(3), pytest.approx(WELCH))
    assert pd.isna(rows.iloc[-1]["gain_points"])  # no baseline was trained at T = 2
    # the paper's own value stands where ours is not there, and is not taken for ours
    first = rows.iloc[0]
    assert (first["method"], first["paper_percent"], first["remark"]) == ("stbp", 91.5, "no run at this T")
    assert pd.isna(first["accuracy_percent"])
    assert rows.iloc[1]["remark"] == "no run at this T"
    assert pd.isna(rows.iloc[1]["paper_percent"])
    # the paper's table has MNIST alone here, and nothing else was run
    assert set(found.frame["dataset"]) == {"mnist"}


RUNS = {
    "nothing": [],
    "two rules on a stand-in": two_rules(dataset="digits", T=4),
    "one rule of three": [a_run("bpsa", 0, 0.9, dataset="synthetic-gestures"), *two_rules(counted=2.0)],
}


@pytest.mark.parametrize("runs", RUNS.values(), ids=RUNS)
def test_every_value_that_the_paper_prints_stands_in_its_table_whatever_was_run(runs):
    printed = literature.load()
    for number, definition in enumerate(TABLES, start=1):
        frame = definition.table(Study(runs, STAND_INS, [], {}, printed)).frame
        if number <= 3:
            values = frame.loc[frame["source"].isin(["literature", "paper"]), ["dataset", "method", "accuracy_percent"]]
        else:
            values = frame[["dataset", "method", "paper_percent"]].replace({"method": literature.NAMES})
        there = set(values.itertuples(index=False, name=None))
        own = printed[(printed["table"] == number) & literature.in_paper(printed)]
        asked = own[["dataset", "method", "accuracy_percent"]].itertuples(index=False, name=None)
        assert [row for row in asked if row not in there] == []


def test_a_table_has_the_papers_data_sets_in_its_order_and_then_others_that_were_run():
    runs = two_rules(counted=2.0) + two_rules(dataset="n-mnist", counted=2.0)
    assert list(dict.fromkeys(table(5, *runs).frame["dataset"])) == ["mnist", "n-mnist"]
    assert list(dict.fromkeys(table(6, *runs).frame["dataset"])) == ["mnist", "n-mnist"]
    real = TABLES[4].table(Study(two_rules(dataset="cifar100"), {}, [], {}, literature.load()))
    own = ["mnist", "n-mnist", "cifar10", "dvs-gesture", "dvs-cifar10"]
    assert list(dict.fromkeys(real.frame["dataset"])) == [*own, "cifar100"]


def test_the_tables_are_numbered_and_have_one_tidy_header_each():
    found = tables(study(two_rules()))
    assert [table.name for table in found] == [f"table-{number}" for number in range(1, 7)]
    for one in found:
        assert one.title.startswith(f"Table {one.name[-1]}. ")
        assert not one.supplementary
        assert len(set(one.frame.columns)) == len(one.frame.columns)
        assert set(one.text_columns) <= set(one.display.columns)


@pytest.mark.parametrize(
    ("stand_ins", "message"),
    [({"mnits": "digits"}, "a stand-in for no data set"), ({"mnist": "digit"}, "Did you mean digits")],
)
def test_a_stand_in_that_is_no_data_set_is_refused(stand_ins, message):
    check_stand_ins(STAND_INS)
    with pytest.raises(SettingsError, match=message):
        check_stand_ins(stand_ins)
