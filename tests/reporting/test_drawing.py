"""bpsta_cli/reporting/drawing.py: what a sheet of panels shows lies inside the picture."""

import pytest

from bpsta_cli.reporting import drawing


class Panel:
    title = "MNIST"

    def __init__(self, names):
        self.names = names

    def draw(self, axes):
        for number, name in enumerate(self.names):
            axes.plot([0, 1], [number, number], label=name)


@pytest.mark.parametrize(
    "names", [("ann", "stbp", "bpsa", "bpsta"), ("ann", "stbp", "bpsa", "bpsta", "stbp-lean", "x")]
)
def test_the_legend_of_a_sheet_lies_inside_it_however_many_methods_there_are(tmp_path, monkeypatch, names):
    found = []

    def measured(figure, target):
        figure.canvas.draw()
        (legend,) = figure.legends
        found.append((legend.get_window_extent(), figure.bbox))
        return [target]

    monkeypatch.setattr(drawing, "save_png_and_svg", measured)
    drawing.draw_sheet([Panel(names)], tmp_path / "figure", ("epoch", "accuracy"))
    ((legend, whole),) = found
    assert whole.x0 <= legend.x0 < legend.x1 <= whole.x1
    assert whole.y0 <= legend.y0 < legend.y1 <= whole.y1
