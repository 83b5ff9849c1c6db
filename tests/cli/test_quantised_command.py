"""`bpsta eval --bits` as a user meets it, and where its result shows up."""

import json
from inspect import signature

import pytest

from bpsta_cli.cli.evaluate import evaluate
from bpsta_cli.cli.main import run
from bpsta_cli.quantisation.measured import FINE_TUNING_EPOCHS

TINY = ["--dataset", "digits", "--T", "4", "--network", "4C3-AP4-10Voting", "--epochs", "1", "--warmup-epochs", "0"]


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """A twin and a run of bpsta, trained for one epoch."""
    folder = tmp_path_factory.mktemp("runs")
    for method in ("ann", "bpsta"):
        place = ["--method", method, "--out", str(folder / method), "--data-dir", str(data)]
        assert run(["train", *TINY, *place]) == 0
    return folder


def called(capsys, command, data, *arguments):
    """Exit code, standard output, standard error."""
    capsys.readouterr()
    code = run([command, *map(str, arguments), "--data-dir", str(data)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_quantised_twin_is_measured_beside_the_twin(capsys, runs, data):
    code, out, _ = called(capsys, "eval", data, runs / "ann", "--bits", "auto", "--fine-tune", 1, "--json")
    found = json.loads(out)
    assert code == 0
    quantised = found["quantised"]
    assert (quantised["bits"], quantised["weight_bits"], quantised["calibration_samples"]) == (3, 8, 1024)
    assert list(quantised["steps"]) == ["input", "relu1", "pool1"]
    assert quantised["fine_tuned"]["epochs"] == 1
    assert quantised["fine_tuned"].keys() == {"epochs", "lr", "accuracy"}
    alone = json.loads(called(capsys, "eval", data, runs / "ann", "--json")[1])
    assert {key: found[key] for key in alone} == alone
    assert "quantised" not in alone


def test_the_epochs_of_fine_tuning_are_those_that_the_pipeline_and_verify_have():
    assert signature(evaluate).parameters["fine_tune"].default == FINE_TUNING_EPOCHS


def test_a_reader_sees_the_three_accuracies(capsys, runs, data):
    code, out, _ = called(capsys, "eval", data, runs / "ann", "--bits", 2, "--fine-tune", 0, "--samples", 40)
    assert code == 0
    for word in ("Quantised twin", "1,024 training samples", "not quantised", "calibrated", "fine-tuned"):
        assert word in out


@pytest.mark.parametrize(
    ("method", "bits", "message"),
    [
        ("bpsta", "auto", "spikes have one bit"),
        ("ann", "two", "--bits of auto or a number of bits"),
        ("ann", "-1", "--bits of auto or a number of bits"),
        ("ann", "99", "unusable bits of activations"),
    ],
)
def test_what_cannot_be_quantised_is_refused_in_a_line(capsys, runs, data, method, bits, message):
    code, out, err = called(capsys, "eval", data, runs / method, f"--bits={bits}")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_the_table_of_energies_shows_the_quantised_twins_accuracy_where_it_was_measured(capsys, runs, data):
    def row():
        out = called(capsys, "energy", data, runs / "bpsta", runs / "ann", "--samples", 20, "--json")[1]
        (found,) = json.loads(out)["table5"]
        return found

    assert row()["quantised_twin_accuracy_mean"] is None
    measured = ("--fine-tune", 0, "--out", runs / "ann" / "eval.json")
    assert called(capsys, "eval", data, runs / "ann", "--bits", 5, *measured)[0] == 0
    assert row()["quantised_twin_accuracy_mean"] is None  # of other bits than the account's
    assert called(capsys, "eval", data, runs / "ann", "--bits", "auto", *measured)[0] == 0
    expected = json.loads((runs / "ann" / "eval.json").read_text())["quantised"]["accuracy"]
    assert row()["quantised_twin_accuracy_mean"] == row()["calibrated_twin_accuracy_mean"] == expected
    assert called(capsys, "energy", data, runs / "bpsta", runs / "ann", "--samples", 20)[1].count("q. twin") == 1
    other = {"accuracy": 0.5, "weights_sha256": "0", "quantised": {"bits": 3, "accuracy": 0.5, "fine_tuned": None}}
    (runs / "ann" / "eval.json").write_text(json.dumps(other))
    assert row()["quantised_twin_accuracy_mean"] is None  # of other weights
