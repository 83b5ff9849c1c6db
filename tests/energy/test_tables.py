"""The rows of Table 5 and the picture of Figure 2, from results made up for it."""

import copy
import math

import pytest

from bpsta_cli.reporting import rates
from bpsta_cli.reporting.energy import display_rows, table_5
from bpsta_cli.reporting.rates import write_rates

RUN = {
    "run": "runs/a",
    "dataset": "mnist",
    "network": "4C3-10",
    "T": 2,
    "method": "bpsta",
    "seed": 0,
    "weights_sha256": "0",
    "samples": 10,
    "frames": 1,
    "accuracy": 0.9,
    "firing_rate": 0.1,
    "firing_rates": {"lif1": 0.1, "lif2": 0.4},
    "firing_rates_at": {"lif1": [0.0, 0.2], "lif2": [0.6, 0.2]},
    "neurons": {"lif1": 30, "lif2": 10},
    "paper": {"ratio": 20.0},
    "counted": {"ratio": 2.0, "ratio_frames": 2.0},
    "memory": {"ratio": 0.5, "ratio_frames": 0.5},
    "quantised": {
        "bits": 2,
        "operations": {"ratio": 1.0, "break_even_rate": 0.1},
        "memory": {"ratio": 0.4, "break_even_rate": None},
    },
}


def a_run(**changes):
    return copy.deepcopy(RUN) | changes


def twin(**changes):
    return a_run(method="ann", firing_rate=None, firing_rates={}, firing_rates_at={}, **changes)


def test_rows_are_those_of_a_data_set_network_method_and_t():
    runs = [
        a_run(),
        a_run(seed=1, accuracy=0.94),
        a_run(method="stbp"),
        a_run(T=4),
        a_run(network="8C3-10"),
        a_run(dataset="digits"),
    ]
    frame = table_5(runs)
    assert frame["runs"].tolist() == [2, 1, 1, 1, 1]
    who, values = display_rows(frame)[0][:4], display_rows(frame)[0][4:]
    assert who == ["mnist", "2", "bpsta", "2"]
    assert values[:5] == ["92.00 ± 2.83", "-", "-", "0.1000 ± 0.0000", "20.0 ± 0.0"]
    assert values[5:] == ["2.00 ± 0.00", "0.50 ± 0.00", "1.00 ± 0.00", "0.40 ± 0.00"]


@pytest.mark.parametrize(
    ("frames", "changes", "found"),
    [
        (1, {}, "95.00"),
        (1, {"T": 8}, "95.00"),  # the twin sees one image whatever T is
        (2, {"T": 8}, "-"),  # but other frames of events
        (2, {}, "95.00"),
        (1, {"network": "8C3-10"}, "-"),
        (1, {"dataset": "digits"}, "-"),
    ],
)
def test_a_twin_is_a_run_of_ann_of_the_same_structure(frames, changes, found):
    (row,) = display_rows(table_5([a_run(frames=frames), twin(accuracy=0.95, **changes)]))
    assert row[5] == found


def test_the_spread_of_the_twins_accuracy_is_that_of_its_own_runs():
    runs = [a_run(), a_run(seed=1), twin(accuracy=0.94), twin(seed=1, accuracy=0.96)]
    assert display_rows(table_5(runs))[0][5] == "95.00 ± 1.41"
    assert display_rows(table_5(runs[:3]))[0][5] == "94.00"


def test_a_value_that_one_run_lacks_has_no_mean():
    never = a_run(quantised=RUN["quantised"] | {"operations": {"ratio": 1.0, "break_even_rate": None}})
    (row,) = table_5([a_run(), never]).to_dict("records")
    assert row["quantised_ratio_mean"] == 1.0
    assert math.isnan(row["quantised_break_even_rate_mean"])


def test_twins_alone_make_no_row():
    assert table_5([twin()]).empty


def test_rates_of_all_neurons_weigh_layers_by_their_neurons():
    assert rates._at_steps(RUN) == {1: pytest.approx(0.6 / 4), 2: pytest.approx(0.2)}


def test_the_picture_is_the_same_for_the_same_runs_and_another_for_others(tmp_path):
    runs = [a_run(), a_run(seed=1), a_run(method="stbp"), twin(), a_run(dataset="digits")]
    for name, some in (("a", runs), ("b", runs), ("c", runs[:3])):
        write_rates(some, tmp_path / f"{name}.svg")
    a, b, c = ((tmp_path / f"{name}.svg").read_bytes() for name in "abc")
    assert a == b != c
    write_rates(runs, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_many_layers_are_not_all_named(tmp_path):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    rates._name_layers(axes, [f"lif{n}" for n in range(35)])
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"lif{n}" for n in range(0, 35, 4)]
