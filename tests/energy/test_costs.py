"""The constants, and tables of a user's own."""

import json
import re
from pathlib import Path

import pytest

from bpsta_cli.energy import TECHS, load_tech, paper_estimate
from bpsta_cli.energy.costs import PAPER_AC, PAPER_MAC, activation_bits, full_width, quantised
from bpsta_cli.errors import SettingsError

TABLE_5 = [
    (0.082, 35.1),
    (0.183, 15.7),
    (0.097, 29.6),
    (0.176, 16.3),
    (0.108, 26.6),
    (0.214, 13.4),
    (0.083, 34.6),
    (0.165, 17.4),
    (0.177, 16.2),
]
"""Firing rate and ratio as the paper's Table 5 has them. Its caption says "baseline/our method", but its columns stand
the other way round: the lower rate, and so the higher ratio, is the paper's own method."""


@pytest.mark.parametrize(("rate", "ratio"), TABLE_5)
def test_the_estimate_gives_the_ratios_of_the_papers_table_5(rate, ratio):
    found = paper_estimate(1_000, rate, 16)
    assert round(found["ratio"], 1) == ratio
    assert found["ratio"] == pytest.approx(46 / (16 * rate))
    assert found["e_ann_pj"] == pytest.approx(4600)
    assert found["e_snn_pj"] == pytest.approx(1_000 * rate * 0.1 * 16)


def test_a_silent_network_has_no_ratio():
    assert paper_estimate(1_000, 0.0, 16)["ratio"] is None


def test_the_constants_are_those_of_45_nm():
    assert (pytest.approx(4.6), 0.1) == (PAPER_MAC, PAPER_AC)
    floating, integers = full_width(TECHS["45nm-fp32"]), full_width(TECHS["45nm-int32"])
    assert (floating.activation, floating.spike) == (pytest.approx(4.6), 0.9)
    assert (integers.activation, integers.spike) == (pytest.approx(3.2), 0.1)


def test_an_access_costs_what_the_line_through_the_three_caches_gives():
    # Qualia's own values of the line: 0.000082816 pJ a byte and 13.2563 pJ
    tech = TECHS["45nm-fp32"]
    for values in (1, 1000, 1_000_000):
        assert tech.access_pj(values, 32) == pytest.approx(0.000082816 * 4 * values + 13.2563, rel=1e-5)
    assert tech.access_pj(1000, 8) == tech.access_pj(250, 32)


def test_an_access_costs_what_lies_between_two_caches_where_that_is_asked_for():
    tech = TECHS["45nm-fp32"].model_copy(update={"sram_curve": "interpolate"})
    at = {size: tech.access_pj(size, 8) for size in (0, 4096, 8192, 20480, 32768, 1048576, 2 * 1048576 - 32768)}
    assert list(at.values()) == pytest.approx([0, 5, 10, 15, 20, 100, 180])


@pytest.mark.parametrize(("T", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (15, 4), (16, 5)])
def test_t_steps_are_worth_as_many_bits_as_tell_their_counts_apart(T, bits):
    assert activation_bits(T) == bits


def test_a_narrow_multiplication_costs_its_share_of_partial_products():
    prices = quantised(TECHS["45nm-fp32"], T=8)
    assert (prices.activation_bits, prices.weight_bits) == (4, 8)
    assert prices.activation == pytest.approx(0.2 * 8 * 4 / 64 + 0.1)
    assert prices.value == prices.update == prices.requantise == pytest.approx(0.2 + 0.1)
    assert prices.spike == 0.1


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_table_of_ones_own_is_read_from_a_file(tmp_path, suffix):
    table = TECHS["45nm-int32"].model_dump(mode="json") | {"name": "mine", "add_pj": 0.05}
    file = tmp_path / f"mine{suffix}"
    file.write_text(json.dumps(table))  # JSON is YAML
    assert load_tech(str(file)) == TECHS["45nm-int32"].model_copy(update={"name": "mine", "add_pj": 0.05})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"add_pj": -1}, "add_pj"),
        ({"add_pj": None}, "add_pj"),
        ({"ad_pj": 1}, "Did you mean add_pj"),
        ({"sram": [[8192, 10]]}, "two sizes or more"),
        ({"sram": [[8192, 10], [4096, 20]]}, "rising order"),
        ({"sram": [[4096, 10], [8192, 9]]}, "lower cost"),
        ({"sram_curve": "curve"}, "sram_curve"),
    ],
)
def test_an_unusable_table_is_refused_with_its_key(tmp_path, change, message):
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(TECHS["45nm-fp32"].model_dump(mode="json") | change))
    with pytest.raises(SettingsError, match=message):
        load_tech(str(file))


def test_a_table_that_is_no_file_or_no_yaml_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="45nm-fp32, 45nm-int32 or a file"):
        load_tech(str(tmp_path / "none"))
    (tmp_path / "broken").write_text("add_pj: [")
    with pytest.raises(SettingsError, match="broken"):
        load_tech(str(tmp_path / "broken"))


def test_the_table_in_the_documentation_is_one(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "energy.md").read_text()
    (table,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "mine.yaml").write_text(table)
    expected = {"name": "45nm-fp32, memory from point to point", "sram_curve": "interpolate"}
    assert load_tech(str(tmp_path / "mine.yaml")) == TECHS["45nm-fp32"].model_copy(update=expected)
