"""`python -m benchmarks`: what it writes, what it refuses, and its options."""

import dataclasses

import pandas as pd
import pytest
import torch
from tiny_benchmark import OPTIONS, TINY, Wrong

from benchmarks import __main__ as command
from benchmarks import measuring, variants
from benchmarks.options import application, parameters
from benchmarks.settings import Settings
from benchmarks.subjects import Project, Variant, with_rule


def test_the_command_writes_its_table_its_text_and_its_figure(tmp_path, no_peers, capsys):
    measures = ["--T", "2", "--inputs", "varying"]
    measures += ["--measures", "step", "inference", "neuron", "profile", "--neuron-mb", "1"]
    assert command.main([*OPTIONS, *measures, "--out", str(tmp_path)]) == 0
    written = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(written) == {"benchmark.csv", "benchmark.md", "benchmark.png", "benchmark.svg"}
    assert min(written.values()) > 500
    frame = pd.read_csv(tmp_path / "benchmark.csv")
    steps = frame[frame.measure == "step"]
    assert len(steps) == 7
    assert (steps[["median", "of_twin", "of_convolutions", "over_bpsta"]] > 0).all(axis=None)
    assert set(frame.measure) == {"step", "inference", "neuron", "profile"}
    text = (tmp_path / "benchmark.md").read_text()
    assert "threads 1" in text
    assert f"torch {torch.__version__}" in text
    assert "spikingjelly (No module named 'no_such_package')" in text
    assert "norse is absent: No module named 'no_such_package'" in capsys.readouterr().err


def test_a_refused_variant_is_named_and_not_timed(tmp_path, no_peers, monkeypatch):
    real = variants.catalogue()
    wrong = dataclasses.replace(real[1], make=lambda network: Wrong(network, "votes"))
    monkeypatch.setattr(variants, "catalogue", lambda: [real[0], wrong, *real[2:]])
    asked = ["--only", "bpsta", "bpsa", "ann"]
    asked += ["--measures", "step", "--inputs", "varying", "--T", "2", "--out", str(tmp_path)]
    assert command.main([*OPTIONS, *asked]) == command.REFUSED
    assert "Refused: bpsa (votes or gradients are off by" in (tmp_path / "benchmark.md").read_text()
    assert set(pd.read_csv(tmp_path / "benchmark.csv").variant) == {"bpsta", "ann"}


def test_an_interrupt_leaves_no_file(tmp_path, no_peers, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "in_turns", interrupted)
    asked = ["--only", "bpsta", "--measures", "step", "--T", "2", "--out", str(tmp_path)]
    assert command.main([*OPTIONS, *asked]) == command.INTERRUPTED
    assert list(tmp_path.iterdir()) == []
    assert "nothing was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "0"], "expected rounds: Input should be greater than 0, got '0'"),
        (["--T", "0", "2"], "expected T.0: Input should be greater than 0, got '0'"),
        (["--neuron-mb", "x"], "expected neuron_mb.0: Input should be a valid integer"),
        (["--input", "3x4"], "CxHxW, as 3x32x32, got '3x4'"),
        (["--measures", "step", "nothing"], "got 'nothing'"),
        (["--round", "1"], "--rounds"),
        (["--only", "nobody"], "unknown variant"),
        (["--network", "resnet18", "--only", "ann"], "without a plain twin"),
        (["--run", "nowhere", "--only", "bpsta", "--measures", "inference"], "nowhere"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, message, no_peers, capsys, tmp_path):
    assert command.main([*OPTIONS, *options, "--out", str(tmp_path)]) == command.UNUSABLE
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def parse(*options):
    found = []
    with pytest.raises(SystemExit):
        application(lambda settings: found.append(settings) or 0)(args=options)
    return found[0]


def test_options_become_settings_and_travel_as_json():
    settings = parse(*OPTIONS, "--T", "2", "3", "--neuron-mb", "1", "--inputs", "static", "--measures", "step")
    assert settings == TINY.changed(classes=10, inputs=("static",), measures=("step",))
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert parse("--network", "small").shape == (1, 28, 28)
    assert (parse("--quick").rounds, parse("--quick", "--rounds", "5").rounds) == (3, 5)


def test_an_option_that_takes_several_values_may_also_be_repeated():
    assert parse("--T", "4", "8").T == parse("--T", "4", "--T", "8").T == (4, 8)
    assert parse("--only", "bpsta", "ann", "--T", "2").only == ("bpsta", "ann")


def test_no_option_is_lost_or_added_unseen():
    assert [parameter.annotation.__metadata__[0].default for parameter in parameters()] == [
        *("--network", "--input", "--classes", "--batch", "--T", "--rounds", "--threads", "--device", "--amp"),
        *("--only", "--measures", "--inputs", "--neuron-mb", "--run", "--data-dir", "--out", "--quick"),
    ]


def test_the_help_names_each_option_with_its_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert command.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--batch INTEGER Samples of a step. (default: 16)" in text
    assert "--T INTEGER... Time steps. (default: 4 8 16 32)" in text
    assert "--device cpu|cuda Where to compute. (default: cpu)" in text


def test_a_new_variant_is_one_entry_and_is_checked_before_it_is_timed(tmp_path, no_peers, monkeypatch):
    def detached(network):
        return Project(with_rule(network, "stbp", detach_reset=True))

    new = Variant(
        "stbp-detached", "stbp without the reset's gradient", detached, {"method": "stbp", "detach_reset": True}
    )
    with_it = [*variants.catalogue(), new]
    for place in (variants, command):
        monkeypatch.setattr(place, "catalogue", lambda: with_it)
    asked = ["--only", "bpsta", "ann", "stbp-detached", "--out", str(tmp_path)]
    asked += ["--measures", "step", "--inputs", "varying", "--T", "2"]
    assert command.main([*OPTIONS, *asked]) == 0
    assert set(pd.read_csv(tmp_path / "benchmark.csv").variant) == {"bpsta", "ann", "stbp-detached"}
    assert "- stbp-detached: stbp without the reset's gradient." in (tmp_path / "benchmark.md").read_text()
