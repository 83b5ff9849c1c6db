"""`bpsta verify`: the same bytes, what differs, what is refused, and the exit code that says which."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from bpsta_cli import reading
from bpsta_cli.cli.main import run
from bpsta_cli.files import write_checked_json
from bpsta_cli.kernels import dispatch
from bpsta_cli.reading import documents
from bpsta_cli.verification import again

NAME = "digits-bpsta-T2-s0"


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """results/ with one run, trained and measured as the pipeline does it."""
    results = tmp_path_factory.mktemp("made") / "results"
    directory, places = str(results / "train" / NAME), ["--data-dir", str(data)]
    small = ["--network", "4C3-AP8-10Voting", "--epochs", "3", "--warmup-epochs", "1", "--train-samples", "100"]
    train = ["train", "--dataset", "digits", "--T", "2", *small, "--out", directory, *places]
    assert run(train) == 0
    for command, *options in (["eval"], ["energy"], ["latency", "--no-clock"]):
        assert run([command, directory, *options, "--out", str(results / command / f"{NAME}.json"), *places]) == 0
    return results


@pytest.fixture
def results(made, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(made, tmp_path / "results")


@pytest.fixture
def verify(results, data, capsys):
    """Verify the run; returns the exit code, and what was printed."""

    def call(*options):
        capsys.readouterr()
        code = run(["verify", str(results / "train" / NAME), "--data-dir", str(data), *options])
        return code, capsys.readouterr()

    return call


def change(file, *gone, **values):
    """Change or remove values of a JSON file; its checksum fits again."""
    found = {key: value for key, value in (documents.json_object(file) | values).items() if key not in gone}
    write_checked_json(file, found)


def fit(run_folder):
    """Have metrics.json hold the checksums that the files beside it have now."""
    sums = documents.json_object(run_folder / "metrics.json")["files"]
    change(run_folder / "metrics.json", files={name: reading.sha256(run_folder / name) for name in sums})


def test_a_run_that_is_as_it_was_made_is_the_same_bytes_and_nothing_in_its_directory_changes(verify, results):
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in results.rglob("*") if file.is_file()}
    code, printed = verify()
    assert code == 0
    assert f"{NAME}: the same bytes (weights, history.csv, metrics.json, eval, energy, latency)" in printed.out
    assert {
        file: (file.read_bytes(), file.stat().st_mtime_ns) for file in results.rglob("*") if file.is_file()
    } == before


def test_what_differs_is_named_and_what_changed_since(verify, results):
    run_folder = results / "train" / NAME
    weights = load_file(run_folder / "model.safetensors")
    weights["layers.conv1.weight"][0, 0, 0, 0] += 0.5
    save_file(weights, run_folder / "model.safetensors")
    history = (run_folder / "history.csv").read_text().splitlines()
    history[2] = history[2].replace("spiking", "twin")
    (run_folder / "history.csv").write_text("\n".join(history) + "\n")
    fit(run_folder)
    change(run_folder / "metrics.json", firing_rate=0.75)
    change(results / "eval" / f"{NAME}.json", samples=359)
    change(run_folder / "provenance.json", commit="another", threads=99)
    code, printed = verify("--json")
    (found,) = json.loads(printed.out)["runs"]
    assert (code, found["same_bytes"], found["holds"], found["unpromised"]) == (1, False, False, "")
    told = {difference["what"]: difference["detail"] for difference in found["differences"]}
    assert set(told) == {"weights", "history.csv", "metrics.json", "eval"}
    assert "by at most 0.5 (layers.conv1.weight)" in told["weights"]
    assert "epoch 2 of 3 is the first that differs" in told["history.csv"]
    assert told["metrics.json"].startswith("firing_rate 0.75 -> ")
    assert told["eval"] == "samples 359 -> 360"
    assert found["too_far"].keys() == {"firing rate"}
    assert [line.split(":")[0] for line in found["changed"]] == ["commit", "threads"]
    _, printed = verify()
    assert f"{NAME}: DIFFERENT" in printed.out
    assert f"What changed since {NAME} was made:\n  commit: another -> " in printed.out


def test_of_a_run_without_its_weights_their_hash_is_compared(verify, results):
    (results / "train" / NAME / "model.safetensors").unlink()
    code, printed = verify()
    assert (code, "the same bytes (weights, " in printed.out) == (0, True)
    metrics = results / "train" / NAME / "metrics.json"
    change(metrics, files=documents.json_object(metrics)["files"] | {"model.safetensors": "0" * 64})
    code, printed = verify()
    assert code == 1
    assert "weights: SHA-256 000000000000, now " in printed.out


def test_an_older_record_with_its_provenance_inside_and_no_hash_is_verified(verify, results):
    folder = results / "train" / NAME
    provenance = documents.json_object(folder / "provenance.json") | {"commit": "old"}
    for file in (folder / "provenance.json", folder / "model.safetensors", *results.glob("*/*.provenance.json")):
        file.unlink()
    change(folder / "settings.json", provenance=provenance)
    change(folder / "metrics.json", "files", provenance=provenance, accuracy=0.125)
    code, printed = verify()
    assert code == 1
    assert "(compared: history.csv, metrics.json, eval, energy, latency)" in printed.out
    assert "metrics.json: accuracy 0.125 -> " in printed.out
    assert "  commit: old -> " in printed.out


def test_where_the_compiled_kernels_do_not_run_bytes_are_not_promised_and_a_tolerance_decides(
    verify, results, monkeypatch
):
    reference = dispatch.Choice("reference", "there is no compiler g++")
    monkeypatch.setattr(again, "choose", lambda *_, **__: reference)
    metrics = results / "train" / NAME / "metrics.json"
    change(metrics, accuracy=documents.json_object(metrics)["accuracy"] + 0.01)
    code, printed = verify()
    assert code == 0
    assert "within tolerance" in printed.out
    assert (
        "equal bytes are not promised here: the compiled kernels do not run here (there is no compiler" in printed.out
    )
    change(metrics, accuracy=documents.json_object(metrics)["accuracy"] + 0.1)
    code, printed = verify()
    assert code == 1
    assert "accuracy: 0.11 apart, more than sums in another order explain" in printed.out


def test_a_run_of_a_gpu_is_compared_within_a_tolerance_wherever_that_is_possible(verify, results):
    change(results / "train" / NAME / "provenance.json", device="cuda (H100)", kernel="gpu")
    metrics = results / "train" / NAME / "metrics.json"
    change(metrics, loss=documents.json_object(metrics)["loss"] + 0.001)
    code, printed = verify("--device", "cpu")
    assert code == 0
    assert "equal bytes are not promised here: it was trained on cuda (H100)" in printed.out


def test_other_data_are_the_difference_and_nothing_is_trained(verify, results, monkeypatch):
    monkeypatch.setattr(again.training, "train", None)
    change(results / "train" / NAME / "settings.json", data_hash="0" * 64)
    code, printed = verify()
    assert code == 1
    assert "data: trained on 000000000000, the settings now give " in printed.out


def test_of_many_runs_a_sample_is_taken(verify, results):
    other = shutil.copytree(results / "train" / NAME, results / "train" / "other")
    code, printed = verify(str(other), "--sample", "1")
    assert code == 0
    assert "1 of 1 runs the same bytes; a sample of 2" in printed.out


def test_damaged_weights_are_refused_and_nothing_is_trained(verify, results, monkeypatch):
    file = results / "train" / NAME / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr(again.training, "train", None)
    code, printed = verify()
    assert code == 2
    assert "another checksum" in printed.err


def test_of_records_that_are_no_figures_nothing_is_trained(verify, results, monkeypatch):
    change(results / "train" / NAME / "metrics.json", "accuracy")
    monkeypatch.setattr(again.training, "train", None)
    code, printed = verify()
    assert code == 2
    assert "nothing to compare with" in printed.err


@pytest.mark.parametrize(
    ("gone", "options", "message"),
    [
        ("metrics.json", [], "run not finished"),
        ("settings.json", [], "not a run"),
        ("history.csv", [], "nothing to compare with"),
        (None, ["--sample", "0"], "--sample of at least 1"),
    ],
)
def test_misuse_is_refused_with_exit_code_2(verify, results, gone, options, message):
    if gone:
        (results / "train" / NAME / gone).unlink()
    code, printed = verify(*options)
    assert code == 2
    assert message in printed.err


def test_threads_are_those_that_are_asked_for(verify):
    before = torch.get_num_threads()
    try:
        assert verify("--threads", "2", "--json")[0] in (0, 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
