"""From runs to verdicts: every verdict from made-up runs, what they rest on, and the table that readers see."""

import dataclasses
import io
import math

import pandas as pd
import pytest
from made_up_runs import a_run, study, two_rules

from bpsta_cli.reporting import claims, overview
from bpsta_cli.reporting.artifacts import markdown
from bpsta_cli.reporting.claims.definition import load, read
from bpsta_cli.reporting.claims.lines import lines
from bpsta_cli.reporting.claims.quantities import QUANTITIES
from bpsta_cli.reporting.origin import Origin
from bpsta_cli.reporting.page import write_page

STAND_INS = {"mnist": "digits", "dvs-gesture": "synthetic-gestures"}
HIGH, LOW = (0.950, 0.951, 0.952), (0.900, 0.901, 0.902)


def claim(**more):
    """A claim on MNIST, `more` of it as claims.toml has it."""
    entry = {"id": "a", "family": "order", "claim": "it is so", "place": "a page", "kind": "comparison"}
    entry |= {"sides": '[{ method = "bpsta" }, { method = "stbp" }]', "datasets": '["mnist"]'} | more
    given = {key: value if value.startswith(("[", "true")) else f'"{value}"' for key, value in entry.items() if value}
    return read("[[claims]]\n" + "\n".join(f"{key} = {value}" for key, value in given.items()))


def level(method="bpsta", **more):
    """That the printed 99.0 % of structure 9C3 at T = 8 are reached (`made_up_runs.PRINTED`)."""
    side = f'[{{ method = "{method}", T = 8 }}]'
    return claim(**({"kind": "level", "family": "accuracy", "sides": side, "tables": "[1]"} | more))


def of_method(method, accuracies, **more):
    return [a_run(method, seed, accuracy, **more) for seed, accuracy in enumerate(accuracies)]


def verdicts(claim, *runs, **more):
    return [line.verdict for line in lines(study(runs, **more), claim)]


def reason(claim, *runs, **more):
    (line,) = lines(study(runs, **more), claim)
    assert line.verdict == "not tested"
    assert line.estimate is None
    return line.reason


# ---- the verdicts


def test_a_comparison_holds_fails_or_is_not_told_apart():
    better = [*of_method("bpsta", HIGH), *of_method("stbp", LOW)]
    worse = [*of_method("bpsta", LOW), *of_method("stbp", HIGH)]
    assert verdicts(claim(), *better) == ["holds"]
    assert verdicts(claim(), *worse) == ["fails"]
    assert verdicts(claim(direction="below"), *worse) == ["holds"]
    assert verdicts(claim(), *two_rules()) == ["not told apart"]
    assert verdicts(claim(), *two_rules()[1:3]) == ["not tested"]


def test_a_comparison_without_runs_or_with_one_seed_is_not_tested():
    assert reason(claim()) == "no run: not asked for in params.yaml"
    assert reason(claim(), *of_method("bpsta", HIGH)) == "no run of the baseline at T = 8"
    assert reason(claim(), *of_method("bpsta", HIGH), a_run("stbp", 0, 0.9)) == "fewer than 2 seeds"
    # another recipe is no other side
    others = of_method("stbp", LOW, recipe="mnist-large")
    assert reason(claim(), *of_method("bpsta", HIGH), *others) == "no run of the baseline at T = 8"


def test_equal_seeds_on_both_sides_tell_nothing_apart():
    (line,) = lines(study([*of_method("bpsta", (0.95, 0.95)), *of_method("stbp", (0.9, 0.9))]), claim())
    assert (line.verdict, line.estimate.value) == ("not told apart", pytest.approx(5))
    assert math.isnan(line.corrected)


