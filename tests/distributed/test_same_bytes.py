"""A run over several processes leaves the bytes of a run by one, whatever their number."""

import pandas as pd
import pytest
from rank_processes import CPU, together

from bpsta_cli.kernels import dispatch
from bpsta_cli.network.initial_weights import draw_weights
from bpsta_cli.training import EpochDone, Stopped, epoch, train
from bpsta_cli.training.epoch import StepDone, make_learner
from bpsta_cli.training.monitor import monitoring
from bpsta_cli.training.run_directory import RunDir
from bpsta_cli.training.run_network import network_of

CHOICE = dispatch.choose()
pytestmark = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)

SAME = ("settings.json", "model.safetensors", "history.csv", "metrics.json")
DROPOUT = "4C3-MP2-6C3-AP4-8FC-DP-2Voting"
RUNS = {
    "norm, dropout, augmentation": {"data": {"network": DROPOUT, "augmentation": "standard"}},
    # the last batch is of two parts of three samples: two of five processes have none
    "bpsa, per step, in parts": {
        "method": "bpsa",
        "data": {"network": DROPOUT, "batch_size": 30},
        "training": {"norm": "per-step", "accumulate": 2, "recompute": True, "initial_rate": 0.2},
    },
    "stbp, tdbn, penalty, selected": {
        "method": "stbp",
        "training": {"norm": "tdbn", "spike_penalty": 0.1, "selection": "validation", "clip_norm": 0.5, "loss": "tet"},
    },
    "no norm": {"data": {"network": "20FC-DP-2Voting", "batch_size": 7}, "training": {"norm": "none"}},
}


def trained(settings, store, out, ranks=None, **options):
    return list(train(settings, store, out, device=CPU, ranks=ranks, **options))


def contents(out):
    return {name: (out / name).read_bytes() for name in SAME}


@pytest.mark.parametrize(("kind", "world"), [*zip(RUNS, (2, 5, 2, 3), strict=True), ("norm, dropout, augmentation", 4)])
def test_several_processes_leave_the_bytes_of_one(settings, digits, tmp_path, kind, world):
    chosen = settings(**{"data": {}, **RUNS[kind]})
    trained(chosen, digits, tmp_path / "one")
    together(world, lambda ranks: len(trained(chosen, digits, tmp_path / "several", ranks)), tmp_path / "processes")
    assert contents(tmp_path / "several") == contents(tmp_path / "one")
    assert not list((tmp_path / "several").glob("run.lock"))
    provenance = RunDir(tmp_path / "several").info().provenance
    assert (provenance["processes"], provenance["reduce"]) == (world, "shares")


def test_a_residual_network_over_two_processes_has_the_bytes_of_one(settings, digits, tmp_path, monkeypatch):
    monkeypatch.setattr("bpsta_cli.network.resnet.FILTERS", (4, 4, 6, 6))
    chosen = settings(data={"network": "resnet18", "epochs": 2, "batch_size": 48})
    trained(chosen, digits, tmp_path / "one")
    together(2, lambda ranks: len(trained(chosen, digits, tmp_path / "several", ranks)), tmp_path / "processes")
    assert contents(tmp_path / "several") == contents(tmp_path / "one")


def test_every_process_yields_the_same_events(settings, digits, tmp_path):
    chosen = settings(data={"epochs": 2})
    events = together(2, lambda ranks: trained(chosen, digits, tmp_path / "run", ranks), tmp_path / "processes")
    assert events[0] == events[1]


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, None), (None, 2)])
def test_a_run_goes_on_with_another_number_of_processes(settings, digits, tmp_path, before, after):
    """The epoch that goes on has its own order of samples, not that of the first one."""
    chosen = settings(data={"network": DROPOUT, "augmentation": "standard"})
    trained(chosen, digits, tmp_path / "one")
    out = tmp_path / "several"

    def first(ranks):
        asked = iter([False] * 6)  # stops in the second epoch, after its second step
        events = trained(chosen, digits, out, ranks, stop=lambda: next(asked, True))
        assert isinstance(events[-1], Stopped)
        return events[-1]

    stopped = together(before, first, tmp_path / "before") if before else [first(None)]
    assert {(each.epoch, each.step) for each in stopped} == {(1, 2)}

    def second(ranks):
        return len(trained(chosen, digits, out, ranks))

    together(after, second, tmp_path / "after") if after else second(None)
    assert contents(out) == contents(tmp_path / "one")
    assert "resumed_from" in RunDir(out).info().provenance


