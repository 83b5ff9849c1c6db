"""The claims as data: the entries of claims.toml, and the printed values that belong to them."""

import re
from importlib.resources import files

import pytest
from made_up_runs import study

from bpsta_cli.errors import SettingsError
from bpsta_cli.reporting.claims.definition import BOUNDS, FAMILIES, load, read
from bpsta_cli.reporting.claims.lines import lines
from bpsta_cli.reporting.claims.printed import printed
from bpsta_cli.reporting.paper import literature
from bpsta_cli.reporting.paper.literature import TITLES

TEXT = (files("bpsta_cli.reporting.claims") / "claims.toml").read_text(encoding="utf-8")
CLAIMS = {claim.id: claim for claim in load()}
ROWS = literature.load()
CLAIM = """
[[claims]]
id = "a"
family = "order"
claim = "one is above the other"
place = "Table 4"
kind = "comparison"
sides = [{ method = "bpsta" }, { method = "stbp" }]
datasets = ["mnist"]
"""


def of(name, dataset):
    return printed(ROWS, CLAIMS[name], dataset)


def test_every_claim_has_a_line_for_each_of_its_data_sets_without_any_run():
    found = lines(study([]), load())
    assert [(line.claim.id, line.dataset) for line in found] == [
        (claim.id, dataset) for claim in load() for dataset in claim.datasets or ("",)
    ]
    assert {line.verdict for line in found} == {"not tested"}
    assert all(line.reason for line in found)
    assert {claim.family for claim in load()} == set(FAMILIES)


def test_no_printed_value_is_typed_a_second_time():
    decimals = set(re.findall(r"\d+\.\d+", "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))))
    known = {number for text in ROWS["printed"] for number in text.split(" ± ")}
    known |= {str(value) for column in ("firing_rate", "energy_ratio") for value in ROWS[column].dropna()}
    assert decimals
    assert not decimals & known


def test_a_level_is_the_literatures_value():
    own = ROWS[ROWS["reference"] == literature.PAPER]
    for name in ("accuracy", "accuracy-resnet34"):
        for dataset in CLAIMS[name].datasets:
            value = of(name, dataset).value
            accuracies = own[(own["table"].isin([1, 2, 3])) & (own["dataset"] == dataset)]["accuracy_percent"]
            assert value in set(accuracies), (name, dataset)
    assert (of("accuracy", "cifar10").value, of("accuracy-resnet34", "cifar10").value) == (92.15, 94.51)
    assert (of("accuracy", "cifar100").value, of("accuracy-resnet34", "cifar100").value) == (68.28, 69.32)
    assert set(CLAIMS["accuracy"].datasets) == set(TITLES)


def test_both_gains_are_shown_that_of_the_ablation_and_that_of_the_press_note():
    gains = {
        name: [round(of(name, dataset).value, 2) for dataset in CLAIMS[name].datasets]
        for name in ("gain", "gain-press")
    }
    assert gains == {"gain": [5.04, 7.55], "gain-press": [4.34, 6.36]}
    assert of("order-larger-part", "dvs-gesture").text() == "+3.64 against +1.40 points"


def test_a_margin_is_the_standard_error_of_the_printed_accuracy_over_the_test_part():
    # 288 test samples; of a difference both errors count
    first, other = (98.96 * 1.04 / 288) ** 0.5, (93.92 * 6.08 / 288) ** 0.5
    assert of("accuracy", "dvs-gesture").bound == pytest.approx(98.96 - first)
    assert of("gain", "dvs-gesture").bound == pytest.approx(5.04 - (first**2 + other**2) ** 0.5)


def test_a_rank_counts_the_other_rows_that_the_paper_prints():
    assert of("rank", "n-mnist").text() == "99.71 %; rank 1 of 11, best other 99.61 of LMCSNN"
    assert of("rank-resnet34", "cifar10").text().endswith("rank 1 of 14, best other 94.12 of SNASNet-Bw")
    assert "rank 4 of 5, best other 75.10 of RNL" in of("rank-cifar100", "cifar100").text()
    assert of("rank-cifar100", "cifar100").bound == 75.1
    assert of("rank-most", "cifar10").text().endswith("above 7 of 7, median 90.53")
    assert of("rank-speech", "speech-commands").bound == pytest.approx((93.9 + 93.95) / 2)
    assert of("above-tdbn-cifar10", "dvs-cifar10").text().endswith("78.95 % against 67.80 of STBP-tdBN")


def test_stbp_is_held_against_other_perceptrons_where_a_value_of_one_is_at_hand():
    assert (of("stbp-mlp", "n-mnist").value, of("stbp-mlp", "n-mnist").bound) == (98.78, 98.66)
    assert of("stbp-mlp", "mnist").row is None


def test_printed_energies_are_shares_of_the_twins():
    half = of("energy-half", "dvs-gesture")
    assert half.value == pytest.approx(17.4 / 34.6)
    assert half.text() == "about half; 2.89 against 5.75 %, a ratio of 0.50"
    assert of("energy-ann", "mnist").value == pytest.approx(100 / 35.1)
    assert of("rate", "mnist").text() == "0.082 against 0.183"
    # the readings take in what the note itself calls so
    assert max(of("energy-half", name).value for name in CLAIMS["energy-half"].datasets) < BOUNDS["about half"]
    assert of("energy-ann", "dvs-gesture").value < BOUNDS["about 3 %"]


def test_shortest_and_longest_are_looked_up_at_their_t():
    assert of("steps-4", "dvs-gesture").text() == "92.01 against 73.96 %"
    assert of("steps-quarter", "dvs-gesture").text() == "96.18 against 95.49 %"
    assert of("steps-gain-grows", "dvs-gesture").text() == "+18.05 against +2.78 points"
    assert of("steps-4", "mnist").row is None  # no value of another T in its place
    assert of("depth", "cifar100").text() == "69.32 against 68.28 %"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('family = "order"', 'family = "orders"', "orders"),
        ('kind = "comparison"', 'kind = "comparison"\nquantity = "speed"', "speed"),
        ('kind = "comparison"', 'kind = "comparison"\nbound = "about four"', "about four"),
        ('kind = "comparison"', 'kind = "comparison"\nquantity = "energy_eq1"', "bound above 0"),
        ('datasets = ["mnist"]', 'datasets = ["mnits"]', "mnits"),
        ('datasets = ["mnist"]', "", "needs datasets"),
        ('kind = "comparison"', 'kind = "level"', "needs one side"),
        ('kind = "comparison"', 'kind = "other"', "needs reason"),
        ('place = "Table 4"', 'place = "Table 4"\nplaces = 3', "places"),
        (CLAIM, CLAIM + CLAIM, "two claims are named a"),
    ],
)
def test_an_entry_that_cannot_be_used_is_refused_with_its_name(old, new, message):
    assert read(CLAIM)[0].methods == ("stbp", "bpsta")
    with pytest.raises(SettingsError, match=message):
        read(CLAIM.replace(old, new))


def test_a_rank_without_rivals_is_refused():
    rank = CLAIM.replace('"comparison"', '"rank"').replace(', { method = "stbp" }', "") + "tables = [1]\n"
    with pytest.raises(SettingsError, match="needs rivals"):
        read(rank)