def test_a_printed_accuracy_is_reached_above_its_value_less_its_error():
    error = (99 * 1 / 10_000) ** 0.5  # of 99 % over the 10,000 test images
    near = [value / 100 for value in (98.96, 98.97, 98.98)]
    (line,) = lines(study(of_method("bpsta", near, network="9C3")), level())
    assert line.bound == pytest.approx(99 - error)
    assert line.verdict == "holds"
    assert verdicts(level(), *of_method("bpsta", HIGH, network="9C3")) == ["fails"]
    assert verdicts(level(), *of_method("bpsta", (0.90, 1.0), network="9C3")) == ["not told apart"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"dataset": "digits"}, "digits is a stand-in"),
        ({"train_samples": 2000}, "not the whole data set"),
        ({"split": "official; a partial copy: 900 of 60,000 training samples"}, "not the whole data set"),
        ({"split": "version 0.01; official"}, "not the whole data set"),
        ({"network": "4C3-10Voting"}, "structure 4C3-10Voting, not 9C3"),
        ({"T": 4}, "T = 4, not 8"),
    ],
)
def test_a_level_is_tested_on_the_papers_data_structure_and_t_alone(more, why):
    runs = of_method("bpsta", HIGH, **({"network": "9C3"} | more))
    assert reason(level(), *runs, stand_ins=STAND_INS) == why
    found = claims.table(study(runs, stand_ins=STAND_INS), level())
    assert found.display["ours"].tolist() == ["95.10 ± 0.10 %"]  # what was reached is shown all the same
    assert found.frame["group_1_mean"].tolist() == pytest.approx([95.1])


def test_of_several_runs_the_ones_like_the_printed_are_held_against_it():
    like = of_method("bpsta", LOW, network="9C3")
    others = of_method("bpsta", (0.99, 0.99, 0.99, 0.991), recipe="mnist-small", train_samples=5)
    (line,) = lines(study([*others, *like]), level())
    assert line.verdict == "fails"
    assert line.evidence.groups[0].mean("accuracy") == pytest.approx(90.1)


def test_a_gain_is_a_level_of_a_difference():
    gain = level(sides='[{ method = "bpsta", minus = "stbp", T = 8 }]', tables="[4]")
    runs = [*of_method("bpsta", HIGH, network="9C3"), *of_method("stbp", LOW, network="9C3")]
    (line,) = lines(study(runs), gain)
    assert line.paper.value == 2.5
    assert line.estimate.value == pytest.approx(5)
    assert line.verdict == "holds"
    assert reason(gain, *runs[:3]) == "no run of the baseline like it"


def test_a_rank_is_held_against_another_works_row():
    rank = level(kind="rank", rivals="best")
    assert verdicts(rank, *of_method("bpsta", HIGH, network="9C3")) == ["holds"]  # above 87.0
    assert verdicts(rank, *of_method("bpsta", (0.8, 0.801, 0.802), network="9C3")) == ["fails"]
    assert reason(level(kind="rank", rivals="nobody's"), *of_method("bpsta", HIGH)) == (
        "no printed value to hold it against"
    )
    perceptron = level(kind="rank", rivals="best", sides='[{ method = "bpsta", T = 8, structure = "mlp" }]')
    assert reason(perceptron, *of_method("bpsta", HIGH)) == "no run of BPSA+BPTA with mlp"


def test_what_no_run_can_show_is_not_tested_and_says_why():
    (line,) = lines(study(two_rules()), claim(kind="other", sides="", datasets="", reason="nobody looked"))
    assert (line.verdict, line.reason) == ("not tested", "nobody looked")


# ---- what is compared


def test_a_larger_part_is_a_difference_of_differences():
    larger = claim(sides='[{ method = "bpsa", minus = "stbp" }, { method = "bpsta", minus = "bpsa" }]')
    runs = [*of_method("stbp", LOW), *of_method("bpsa", HIGH), *of_method("bpsta", (0.955, 0.956, 0.957))]
    (line,) = lines(study(runs), larger)
    assert line.estimate.value == pytest.approx(5 - 0.5)
    assert {sample.weight for sample in line.evidence.samples(line.claim)} == {2, -1}  # bpsa stands on both sides
    assert line.verdict == "holds"


