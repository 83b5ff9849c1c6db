"""The paper's figures: what the lines go through, what the panels are called, and the same bytes every time."""

import dataclasses
import math

import pytest
from made_up_runs import a_run, study, two_rules
from matplotlib.figure import Figure
from PIL import Image

from bpsta_cli.reporting import overview, supplement
from bpsta_cli.reporting.paper.figures import _draw_curves, _draw_rates, draw_figures

STAND_INS = {"mnist": "digits"}


def lines(draw, **arguments):
    """What a panel's lines go through, by their names."""
    axes = Figure().subplots()
    draw(axes, **arguments)
    return {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.get_lines()}, axes


def test_a_curve_is_the_mean_over_seeds_and_breaks_where_the_twin_ends():
    groups = study(two_rules()).main("mnist")
    drawn, axes = lines(_draw_curves, groups=groups, scale=(60, 100))
    assert [epoch for epoch, _ in drawn["stbp"]] == [1, 2, 2.5, 3, 4]
    values = [accuracy for _, accuracy in drawn["stbp"]]
    assert values[:2] + values[3:] == pytest.approx([50, 60, 70, 92])
    assert math.isnan(values[2])
    bands = [collection.get_paths() for collection in axes.collections]
    assert max(path.vertices[:, 1].max() for path in bands[0]) == pytest.approx(94)  # the better seed of stbp
    assert axes.get_ylim() == (60, 100)


def test_a_run_evaluated_once_is_a_point():
    once = a_run("bpsta", 0, 0.9)
    history = once.history.assign(accuracy=[None, None, None, 0.9])
    groups = study([dataclasses.replace(once, history=history)]).main("mnist")
    _, axes = lines(_draw_curves, groups=groups, scale=(60, 100))
    assert (axes.get_lines()[0].get_marker(), axes.get_lines()[0].get_markevery()) == ("o", [1])  # after the turn


def test_one_epoch_on_its_own_side_of_the_turn_is_a_point():
    run = a_run("stbp", 0, 0.9)
    history = run.history.assign(phase=["twin", "spiking", "spiking", "spiking"])
    groups = study([dataclasses.replace(run, history=history)]).main("mnist")
    _, axes = lines(_draw_curves, groups=groups, scale=(60, 100))
    assert (axes.get_lines()[0].get_marker(), axes.get_lines()[0].get_markevery()) == ("s", [0])


def test_a_long_heading_is_broken_where_its_panel_ends(tmp_path, monkeypatch):
    headings = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda self, title, **_: headings.append(title))
    runs = two_rules(dataset="synthetic-gestures", recipe="of-my-own")
    draw_figures(study(runs, stand_ins={"dvs-gesture": "synthetic-gestures"}), tmp_path)
    assert headings == ["synthetic-gestures, a stand-in for DVS-Gesture\n(recipe of-my-own)\nT = 8, 2 seeds"]


def test_rates_are_those_of_each_layer_and_of_runs_that_were_measured():
    measured = [a_run("stbp", seed, 0.9, rate=0.1 + 0.1 * seed, counted=2.0) for seed in range(2)]
    groups = study([*measured, a_run("stbp", 2, 0.9, rate=0.9)]).main("mnist")
    drawn, axes = lines(_draw_rates, groups=groups)
    assert drawn["stbp"] == [(0, pytest.approx(0.15)), (1, pytest.approx(0.3))]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["lif1", "lif2"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A stand-in and a data set of the user's own, two T, one of them measured; drawn twice."""
    runs = [*two_rules(dataset="digits", counted=2.0), *two_rules(dataset="digits", T=4)]
    made = study([*runs, a_run("bpsa", 0, 0.9, dataset="own")], stand_ins=STAND_INS)
    return [draw_figures(made, tmp_path_factory.mktemp("figures")) for _ in range(2)]


def test_every_figure_of_the_paper_is_there_in_both_formats_and_names_its_stand_ins(drawn):
    assert [figure.name for figure in drawn[0]] == ["figure-1", "figure-2", "figure-3"]
    for figure in drawn[0]:
        assert [file.name for file in figure.files] == [f"{figure.name}.png", f"{figure.name}.svg"]
        with Image.open(figure.files[0]) as picture:
            assert picture.width <= 1000  # narrow: legible on a telephone
        assert "<svg" in figure.files[1].read_text()[:1000]
        assert "digits, a stand-in for MNIST" in figure.alt
        assert "No run on CIFAR10, CIFAR100," in figure.caption
        assert not figure.supplementary
    curves, rates, at_each_t = (figure.alt for figure in drawn[0])
    assert "own, T = 8, 1 seed" in curves
    assert "T = 4" not in curves  # the measured T stands in the figure, as it does in the tables
    assert "own" not in rates.split("Panels: ")[1].split("; Table")[0]
    assert "T = 4, 2 seeds; digits, a stand-in for MNIST, T = 8, 2 seeds" in at_each_t


def test_the_same_results_give_the_same_pictures(drawn):
    first, second = ([file.read_bytes() for figure in made for file in figure.files] for made in drawn)
    assert first == second


def test_what_was_not_measured_or_has_one_t_is_not_drawn(tmp_path):
    found = draw_figures(study(two_rules()), tmp_path)
    assert [figure.name for figure in found] == ["figure-1"]
    assert supplement.draw_figures(two_rules(), tmp_path) == []


def test_the_page_has_the_papers_tables_and_figures_before_the_others_and_ends_in_what_is_missing(drawn):
    made = study(two_rules(dataset="digits"), stand_ins=STAND_INS)
    tables = supplement.tables(made.runs)
    page = overview.page(tables, drawn[0], ["a-s0", "b-s0 (energy)"], tables[1].display)
    order = ["figure-2.png", "## Supplementary", "### Test accuracy", "## Provenance", "- energy of b-s0"]
    assert "- not there: a-s0\n- energy of b-s0\n" in page
    assert [page.index(words) for words in order] == sorted(page.index(words) for words in order)
    assert "No run that params.yaml asks for is missing." in overview.page(tables, [], [], tables[0].display)


def test_many_missing_runs_are_counted_and_some_named():
    lines = overview.describe_missing([f"run{number}" for number in range(9)] + ["run10 (energy)"])
    assert lines == ["not there: run0, run1, run2, run3, run4, run5 and 3 more", "energy of run10"]


def test_supplements_keep_runs_of_another_recipe_apart_and_leave_the_twin_out_of_the_rules():
    runs = [*two_rules(), a_run("stbp", 0, 0.5, recipe="mnist-large"), a_run("ann", 0, 0.9, rate=None)]
    side, accuracy, comparison, learning = supplement.tables(runs)
    large = accuracy.frame.set_index("dataset").loc["mnist (mnist-large)"]
    assert (large["accuracy_mean"], large["seeds"]) == (0.5, 1)
    assert "ann" in set(accuracy.frame["method"])
    assert comparison.frame["method"].tolist() == ["bpsta"]
    assert "ann" not in set(learning.frame["method"])
    assert list(side.display.columns) == ["dataset", "T", "stbp", "bpsta", "ann", "seeds"]
    assert side.display.to_numpy().tolist() == [
        ["mnist", "8", "92.00 ± 2.83 (0.250)", "95.00 ± 0.00 (0.100)", "90.00", "1-2"],
        ["mnist (mnist-large)", "8", "50.00 (0.200)", "-", "-", "1"],
    ]
    assert [table.name for table in supplement.tables(runs[-1:])] == ["methods", "accuracy"]
