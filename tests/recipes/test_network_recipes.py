"""CONTRIBUTING's recipes of what a network is made of, each done once."""

import json

from bpsta_cli.network import notation
from bpsta_cli.training.run_directory import RunDir


def test_a_structure_is_one_line_of_the_notation(monkeypatch, train):
    monkeypatch.setitem(notation.NAMED, "pocket", "3C3-AP8-10Voting")
    run = train("--network", "pocket")
    assert json.loads((run / "settings.json").read_text())["settings"]["data"]["network"] == "pocket"
    info, network = RunDir(run).network()
    assert info.settings.data.network == "pocket"
    assert network.layers.conv1.out_channels == 3