def test_sums_that_are_added_as_they_come_are_near_and_the_run_says_so(settings, digits, tmp_path):
    chosen = settings(data={"epochs": 2})
    trained(chosen, digits, tmp_path / "one")

    def work(ranks):
        return len(trained(chosen, digits, tmp_path / "sums", ranks))

    together(2, work, tmp_path / "processes", reduction="sums")
    one, sums = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "sums"))
    assert sums.train_loss.to_list() == pytest.approx(one.train_loss.to_list(), rel=1e-3)
    assert RunDir(tmp_path / "sums").info().provenance["reduce"] == "sums"


def test_half_precision_adds_sums_and_normalises_by_the_whole_batch(settings, digits, tmp_path):
    chosen = settings(data={"epochs": 2}, training={"precision": "bfloat16", "selection": "test"})
    trained(chosen, digits, tmp_path / "one")
    together(
        2, lambda ranks: len(trained(chosen, digits, tmp_path / "half", ranks)), tmp_path / "processes", compiled=False
    )
    one, half = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "half"))
    assert half.train_loss.to_list() == pytest.approx(one.train_loss.to_list(), rel=2e-2)
    assert RunDir(tmp_path / "half").info().provenance["reduce"] == "sums"


def test_weights_and_running_statistics_stay_alike_in_all_processes(settings, digits, tmp_path, monkeypatch):
    """No process's buffers are written over with another's: all have those of the whole batch."""
    chosen = settings(data={"epochs": 2})

    def states(ranks):
        from bpsta_cli.training import loop

        networks = []
        kept = loop.make_learner
        loop.make_learner = lambda network, *rest: (networks.append(network), kept(network, *rest))[1]
        try:
            events = trained(chosen, digits, tmp_path / f"run-{ranks is None}", ranks)
        finally:
            loop.make_learner = kept
        assert any(isinstance(event, EpochDone) for event in events)
        assert any(isinstance(event, StepDone) for event in events)
        return {name: tensor.numpy().tobytes() for name, tensor in networks[0].state_dict().items()}

    alone = states(None)
    assert any("running_mean" in name for name in alone)
    assert together(2, states, tmp_path / "processes") == [alone, alone]


@pytest.mark.parametrize(("samples", "parts", "world"), [(2, 1, 3), (5, 2, 3), (1, 1, 2)])
def test_the_gradient_of_a_process_without_a_sample_counts_for_nothing(
    settings, digits, tmp_path, samples, parts, world
):
    chosen = settings(
        data={"network": "4C3-AP4-8FC-2Voting", "batch_size": samples},
        training={"accumulate": parts, "spike_penalty": 0.1},
    )

    def gradients(ranks):
        learner = make_learner(network_of(chosen, digits.shape, 10), chosen, CPU, digits.shape, ranks)
        draw_weights(learner.network, 0)
        batch = next(epoch.batches_of(learner, digits, digits.split("train"), 0, first=0))
        with monitoring(learner.network, ranks=ranks) as monitor:
            epoch._step(learner, monitor, batch, digits.scale)
        return [parameter.grad.numpy() for parameter in learner.network.parameters()]

    alone = gradients(None)
    assert max(abs(each).max() for each in alone) > 1e-3
    for found in together(world, gradients, tmp_path / "sums", reduction="sums"):
        for one, other in zip(found, alone, strict=True):
            assert one == pytest.approx(other, rel=1e-3, abs=1e-6)
