"""The tables of a benchmark, from rows that are known."""

import pandas as pd
import pytest

from benchmarks import writing


def measured_rows(measure, kind, T, times, unit):
    return [
        {
            "measure": measure,
            "input": kind,
            "T": T,
            "variant": name,
            "unit": unit,
            "median": value,
            "of_twin": float("nan"),
        }
        for name, value in times.items()
    ]


def test_growth_is_each_variants_own_time_over_that_at_the_fewest_steps():
    rows = measured_rows("step", "static", 4, {"bpsta": 2.0, "ann": 5.0}, "ms")
    rows += measured_rows("step", "static", 8, {"bpsta": 3.0, "ann": 20.0}, "ms")
    told = writing.growth(pd.DataFrame(rows))
    assert "| variant | T = 4 | T = 8 |" in told
    assert "| bpsta | 1.00 | 1.50 |" in told
    assert "| ann | 1.00 | 4.00 |" in told
    assert writing.growth(pd.DataFrame(rows[:2])) == ""


def test_memory_is_compared_at_the_same_input_and_length():
    rows = measured_rows("memory", "static", 4, {"bpsta": 50.0, "ann": 200.0}, "MiB")
    rows += measured_rows("memory", "static", 8, {"bpsta": 60.0, "ann": 400.0, "norse": 600.0}, "MiB")
    rows += measured_rows("memory", "varying", 8, {"bpsta": 300.0}, "MiB")
    frame = writing.with_memory_ratios(pd.DataFrame(rows))
    assert frame["of_twin"].fillna(-1).tolist() == [0.25, 1, 0.15, 1, 1.5, -1]
    assert frame["over_bpsta"].tolist() == pytest.approx([1, 4, 1, 20 / 3, 10, 1])
    text = writing.table("Peak memory", frame[(frame["T"] == 8) & (frame["input"] == "static")])
    assert "| norse | 600 | 1.50 | 10.00 |" in text
