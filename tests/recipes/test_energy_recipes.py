"""CONTRIBUTING's recipe of a cost table, done once."""

import pytest

COSTS = """\
name: made up
source: nobody; a test
add_pj: 2.0
multiply_pj: 10.0
word_bits: 16
int_add_pj: 0.5
int_multiply_pj: 4.0
int8_multiply_pj: 1.0
sram: [[1024, 1.0], [4096, 2.0]]
"""


def test_a_cost_table_is_one_file(prepared, train, tmp_path, json_of):
    file = tmp_path / "costs.yaml"
    file.write_text(COSTS)
    found = json_of("energy", train(), "--tech", file, "--data-dir", prepared)
    assert found["tech"]["name"] == "made up"
    counted = found["counted"]
    # an addition costs 2 pJ, a multiply-accumulate 10 + 2, and a neuron's update is one of those
    expected = 2 * (counted["acs"] + counted["shortcut_acs"]) + 12 * (counted["macs"] + counted["neuron_updates"])
    assert counted["e_snn_pj"] == pytest.approx(expected)