def test_a_gain_that_grows_is_held_at_the_shortest_and_the_longest_t():
    sides = [f'{{ method = "bpsta", minus = "stbp", T = "{T}" }}' for T in ("shortest", "longest")]
    grows = claim(sides=f"[{', '.join(sides)}]")
    runs = [run for T in (4, 8, 16) for run in of_method("stbp", LOW, T=T)]
    runs += [*of_method("bpsta", HIGH, T=4), *of_method("bpsta", LOW, T=16), a_run("bpsta", 0, 0.9, T=32)]
    (line,) = lines(study(runs), grows)
    assert [group.like["T"] for group in line.evidence.groups] == [4, 4, 16, 16]  # the baseline has no 32
    assert (line.estimate.value, line.verdict) == (pytest.approx(5), "holds")
    assert reason(grows, *runs[:3], *of_method("bpsta", HIGH, T=4)) == "no runs at two T"


def test_a_claim_about_one_t_takes_runs_of_that_t():
    at_4 = claim(sides='[{ method = "bpsta", T = 4 }, { method = "stbp", T = 32 }]')
    runs = [*of_method("bpsta", HIGH, T=4), *of_method("bpsta", LOW), *of_method("stbp", LOW)]
    assert reason(at_4, *runs) == "no run of the baseline at T = 32"
    assert verdicts(at_4, *runs, *of_method("stbp", LOW, T=32)) == ["holds"]


def test_a_claim_about_structures_compares_runs_of_two_recipes():
    depth = claim(sides='[{ method = "bpsta", structure = "resnet34" }, { method = "bpsta", structure = "middle" }]')
    deep = of_method("bpsta", HIGH, network="resnet34", recipe="mnist-resnet34", epochs=9)
    flat = of_method("bpsta", LOW, network="middle", recipe="mnist-middle")
    assert verdicts(depth, *deep, *flat) == ["holds"]
    assert reason(depth, *deep) == "no run of BPSA+BPTA"
    assert reason(depth, *deep, *of_method("bpsta", LOW, network="middle", train_samples=5)) == "no run of BPSA+BPTA"


def test_energies_are_compared_by_their_ratio():
    half = claim(quantity="energy_eq1", direction="below", bound="about half", family="energy")
    # by Eq. 1 an energy is T x rate / 46 of the twin's: the ratio of energies is that of rates
    runs = [a_run("bpsta", seed, 0.9, rate=rate, counted=2.0) for seed, rate in enumerate((0.100, 0.101))]
    runs += [a_run("stbp", seed, 0.9, rate=rate, counted=2.0) for seed, rate in enumerate((0.200, 0.202))]
    (line,) = lines(study(runs), half)
    assert line.estimate.value == pytest.approx(0.5)
    assert line.estimate.low < 0.5 < line.estimate.high < line.bound == 0.6
    assert line.verdict == "holds"
    counted = claim(quantity="energy_counted", direction="below", bound="about half")
    assert verdicts(counted, *runs) == ["not told apart"]  # no seed differs
    assert reason(half, *two_rules()) == "energy not counted"


def test_one_energy_is_held_against_a_share_of_the_twins():
    share = claim(
        sides='[{ method = "bpsta" }]', quantity="energy_counted", direction="below", bound="about 3 %", family="energy"
    )
    runs = [a_run("bpsta", seed, 0.9, counted=ratio) for seed, ratio in enumerate((2.0, 2.02, 2.01))]
    (line,) = lines(study(runs), share)
    assert line.estimate.value == pytest.approx(100 / 2.01, rel=1e-4)
    assert line.verdict == "fails"


def test_the_twin_on_still_images_is_compared_though_it_has_one_step():
    competitive = claim(sides='[{ method = "bpsta" }, { method = "ann" }]', bound="competitive", family="energy")
    twins = of_method("ann", (0.955, 0.956, 0.957), rate=None)
    assert verdicts(competitive, *of_method("bpsta", HIGH), *twins) == ["holds"]  # half a point below
    assert verdicts(competitive, *of_method("bpsta", LOW), *twins) == ["fails"]


