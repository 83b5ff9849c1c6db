"""`python -m benchmarks`: what it writes, and what it refuses."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from benchmarks import __main__ as command
from benchmarks import (
    checking,
    clock,
    measuring,
    peers,
    processes,
    profiling,
    subjects,
    trained,
    variants,
    weights,
    writing,
)
from benchmarks.settings import Settings, from_dict, parse
from benchmarks.subjects import Project, Variant, with_rule
from bpsta_cli.errors import BpstaError
from bpsta_cli.training.run_directory import RunDir, RunInfo, network_of

CPU = torch.device("cpu")
TINY = Settings(
    network="4C3-MP2-5C3-AP4-2Voting",
    shape=(2, 8, 8),
    classes=3,
    batch=3,
    T=(2, 3),
    rounds=1,
    threads=1,
    neuron_mb=(1,),
)
OPTIONS = [
    *("--network", TINY.network, "--input", "2x8x8", "--batch", "3", "--T", "2", "3", "--rounds", "1"),
    *("--threads", "1", "--neuron-mb", "1"),
]


def quiet(*_):
    """Told of progress, and nothing done."""


@pytest.fixture
def no_peers(monkeypatch):
    monkeypatch.setattr(peers, "IMPORTS", dict.fromkeys(peers.IMPORTS, "no_such_package"))


@pytest.fixture
def ours():
    return {variant.name: variant for variant in variants.catalogue() if not variant.package}


def test_the_command_writes_its_table_its_text_and_its_figure(tmp_path, no_peers, capsys):
    measures = ["--T", "2", "--inputs", "varying", "--measures", "step", "inference", "neuron", "profile"]
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


def test_peak_memory_is_measured_in_a_process_of_its_own():
    settings = dataclasses.replace(TINY, T=(2,), inputs=("static",), batch=32, shape=(2, 64, 64))
    (row,) = processes.memory(settings, ["ann"], quiet)
    one_activation = 2 * 32 * 4 * 64 * 64 * 4 / processes.MIB
    assert (row["variant"], row["T"], row["unit"]) == ("ann", 2, "MiB")
    assert 2 * one_activation < row["median"] < 200


def test_the_first_use_has_an_empty_cache_and_then_what_was_built_into_it(monkeypatch):
    caches = []

    def child(what, _settings, environment, **_changed):
        folder = Path(environment["BPSTA_CACHE"])
        caches.append((folder, list(folder.iterdir())))
        (folder / "built").touch()
        return {"seconds": 0.5 if caches[-1][1] else 3.0}

    monkeypatch.setattr(processes, "_child", child)
    rows = processes.first_use(dataclasses.replace(TINY, rounds=2), quiet)
    assert [(row["variant"], row["median"]) for row in rows] == [
        ("empty cache", 3.0),
        ("kernels built", 0.5),
        ("building", 2.5),
    ]
    assert len({folder for folder, _ in caches}) == 2
    assert not any(folder.exists() for folder, _ in caches)
    assert 0 < processes._measured_first_use(TINY)["seconds"] < 60


def test_a_process_that_fails_is_told_with_its_last_line():
    with pytest.raises(BpstaError, match="KeyError: 'nothing'"):
        processes._child("nothing", TINY)


def test_every_variant_of_this_package_computes_what_the_reference_does(ours):
    checker = checking.Checker(TINY, CPU)
    assert {name: checker.refusal(variant) for name, variant in ours.items()} == dict.fromkeys(ours, "")


def test_each_convolution_is_compared_in_its_full_width_with_the_pooling_after_it():
    parts = checking.convolutions(dataclasses.replace(TINY, network="small", shape=(1, 28, 28)))
    assert [(part.network, part.shape) for part in parts] == [
        ("128C3-MP2-10Voting", (1, 28, 28)),
        ("128C3-10Voting", (128, 14, 14)),
        ("256C3-MP2-10Voting", (128, 14, 14)),
    ]
    thin = checking.thinned(dataclasses.replace(TINY, network="small", shape=(1, 28, 28)))
    assert thin.network == "16C3-MP2-16C3-16C3-MP2-16FC-DP-10Voting"
    cnn = dataclasses.replace(TINY, network="cnn-stbp", shape=(1, 28, 28))
    assert [part.shape for part in checking.convolutions(cnn)] == [(1, 28, 28), (15, 13, 13)]


def test_a_variant_that_is_wrong_in_full_width_alone_is_refused():
    class WrongWhenWide(Project):
        def forward(self, x):
            votes = super().forward(x)
            return votes * 1.1 if self.layers.conv1.out_channels > checking.CHANNELS else votes

    variant = Variant("wrong", "", lambda network: WrongWhenWide(with_rule(network, "bpsa")), {"method": "bpsa"})
    settings = dataclasses.replace(TINY, network="17C3-AP4-2Voting", inputs=("varying",))
    assert "17C3-AP4-10Voting" in checking.Checker(settings, CPU).refusal(variant)


def test_the_whole_network_is_told_of_training_and_evaluation(ours):
    subject = ours["bpsta"].make(checking.build(TINY))
    assert subject.train().network.training
    assert not subject.eval().network.training
    assert len(list(subject.parameters())) == len(list(subject.layers.parameters()))


class Wrong(Project):
    """A network of this package with something wrong about it."""

    def __init__(self, network, wrong):
        super().__init__(with_rule(network, "bpsta"))
        self.wrong = wrong
        if wrong == "decay":
            self.neuron = next(layer for layer in self.layers.modules() if hasattr(layer, "decay"))
            self.neuron.decay = 0.89

    def forward(self, x):
        votes = super().forward(x)
        if self.wrong == "gradient" and self.training:
            self.layers.conv1.weight.register_hook(lambda grad: grad * 1.01)
        if self.wrong == "nan gradient" and self.training:
            self.layers.norm2.bias.register_hook(lambda grad: grad * float("nan"))
        if self.wrong == "votes":
            votes = votes + 0.01
        if self.wrong == "evaluation" and not self.training:
            votes = votes * 1.01
        if self.wrong == "nan" and self.training:
            votes = votes * float("nan")
        return votes


@pytest.mark.parametrize("wrong", ["decay", "gradient", "votes", "evaluation", "nan", "nan gradient"])
def test_a_variant_that_computes_something_else_is_refused(wrong):
    variant = Variant("wrong", "", lambda network: Wrong(network, wrong), {"method": "bpsta"})
    settings = dataclasses.replace(TINY, inputs=("varying",))
    assert "off by" in checking.Checker(settings, CPU).refusal(variant)


def test_a_rule_held_against_another_is_refused():
    variant = Variant("wrong", "", lambda network: Project(with_rule(network, "stbp")), {"method": "bpsa"})
    assert "off by" in checking.Checker(TINY, CPU).refusal(variant)


def test_a_refused_variant_is_named_and_not_timed(tmp_path, no_peers, monkeypatch):
    real = variants.catalogue()
    wrong = dataclasses.replace(real[1], make=lambda network: Wrong(network, "votes"))
    monkeypatch.setattr(variants, "catalogue", lambda: [real[0], wrong, *real[2:]])
    asked = ["--only", "bpsta", "bpsa", "ann", "--measures", "step", "--inputs", "varying", "--out", str(tmp_path)]
    assert command.main([*OPTIONS, *asked]) == command.REFUSED
    assert "Refused: bpsa (votes or gradients are off by" in (tmp_path / "benchmark.md").read_text()
    assert set(pd.read_csv(tmp_path / "benchmark.csv").variant) == {"bpsta", "ann"}


def test_a_wrong_neuron_is_refused(no_peers):
    right = measuring._neurons()["bpsta"]
    assert checking.neuron_refusal(*right, CPU) == ""
    assert "off by" in checking.neuron_refusal(lambda x: right[0](x * 1.01), right[1], CPU)
    assert "off by" in checking.neuron_refusal(right[0], {"name": "bpsa"}, CPU)


def test_an_interrupt_leaves_no_file(tmp_path, no_peers, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "in_turns", interrupted)
    asked = ["--only", "bpsta", "--measures", "step", "--out", str(tmp_path)]
    assert command.main([*OPTIONS, *asked]) == command.INTERRUPTED
    assert list(tmp_path.iterdir()) == []
    assert "nothing was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--rounds", "0"], "--rounds of at least 1"),
        (["--T", "0", "2"], "--T of at least 1"),
        (["--only", "nobody"], "unknown variant"),
        (["--network", "resnet18", "--only", "ann"], "without a plain twin"),
        (["--run", "nowhere", "--only", "bpsta", "--measures", "inference"], "nowhere"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, told, no_peers, capsys, tmp_path):
    assert command.main([*OPTIONS, *options, "--out", str(tmp_path)]) == command.UNUSABLE
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_options_become_settings_and_travel_as_json():
    settings = parse([*OPTIONS, "--inputs", "static", "--measures", "step"])
    assert settings == dataclasses.replace(TINY, classes=10, inputs=("static",), measures=("step",))
    assert from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert parse(["--network", "small"]).shape == (1, 28, 28)
    assert (parse(["--quick"]).rounds, parse(["--quick", "--rounds", "5"]).rounds) == (3, 5)


def test_a_ratio_is_taken_within_each_round():
    assert clock.ratio([1.0, 20.0, 300.0], [2.0, 10.0, 100.0]) == clock.Spread(2.0, 1.25, 2.5)


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


def test_turns_begin_with_another_one_each_round_and_the_first_are_not_timed():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "abc"}
    times = clock.in_turns(works, rounds=2, device=CPU, told=quiet)
    assert "".join(order) == "abcbcacababc"
    assert {len(own) for own in times.values()} == {2}


def test_weights_are_set_so_that_every_layer_fires_as_often_as_after_training():
    network = checking.build(dataclasses.replace(TINY, network="8C3-MP2-8C3-AP4-16FC-16-8Voting"))
    x = torch.rand(8, 16, *TINY.shape)
    found = weights.calibrate(network, x)
    assert set(found) == set(network.neurons())
    assert all(abs(rate - weights.RATE) < 0.03 for rate in found.values()), found
    assert network.training


def test_the_convolutions_alone_see_the_shapes_that_the_network_sees():
    network = checking.build(TINY)
    alone = subjects.Convolutions(network)
    for kind, first in (("static", 3), ("varying", 9)):
        alone.prepare(checking.draw(TINY, 3, 3, varying=kind == "varying", device=CPU))
        assert [tuple(inputs.shape) for inputs, _ in alone.data] == [(first, 2, 8, 8), (9, 4, 4, 4), (9, 5)]
        assert [tuple(grad.shape) for _, grad in alone.data] == [(first, 4, 8, 8), (9, 5, 4, 4), (9, 6)]
    assert [inputs.requires_grad for inputs, _ in alone.data] == [False, True, True]


def test_folding_the_twins_norms_changes_no_vote():
    twin = subjects.Twin(checking.build(TINY).eval()).eval()
    x = twin.prepare(torch.rand(2, 3, *TINY.shape))
    weights.follow_only_this(checking.build(TINY), x)
    expected = twin(x)
    folded = measuring.folded(twin)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    torch.testing.assert_close(folded(x), expected)


def test_the_margin_is_how_near_a_potential_comes_to_an_edge():
    network = checking.build(dataclasses.replace(TINY, network="3"), backend="reference").double()
    network.layers.linear1.weight.data.zero_()
    network.layers.linear1.bias.data[:] = torch.tensor([0.2, 0.27, 0.2])
    # potentials of 0.2 and 0.38, and of 0.27 and 0.513; edges at 0, 0.5 and 1
    x = torch.zeros(2, 1, *TINY.shape, dtype=torch.float64)
    assert checking.margin(network, x) == pytest.approx(0.013, abs=1e-6)


def test_a_profile_shares_out_the_whole_time(ours):
    rows = profiling.profiled(dataclasses.replace(TINY, T=(2,)), list(ours.values()), CPU, quiet)
    for kind in TINY.inputs:
        shares = {row["variant"]: row["median"] for row in rows if row["input"] == kind}
        assert sum(shares.values()) == pytest.approx(1, abs=0.05)
        assert min(shares[profiling.SYNAPSES], shares[profiling.OTHER]) > 0


def test_a_trained_network_is_measured_on_its_own_samples_at_its_own_firing_rate(
    digits, settings, tmp_path, monkeypatch
):
    ran = settings()
    info = RunInfo(
        settings=ran, input_shape=digits.shape, classes=digits.classes, data_hash=digits.content_hash, provenance={}
    )
    RunDir(tmp_path).write_info(info)
    network = network_of(ran, digits.shape, len(digits.classes)).eval()
    RunDir(tmp_path).write_weights(network.state_dict())
    monkeypatch.setattr(trained, "prepared_store", lambda *_, **__: digits)
    found = trained.trained(dataclasses.replace(TINY, run=str(tmp_path)), CPU)
    assert found is not None
    assert found[1].shape == (ran.T, TINY.batch, *digits.shape)
    (row,) = measuring.inference(TINY, [variants.catalogue()[0]], CPU, quiet, found)
    assert (row["input"], row["T"], row["variant"]) == ("run", ran.T, "bpsta")
    expected = weights.rates(network, found[1])
    assert row["rate"] == pytest.approx(sum(expected.values()) / len(expected))
    assert trained.trained(TINY, CPU) is None


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variant", peers.variants(), ids=lambda variant: variant.name)
def test_a_peer_computes_what_the_reference_does(variant):
    if why := peers.absence(variant.package):
        pytest.skip(why)
    assert checking.Checker(TINY, CPU).refusal(variant) == ""


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_the_neurons_of_peers_alone_compute_what_the_reference_does():
    found = measuring._neurons()
    if not {"spikingjelly", "snntorch", "norse"} & set(found):
        pytest.skip("no peer is installed")
    assert {name: checking.neuron_refusal(*neuron, CPU) for name, neuron in found.items()} == dict.fromkeys(found, "")
