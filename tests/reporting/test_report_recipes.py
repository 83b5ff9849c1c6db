"""CONTRIBUTING's recipes of the report, each done once: a table, a figure, a value that others printed."""

from made_up_runs import PRINTED, study, two_rules

from bpsta_cli.reporting.artifacts import Figure, markdown
from bpsta_cli.reporting.drawing import Panel, draw_sheet
from bpsta_cli.reporting.paper import TABLES, figures
from bpsta_cli.reporting.paper.definition import Definition, Layout, absent, dataset_of, method_of, number, origin


def rates(study, table, dataset):
    """A row for each method on one data set."""
    groups = study.main(dataset)
    rows = [origin(group) | {"dataset": dataset, "rate_percent": 100 * group.mean("firing_rate")} for group in groups]
    return rows or [absent(study, dataset)]


SILENCE = Layout(
    ("dataset", "source", "method", "rate_percent", "seeds"),
    {
        "data set": dataset_of,
        "method": method_of,
        "rate, %": lambda row: number(row, "rate_percent", 1),
    },
    ("data set", "method"),
    rates,
    "Firing rates, mean over seeds.",
)


def test_a_table_is_one_definition():
    table = Definition(7, "Firing rates", SILENCE, ("mnist",)).table(study(two_rules()))
    assert (table.name, table.title) == ("table-7", "Table 7. Firing rates")
    assert table.frame[["method", "rate_percent"]].values.tolist() == [["stbp", 25.0], ["bpsta", 10.0]]
    assert "| MNIST | stbp, baseline | 25.0 |" in markdown(table)


def test_a_value_that_others_printed_is_one_row():
    row = '1,mnist,a new rule,BP,Poe 2025,10.1/poe,,4,98.76,,,,"Poe 2025, Table 3",yes\n'
    found = TABLES[0].table(study(two_rules(), text=PRINTED + row)).frame
    assert found.set_index("reference").loc["Poe 2025", "accuracy_percent"] == 98.76


def test_a_figure_is_one_function_that_draws(tmp_path, monkeypatch):
    def draw(axes):
        axes.plot([1, 2], [90, 95], label="bpsta")

    def accuracy_by_epoch(study, folder):  # what draw_figures calls for each figure
        panels = [Panel("MNIST, T = 8", draw), Panel("MNIST, T = 16", draw)]
        files = draw_sheet(panels, folder / "figure-4", ("epoch", "test accuracy, %"), 2)
        return Figure(
            "figure-4", "Figure 4. Of my own", "What it shows.", "Two lines.", tuple(files), supplementary=False
        )

    monkeypatch.setattr(figures, "FIGURES", (*figures.FIGURES, accuracy_by_epoch))
    drawn = [figures.draw_figures(study(two_rules()), tmp_path / name)[-1] for name in ("once", "again")]
    assert [figure.name for figure in drawn] == ["figure-4", "figure-4"]
    assert [file.suffix for file in drawn[0].files] == [".png", ".svg"]
    once, again = ([file.read_bytes() for file in figure.files] for figure in drawn)
    assert once == again
