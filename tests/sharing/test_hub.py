"""The Hub's part, against a stand-in of its HTTP interface on loopback."""

import importlib.util
import json
import pickle
from pathlib import Path

import hub_stand_in
import pytest
import torch

import bpsta_cli
from bpsta_cli.cli.main import run
from bpsta_cli.errors import RunError, SettingsError
from bpsta_cli.files import write_checked_json
from bpsta_cli.reading import documents
from bpsta_cli.sharing import hub as sharing_hub

constants = pytest.importorskip("huggingface_hub.constants")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the Hub's client itself
SHARED = {"README.md", "history.csv", "metrics.json", "model.safetensors", "settings.json"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_stand_in.running() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.endpoint)
        monkeypatch.setenv("HF_TOKEN", hub_stand_in.TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # it needs a server of its own
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        yield found


@pytest.fixture
def shared(hub, trained, capsys):
    """A run that is on the Hub."""
    assert run(["share", str(trained), "--to", "hub:me/tiny"]) == 0
    capsys.readouterr()
    return trained


def test_a_run_goes_to_the_hub_with_its_card_and_comes_back_the_same(hub, shared):
    assert set(hub.files["me/tiny"]) == SHARED
    for name in SHARED - {"README.md"}:
        assert hub.files["me/tiny"][name] == (shared / name).read_bytes()
    assert b'bpsta.load("hub:me/tiny")' in hub.files["me/tiny"]["README.md"]
    x = torch.rand(2, 5, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(bpsta_cli.load("hub:me/tiny")(x), bpsta_cli.load(shared)(x))


def test_the_card_is_checked_by_the_hub_and_the_weights_go_as_a_large_file(hub, shared):
    assert "POST /api/validate-yaml" in hub.requests
    assert len(hub.large) == 1
    assert hub.private == {"me/tiny": False}


def test_a_new_repository_is_private_where_that_is_asked_for_and_sharing_again_changes_nothing(hub, trained, capsys):
    for _ in range(2):
        assert run(["share", str(trained), "--to", "hub:me/quiet", "--private", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["written"] == f"{hub.endpoint}/me/quiet/commit/{hub.revision('me/quiet')}"
    assert hub.private["me/quiet"]


def test_a_command_takes_a_run_of_the_hub(hub, shared, data, capsys):
    found = []
    for place in ("hub:me/tiny", str(shared)):
        assert run(["eval", place, "--data-dir", str(data), "--samples", "50", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["confusion"] == found[1]["confusion"]
    assert found[0]["run"] == "hub:me/tiny"


def test_a_run_of_the_hub_is_trained_again_and_compared_by_its_name_there(hub, shared, data, capsys):
    assert run(["verify", "hub:me/tiny", "--data-dir", str(data), "--threads", "1"]) == 0, capsys.readouterr().err
    assert "hub:me/tiny: the same bytes (weights, history.csv, metrics.json)" in capsys.readouterr().out
    metrics = documents.json_object(shared / "metrics.json")
    write_checked_json(shared / "metrics.json", {**metrics, "loss": metrics["loss"] + 1})
    hub.files["me/tiny"]["metrics.json"] = (shared / "metrics.json").read_bytes()
    assert run(["verify", "hub:me/tiny", "--data-dir", str(data), "--threads", "1", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert (found["run"], [each["what"] for each in found["differences"]]) == ("hub:me/tiny", ["metrics.json"])
    assert found["changed"] == ["provenance: not recorded"]


def test_predict_and_export_take_a_run_of_the_hub_and_write_nothing_beside_it(
    hub, shared, data, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pillow = pytest.importorskip("PIL.Image")
    pillow.new("L", (8, 8)).save(tmp_path / "one.png")
    monkeypatch.chdir(tmp_path)
    assert run(["predict", "hub:me/tiny", "one.png", "--json"]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["run"] == "hub:me/tiny"
    options = ["--format", "onnx", "--data-dir", str(data), "--samples", "20"]
    assert run(["export", "hub:me/tiny", *options]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "export" / "onnx.json").read_text())["run"] == "hub:me/tiny"
    assert not list((tmp_path / "cache").rglob("export"))


def test_only_the_files_of_a_run_are_downloaded_and_nothing_of_them_is_executed(hub, shared, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "was-run",)

    files = hub.files["me/tiny"]
    for name in ("pytorch_model.bin", "state.pt", "checkpoints/epoch-000009-step-000000000.pkl"):
        files[name] = pickle.dumps(Evil())
    for name in ("leaky.py", "__init__.py", "modeling_tiny.py", "setup.py"):
        files[name] = f"open({str(tmp_path / 'was-run')!r}, 'w')".encode()
    hub.requests.clear()
    bpsta_cli.load("hub:me/tiny")
    got = {request.rpartition("/")[2] for request in hub.requests if request.startswith("GET") and "resolve" in request}
    assert got == SHARED - {"README.md"}
    assert not (tmp_path / "was-run").exists()


def test_weights_that_are_a_pickle_are_refused_and_not_opened(hub, shared, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "was-run",)

    hub.files["me/tiny"]["model.safetensors"] = pickle.dumps(Evil())
    with pytest.raises(RunError, match="no usable weights"):
        bpsta_cli.load("hub:me/tiny")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("name", ["settings.json", "metrics.json", "model.safetensors"])
def test_a_file_that_was_changed_on_the_hub_is_refused(hub, shared, name):
    content = bytearray(hub.files["me/tiny"][name])
    content[len(content) // 2] ^= 1
    hub.files["me/tiny"][name] = bytes(content)
    with pytest.raises(RunError):
        bpsta_cli.load("hub:me/tiny")


def test_what_the_hub_refuses_is_told_in_a_line_with_what_to_do(hub, trained, monkeypatch, capsys):
    with pytest.raises(RunError, match=r"the Hub and hub:me/none: expected a run .* RepositoryNotFoundError"):
        bpsta_cli.load("hub:me/none")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert run(["share", str(trained), "--to", "hub:me/tiny"]) == 2
    error = capsys.readouterr().err
    assert "401 Unauthorized" in error
    assert "the token (hf auth login)" in error
    assert len(error.strip().splitlines()) <= 4
    assert hub.files == {}


def test_a_hub_out_of_reach_is_told(trained, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert run(["share", str(trained), "--to", "hub:me/tiny"]) == 2
    assert "Connection refused" in capsys.readouterr().err
    assert run(["eval", "hub:me/tiny"]) == 2
    told, debug = capsys.readouterr().err.strip().splitlines()
    assert "Connection refused" in told
    assert "--debug" in debug


@pytest.mark.parametrize("place", ["hub:", "hub:tiny", "hub:a/b/c", "hub:me/tiny@", "hub:../x", "hub:me/x y"])
def test_a_place_that_is_none_is_refused_before_anything_is_sent(hub, trained, place, capsys):
    if place == "hub:../x":
        with pytest.raises(RunError, match="HFValidationError"):
            bpsta_cli.load(place)
    else:
        with pytest.raises(SettingsError, match="hub:user/name"):
            bpsta_cli.load(place)
    assert run(["share", str(trained), "--to", place]) == 2
    assert hub.requests == []


def test_a_name_without_the_word_hub_is_a_folder_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="write hub:me/tiny"):
        bpsta_cli.load("me/tiny")


def test_without_the_package_the_extra_is_named(monkeypatch, trained, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert run(["share", str(trained), "--to", "hub:me/tiny"]) == 2
    assert 'pip install "bpsta-cli[hub]"' in capsys.readouterr().err
    with pytest.raises(SettingsError, match=r"bpsta-cli\[hub\]"):
        sharing_hub.fetch("hub:me/tiny")
