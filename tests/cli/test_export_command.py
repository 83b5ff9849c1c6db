"""`bpsta export` as a user meets it: files, what is printed and written of them, and refusals in one line."""

import json
import shutil
import sys

import pytest

from bpsta_cli.cli.main import run

TINY = ["--dataset", "digits", "--network", "4C3-MP2-4C3-AP4-10Voting", "--epochs", "2", "--threads", "1", "--T", "3"]


@pytest.fixture(scope="module")
def trained(data):
    """A run of each: bpsta, and the ReLU twin."""
    found = {}
    for method in ("bpsta", "ann"):
        found[method] = str(data / "runs" / method)
        options = ["--method", method, "--data-dir", str(data), "--out", found[method]]
        assert run(["train", *TINY, *options]) == 0
    return found


@pytest.fixture
def export(capsys, data):
    """The command's exit code and what it printed."""

    def call(*arguments):
        capsys.readouterr()
        code = run(["export", *map(str, arguments), "--data-dir", str(data), "--threads", "1"])
        return code, capsys.readouterr()

    return call


def test_onnx_is_written_beside_its_comparison_with_the_network(export, trained, tmp_path):
    pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    code, printed = export(trained["bpsta"], "--format", "onnx", "--out", tmp_path, "--json")
    assert code == 0, printed.err
    names = {"network.onnx", "step.onnx", "onnx.json", "onnx.provenance.json"}
    assert {file.name for file in tmp_path.iterdir()} == names
    found = json.loads(printed.out)
    assert {key: found[key] for key in ("format", "opset", "T")} == {"format": "onnx", "opset": 18, "T": 3}
    assert set(found["packages"]) == {"onnx", "onnxruntime"}
    for counts in found["agreement"].values():
        assert counts["samples"] == 360
        assert counts["differing_decisions"] == 0
    kept = json.loads((tmp_path / "onnx.json").read_text())
    assert kept["agreement"] == found["agreement"]
    assert "provenance" not in kept
    assert printed.err == ""


def test_without_a_folder_the_files_go_into_the_run(export, trained, data):
    pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    code, printed = export(trained["bpsta"], "--format", "onnx", "--samples", "20")
    assert code == 0, printed.err
    assert (data / "runs" / "bpsta" / "export" / "onnx.json").is_file()
    assert "all time steps" in printed.out
    assert run(["eval", trained["bpsta"], "--data-dir", str(data), "--samples", "5"]) == 0


def test_nir_is_written_with_its_nodes_and_its_drift(export, trained, tmp_path):
    pytest.importorskip("nir", reason="needs the extra nir")
    pytest.importorskip("nirtorch", reason="needs the extra nir")
    code, printed = export(trained["bpsta"], "--format", "nir", "--out", tmp_path)
    assert code == 0, printed.err
    assert {file.name for file in tmp_path.iterdir()} == {"network.nir", "nir.json", "nir.provenance.json"}
    found = json.loads((tmp_path / "nir.json").read_text())
    assert [node["node"] for node in found["nodes"]][:3] == ["conv1", "lif1", "pool1_sum"]
    assert [node["node"] for node in found["nodes"] if not node["exact"]] == ["lif2"]
    assert found["agreement"]["with_relu"]["differing_decisions"] == 0
    assert "SumPool2d" in printed.out
    assert "Euler" in printed.out


def test_a_relu_can_be_a_staircase_in_nir_and_is_itself_in_onnx(export, trained, tmp_path):
    pytest.importorskip("nir", reason="needs the extra nir")
    pytest.importorskip("nirtorch", reason="needs the extra nir")
    code, printed = export(trained["bpsta"], "--format", "nir", "--relu-levels", "4", "--out", tmp_path, "--json")
    assert code == 0, printed.err
    assert json.loads(printed.out)["relu_levels"] == 4
    code, printed = export(trained["bpsta"], "--format", "onnx", "--relu-levels", "4")
    assert code == 2
    assert printed.err == (
        "Error: an option of another format: expected --relu-levels with nir, got --relu-levels 4 with onnx, "
        "which has ReLU. Leave it out.\n"
    )


def test_the_twin_is_refused_as_nir_in_one_line(export, trained, tmp_path):
    pytest.importorskip("nir", reason="needs the extra nir")
    pytest.importorskip("nirtorch", reason="needs the extra nir")
    code, printed = export(trained["ann"], "--format", "nir", "--out", tmp_path / "none")
    assert code == 2
    assert printed.err == (
        "Error: a network that NIR cannot hold: expected neurons, got a ReLU twin: NIR has no node for ReLU. "
        "Export a run of a spiking method.\n"
    )
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("form", "package"), [("onnx", "onnxruntime"), ("onnx", "onnx"), ("nir", "nir")])
def test_an_absent_package_is_named_with_its_extra_before_anything_is_done(
    export, trained, tmp_path, monkeypatch, form, package
):
    for name in ("onnx", "onnxruntime", "nir", "nirtorch"):
        monkeypatch.setitem(sys.modules, name, sys if name != package else None)
    code, printed = export(trained["bpsta"], "--format", form, "--out", tmp_path / "none")
    more = ", which runs what it wrote" if package == "onnxruntime" else ""
    assert code == 2
    assert printed.err == (
        f"Error: missing package: expected {package} for bpsta export --format {form}{more}, "
        f'got an install without it. Run `pip install "bpsta-cli[{form}]"`.\n'
    )
    assert not (tmp_path / "none").exists()


def test_a_run_that_is_not_finished_is_refused_in_one_line(export, trained, tmp_path):
    pytest.importorskip("nirtorch", reason="needs the extra nir")
    unfinished = shutil.copytree(trained["bpsta"], tmp_path / "unfinished")
    (unfinished / "metrics.json").unlink()
    code, printed = export(unfinished, "--format", "nir")
    assert code == 2
    assert printed.err.startswith(f"Error: run not finished: expected {unfinished}/metrics.json, got no such file.")
    assert printed.err.count("\n") == 1


def test_an_unknown_format_is_refused_in_one_line(export, trained):
    code, printed = export(trained["bpsta"], "--format", "onx")
    assert code == 2
    assert printed.err == ("Error: unknown format: expected one of onnx, nir, got 'onx'. Did you mean onnx?\n")
