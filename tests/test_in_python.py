"""What `import bpsta_cli` gives a notebook."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import bpsta_cli as bpsta
from bpsta_cli import rules
from bpsta_cli.config import RunSettings
from bpsta_cli.errors import BpstaError, RunError
from bpsta_cli.rules import registry
from bpsta_cli.training.run_directory import RunDir, RunInfo
from bpsta_cli.training.run_network import network_of

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
DATA = {"network": "4C3-AP4-2Voting", "epochs": 2, "warmup_epochs": 1, "batch_size": 8}


@pytest.fixture
def trained(tmp_path):
    """Write a run of these settings with weights, as bpsta train does; its directory and its network."""

    def write(**settings):
        run = RunDir(tmp_path / "run")
        found = RunSettings(dataset="digits", data=DATA, **settings)
        run.write_info(
            RunInfo(
                settings=found,
                input_shape=(1, 4, 4),
                classes=("a", "b"),
                data_hash="",
                rule_sha256=rules.file_hash(found.method),
                provenance={},
            )
        )
        network = network_of(found, (1, 4, 4), 2)
        run.write_weights(network.state_dict())
        return run.path, network.eval()

    return write


def test_the_package_alone_loads_no_torch():
    code = "import sys, bpsta_cli; dir(bpsta_cli); bpsta_cli.register; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_name_is_there_and_no_other():
    assert set(bpsta.__all__) <= set(dir(bpsta))
    for name in bpsta.__all__:
        assert getattr(bpsta, name).__name__.rpartition(".")[2] == name
    with pytest.raises(AttributeError, match="module 'bpsta_cli' has no attribute 'liff'"):
        bpsta.liff  # noqa: B018


def test_the_readmes_example_runs(trained):
    code = re.search(r"## In Python\n\n```python\n(.*?)```", README, re.DOTALL)[1]
    path, _ = trained(method="bpsta")
    found = {}
    exec(code.replace('"runs/digits-bpsta-T8-s0"', repr(str(path))), found)
    assert found["spikes"].shape == (8, 64, 100)
    assert found["votes"].shape == (64, 10)
    assert found["network"].neurons()["lif1"].rule == rules.BPSTA(0.5)
    assert found["layer"](torch.rand(3, 2, 100)).shape == (3, 2, 10)
    assert not found["trained"].training


@pytest.mark.parametrize(
    ("method", "rule"), [("bpsta", {"alpha": 0.7}), ("stbp", {"surrogate": "sigmoid"}), ("ann", {})]
)
def test_a_run_is_loaded_with_its_weights_and_its_rule(trained, method, rule):
    path, network = trained(method=method, rule=rule, neuron={"threshold": 0.3})
    x = torch.rand(3, 5, 1, 4, 4)
    loaded = bpsta.load(str(path))
    assert torch.equal(loaded(x), network(x))
    assert [neuron.extra_repr() for neuron in loaded.neurons().values()] == [
        neuron.extra_repr() for neuron in network.neurons().values()
    ]
    with pytest.raises(RunError, match="not a run"):
        bpsta.load(path / "nowhere")


RULE = """
from dataclasses import dataclass
from pathlib import Path
from bpsta_cli import rules

Path(__file__).with_name("was-run").touch()

@rules.register
@dataclass(frozen=True)
class Own(rules.BPSA):
    name = "own"
    leak: float = 0.1
"""


def test_a_run_of_a_rule_file_is_loaded_with_the_rule_that_the_caller_gives_and_runs_no_file(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))
    monkeypatch.setattr(registry, "_files", {})
    monkeypatch.setattr(registry, "_hashes", {})
    file = tmp_path / "own.py"
    file.write_text(RULE)
    rules.find(str(file))
    path, _ = trained(method=str(file), rule={"leak": 0.4})
    (tmp_path / "was-run").unlink()
    for known in (registry._files, registry._hashes):  # as in another process
        known.clear()
    with pytest.raises(
        BpstaError, match=r"not named: expected .*trust_rule=FILE.* got .*run, trained with .*own\.py\. Nothing was run"
    ):
        bpsta.load(path)

    @dataclass(frozen=True)
    class Own(rules.BPSA):
        name: ClassVar[str] = "own"
        leak: float = 0.1

    loaded = bpsta.load(path, rule=Own)
    assert {neuron.rule for neuron in loaded.neurons().values()} == {Own(0.4)}
    assert not (tmp_path / "was-run").exists()

    registry._rules.pop("own")
    named = bpsta.load(path, trust_rule=file)
    assert {neuron.rule.leak for neuron in named.neurons().values()} == {0.4}
    assert (tmp_path / "was-run").exists()