def test_fluctuation_is_the_spread_of_changes_in_the_second_half_of_the_spiking_epochs():
    run = a_run("bpsta", 0, 0.9)
    phases = ["twin"] * 2 + ["spiking"] * 8
    accuracies = [0.1, 0.9, 0.2, 0.8, 0.2, 0.8, 0.50, 0.52, None, 0.50]
    history = pd.DataFrame({"phase": phases, "accuracy": accuracies})
    roughness = QUANTITIES["roughness"].of
    # changes of +2 and -2 points; the epoch without an evaluation is passed over
    assert roughness(dataclasses.replace(run, history=history)) == pytest.approx(8**0.5)
    assert math.isnan(roughness(dataclasses.replace(run, history=history.head(6))))
    smooth = claim(quantity="roughness", direction="below", family="curves")
    assert reason(smooth, *two_rules()) == "fewer than 3 evaluations in the second half of the spiking epochs"


def test_first_convolutions_are_the_first_half_of_them():
    rates = [("conv", 0.1), ("shortcut", None), ("conv", 0.2), ("conv", 0.4), ("linear", 0.9)]
    layers = [{"kind": kind, "firing_rate": rate} for kind, rate in rates]
    run = dataclasses.replace(a_run("bpsta", 0, 0.9), energy={"layers": layers})
    assert QUANTITIES["first_rate"].of(run) == pytest.approx(0.1)
    assert QUANTITIES["first_less_later"].of(run) == pytest.approx(0.1 - 0.3)
    one = dataclasses.replace(run, energy={"layers": layers[:1]})
    assert math.isnan(QUANTITIES["first_rate"].of(one))


def test_overfitting_is_training_less_test_accuracy():
    assert QUANTITIES["overfit"].of(a_run("bpsta", 0, 0.9)) == pytest.approx(40 - 90)


def test_holm_goes_over_the_lines_of_one_family():
    pair = claim()[0]
    runs = [*of_method("bpsta", HIGH), *of_method("stbp", LOW)]
    alone = lines(study(runs), [pair])[0]
    two = [pair, pair.model_copy(update={"id": "b", "direction": "below"})]
    assert alone.corrected == alone.estimate.p
    assert [line.corrected for line in lines(study(runs), two)] == pytest.approx([2 * alone.estimate.p] * 2)
    apart = [pair, two[1].model_copy(update={"family": "steps"})]
    assert [line.corrected for line in lines(study(runs), apart)] == pytest.approx([alone.estimate.p] * 2)
    assert verdicts(two, *runs) == ["holds", "fails"]


def test_a_claim_is_tested_on_other_data_sets_where_runs_are_there():
    runs = [*two_rules(dataset="n-mnist"), *two_rules(dataset="digits"), a_run("bpsta", 0, 0.9, dataset="cifar10")]
    found = lines(study(runs, stand_ins=STAND_INS), claim(elsewhere="true", datasets='["dvs-gesture"]'))
    assert [(line.dataset, line.named) for line in found] == [
        ("dvs-gesture", True),  # not run, and named by the text
        ("mnist", False),
        ("n-mnist", False),
    ]
    assert [line.base for line in found] == ["", "stand-in", "real"]


# ---- the table


def everything():
    """Runs on a stand-in, on a part of a real data set and on a whole one, of several T."""
    runs = [run for T in (4, 8, 16) for run in two_rules(dataset="digits", T=T, counted=2.0)]
    runs += two_rules(dataset="cifar10", train_samples=100)
    runs += [*of_method("bpsta", HIGH, dataset="n-mnist"), *of_method("stbp", LOW, dataset="n-mnist")]
    return study(runs, stand_ins=STAND_INS)


