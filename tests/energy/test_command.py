"""`bpsta energy` as a user meets it."""

import csv
import json

import pytest

from bpsta_cli.cli.main import run
from bpsta_cli.energy import TECHS

TINY = ["--dataset", "digits", "--T", "2", "--network", "4C3-AP8-10Voting", "--epochs", "1", "--warmup-epochs", "0"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of bpsta, one of stbp, and the twin: trained for one epoch."""
    folder = tmp_path_factory.mktemp("runs")
    for method, seed in (("bpsta", 0), ("bpsta", 1), ("stbp", 0), ("ann", 0)):
        place = ["--method", method, "--seed", str(seed), "--out", str(folder / f"{method}{seed}")]
        assert run(["train", *TINY, "--threads", "1", "--data-dir", str(folder), *place]) == 0
    return folder


def energy(capsys, folder, names, *options):
    """Exit code, standard output, standard error."""
    capsys.readouterr()
    code = run(["energy", *(str(folder / name) for name in names), "--data-dir", str(folder), *map(str, options)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_one_run_shows_every_account_and_every_layer(capsys, runs):
    code, out, _ = energy(capsys, runs, ["bpsta0"])
    assert code == 0
    for word in ("paper (Eq. 1)", "with memory", "quantised, 2 bits", "conv1", "linear1", "total", "NeuroBench"):
        assert word in out
    assert "Only the first" not in out


def test_a_limited_evaluation_says_so(capsys, runs):
    _, out, _ = energy(capsys, runs, ["bpsta0"], "--samples", 30)
    assert "Only the first 30 of 360 test samples were evaluated." in out
    assert "mean of 30 samples" in out


def test_several_runs_become_rows_with_mean_and_spread_and_the_twins_accuracy(capsys, runs):
    code, out, _ = energy(capsys, runs, ["bpsta0", "bpsta1", "stbp0", "ann0"], "--json")
    found = json.loads(out)
    assert code == 0
    rows = {row["method"]: row for row in found["table5"]}
    assert list(rows) == ["bpsta", "stbp"]
    assert (rows["bpsta"]["runs"], rows["stbp"]["runs"]) == (2, 1)
    first, second, _, twin = found["runs"]
    assert rows["bpsta"]["accuracy_mean"] == pytest.approx((first["accuracy"] + second["accuracy"]) / 2)
    ratios = first["paper"]["ratio"], second["paper"]["ratio"]
    assert rows["bpsta"]["paper_ratio_sd"] == pytest.approx(abs(ratios[0] - ratios[1]) / 2**0.5)
    assert rows["bpsta"]["twin_accuracy_mean"] == twin["accuracy"]
    assert rows["stbp"]["accuracy_sd"] is None


def test_tables_and_picture_are_written_where_asked_for(capsys, runs, tmp_path):
    options = ("--csv", tmp_path / "csv", "--figure", tmp_path / "rates.svg")
    code, out, _ = energy(capsys, runs, ["bpsta0", "stbp0"], *options)
    assert code == 0
    assert "rates.svg" in out
    drawn = (tmp_path / "rates.svg").read_text().lower()
    assert "#0072b2" in drawn  # stbp
    assert "#d55e00" in drawn  # bpsta
    tables = {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in (tmp_path / "csv").iterdir()}
    assert {name: len(rows) for name, rows in tables.items()} == {"layers": 4, "runs": 2, "table5": 2}
    assert tables["layers"][0]["shape"] == "4x8x8"
    share = sum(float(row["share"]) for row in tables["layers"] if row["method"] == "stbp")
    assert share == pytest.approx(1)


def test_the_table_of_costs_is_the_one_asked_for(capsys, runs, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(json.dumps(TECHS["45nm-fp32"].model_dump(mode="json") | {"name": "mine", "add_pj": 9.0}))
    default, integers, own = (
        json.loads(energy(capsys, runs, ["bpsta0"], "--json", *tech)[1])
        for tech in ((), ("--tech", "45nm-int32"), ("--tech", mine))
    )
    assert [found["tech"]["name"] for found in (default, integers, own)] == ["45nm-fp32", "45nm-int32", "mine"]
    assert default["counted"]["acs"] == integers["counted"]["acs"]
    assert default["counted"]["e_ann_pj"] / integers["counted"]["e_ann_pj"] == pytest.approx(4.6 / 3.2)
    assert own["counted"]["e_ann_pj"] / default["counted"]["e_ann_pj"] == pytest.approx(12.7 / 4.6)
    assert default["paper"] == integers["paper"] == own["paper"]  # the paper's own constants


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["bpsta0"], ["--figure", "rates.pdf"], "ends in .png or .svg"),
        (["ann0"], ["--figure", "rates.png"], "a spiking method"),
        (["bpsta0"], ["--tech", "28nm"], "45nm-fp32, 45nm-int32 or a file"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_measured(capsys, runs, names, options, message):
    code, out, err = energy(capsys, runs, names, *options)
    assert (code, out) == (2, "")
    assert message in err


def test_the_twin_alone_has_no_row_and_no_break_even(capsys, runs):
    code, out, _ = energy(capsys, runs, ["ann0"])
    assert code == 0
    assert "more than 1" not in out
    assert "It would cost" not in out
