"""The methods at a glance: a row a cell, a column a method, an arrow where seed by seed it is told apart."""

from test_seed_by_seed import a_run, table

from bpsta_cli.reporting.at_a_glance import at_a_glance
from bpsta_cli.reporting.front import front
from bpsta_cli.reporting.seed_by_seed import seed_by_seed


def rows(*runs):
    found = table(*runs)
    glance = at_a_glance(front(found), seed_by_seed(found, ["stbp"]).frame, ["stbp"])
    return glance.display.to_dict("records")


def test_a_cell_has_mean_spread_and_rate_and_arrows_where_it_is_told_apart():
    noise = (0.0, 0.001, -0.001, 0.0005)
    runs = [a_run("stbp", seed, 0.90 + 0.01 * seed, 0.2) for seed in range(4)]
    runs += [a_run("bpsa", seed, 0.80 + 0.01 * seed + noise[seed], 0.3 + noise[seed]) for seed in range(4)]
    runs += [a_run("bpsta", seed, 0.90 + 0.01 * seed + 9 * noise[seed], 0.2 + 9 * noise[seed]) for seed in range(4)]
    (row,) = rows(*runs)
    assert row == {
        **{"data": "digits", "T": "8", "seeds": "4", "stbp": "91.50 ± 1.29 (0.200)"},
        **{"bpsa": "81.51 ± 1.29 ↓ (0.300 ↑)", "bpsta": "91.61 ± 1.45 (0.201)"},
    }


def test_a_method_that_a_cell_has_no_runs_of_is_a_dash_and_unequal_seeds_are_a_range():
    runs = [a_run("stbp", seed, 0.5 + 0.1 * seed, 0.1) for seed in (0, 1, 2)]
    runs += [a_run("bpsa", seed, 0.5, 0.1) for seed in (0, 1)]
    runs += [a_run("stbp", 0, 0.5, 0.1, T=4), a_run("ann", 0, 0.9, None, T=4)]
    first, second = rows(*runs)
    assert (first["bpsa"], first["seeds"]) == ("50.00 ± 0.00 (0.100)", "2-3")
    assert (second["T"], second["stbp"], second["bpsa"], second["seeds"]) == ("4", "50.00 (0.100)", "-", "1")
    assert "ann" not in first


def test_data_are_called_by_their_norm_where_norms_differ():
    runs = [a_run("stbp", seed, 0.5, 0.1, norm=norm) for norm in ("folded", "none") for seed in (0, 1)]
    assert [row["data"] for row in rows(*runs)] == ["digits, norm folded", "digits, norm none"]