def test_a_verdict_names_the_data_that_it_rests_on():
    found = claims.table(everything(), claim(datasets='["mnist", "cifar10", "n-mnist", "dvs-cifar10"]'))
    assert found.frame["base"].tolist() == ["stand-in", "part", "real", ""]
    assert found.display["verdict"].tolist() == [
        "not told apart on digits",
        "not told apart on a part of CIFAR10",
        "holds",
        "not tested",
    ]
    assert found.display["on"].tolist() == [
        "digits, a stand-in; T = 16",
        "cifar10, 100 training samples; T = 8",
        "n-mnist; T = 8",
        "-",
    ]
    assert found.marks == ("not-told-apart", "not-told-apart", "holds", "not-tested")
    assert found.note.startswith(
        "Claims: 1, on 4 lines, one for each data set. Tested on the paper's own data: 1 (holds 1); on a part of it: 1 "
        "(not told apart 1); on stand-ins: 1 (not told apart 1). Not tested: 1. "
    )


def test_csv_carries_the_numbers_that_the_table_shows():
    found = claims.table(study(two_rules()), claim())
    row = pd.read_csv(io.StringIO(found.frame.to_csv(index=False))).iloc[0]
    assert row[["estimate", "bound"]].tolist() == pytest.approx([3, 0])
    assert row[["group_1_method", "group_2_method"]].tolist() == ["bpsta", "stbp"]
    assert row[["group_1_mean", "group_2_mean", "group_2_sd"]].tolist() == pytest.approx([95, 92, 8**0.5])
    assert row[["p", "p_holm"]].tolist() == pytest.approx([1 - 2 * math.atan(1.5) / math.pi] * 2)
    assert found.display.iloc[0][["ours", "seeds"]].tolist() == ["95.00 ± 0.00 against 92.00 ± 2.83 %", "2"]
    assert found.display.iloc[0]["test"] == f"+3.00 [{row['low']:+.2f}, {row['high']:+.2f}] points; p 0.374, Holm 0.374"


def test_the_claims_of_the_texts_stand_in_the_table_whatever_was_run():
    for made in (study([]), everything()):
        found = claims.table(made)
        assert list(dict.fromkeys(found.frame["id"])) == [entry.id for entry in load()]
        assert len(found.display) == len(found.frame) == len(found.marks)
        assert (found.display != "").all(axis=None)
        untested = found.frame["verdict"] == "not tested"
        assert found.frame.loc[untested, "reason"].ne("").all()
        assert found.frame.loc[~untested, ["estimate", "base"]].notna().all(axis=None)
        shown = found.display.loc[(found.frame["base"] == "stand-in").to_numpy(), "verdict"]
        assert shown.str.endswith(" on digits").all()
    levels = found.frame[found.frame["kind"].isin(["level", "rank"])]
    assert set(levels["verdict"]) == {"not tested"}


def test_the_same_runs_give_the_same_bytes():
    first, again = (claims.table(everything()) for _ in range(2))
    assert first.frame.to_csv() == again.frame.to_csv()
    assert markdown(first) == markdown(again)


def test_the_claims_stand_first_on_both_pages(tmp_path):
    made = everything()
    found = claims.table(made)
    page = overview.page([found], [], [], found.display)
    assert page.index(found.title) < page.index(found.lead) < page.index("| claim |") < page.index(found.note)
    origins = pd.DataFrame([{"commit": "a", "device": "cpu"}])
    write_page(tmp_path / "page.html", [found], [], Origin(made.runs, STAND_INS, [], origins))
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.index('href="#claims"') < html.index('href="#runs"')
    assert html.index('id="claims"') < html.index("</table>") < html.index('id="runs"')
    for mark in ("not-told-apart", "not-tested"):
        count = found.marks.count(mark)
        start = html.index(f"<summary>{count} lines")
        folded = html[start : html.index("</details>", start)]
        assert folded.count(f'<tr class="{mark}">') == count == html.count(f'<tr class="{mark}">')
    assert f"{count} lines that were not tested" in folded
    assert html.count('<tr class="holds">') == found.marks.count("holds") > 0


def test_nothing_is_folded_where_nothing_was_tested(tmp_path):
    made = study([a_run("stbp", 0, 0.9)])
    origins = pd.DataFrame([{"commit": "a", "device": "cpu"}])
    write_page(tmp_path / "page.html", [claims.table(made)], [], Origin(made.runs, {}, [], origins))
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert " lines that were not tested" not in html
    assert '<tr class="not-tested">' in html
