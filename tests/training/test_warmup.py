"""Which epochs train what, by settings alone; and that no network has to stay silent."""

import pytest
from training_runs import history, run

from bpsta_cli.network import build
from bpsta_cli.network.neurons import LIF
from bpsta_cli.rules import SilentGradient
from bpsta_cli.training import warmup

SILENT = SilentGradient(tau=4.0, width=0.3)
TWIN, PLAIN, GATED = (False, None), (True, None), (True, SILENT)


@pytest.mark.parametrize(
    ("training", "phases"),
    [
        ({"warmup": "twin"}, [TWIN, TWIN, PLAIN, PLAIN, PLAIN]),
        ({"warmup": "sigmoid"}, [GATED] * 5),
        ({"warmup": "both"}, [TWIN, TWIN, GATED, GATED, GATED]),
        ({"warmup": "none"}, [PLAIN] * 5),
        ({"warmup": "sigmoid", "silent_gradient": 2}, [GATED, GATED, PLAIN, PLAIN, PLAIN]),
        ({"warmup": "both", "silent_gradient": 1}, [TWIN, TWIN, GATED, PLAIN, PLAIN]),
        ({"warmup": "twin", "silent_gradient": 1}, [TWIN, TWIN, PLAIN, PLAIN, PLAIN]),
    ],
)
def test_settings_alone_say_which_epochs_are_the_twins_and_which_have_the_silent_gradient(settings, training, phases):
    chosen = settings(
        data={"epochs": 5, "warmup_epochs": 2}, training={**training, "silent_tau": 4.0, "silent_width": 0.3}
    )
    assert [warmup.phase_of(chosen, epoch) for epoch in range(5)] == phases
    first = phases.index(next(phase for phase in phases if phase[0]))
    assert [warmup.begins_to_spike(chosen, epoch) for epoch in range(5)] == [epoch == first for epoch in range(5)]


@pytest.mark.parametrize(("method", "kind"), [("stbp", "twin"), ("bpsa", "both"), ("bpsta", "both"), ("ann", "twin")])
def test_unless_asked_rules_without_a_gradient_in_silence_have_one_and_the_baseline_stays_as_published(
    settings, method, kind
):
    assert warmup.kind_of(settings(method=method)) == kind


def test_the_twin_has_no_neurons_in_any_epoch(settings):
    chosen = settings(method="ann", training={"warmup": "sigmoid"})
    assert {warmup.phase_of(chosen, epoch) for epoch in range(3)} == {TWIN}
    assert not any(warmup.begins_to_spike(chosen, epoch) for epoch in range(3))


def test_all_neurons_enter_a_phase_and_leave_it():
    network = build("4C3-AP4-6FC-2Voting", (1, 4, 4), 3)
    neurons = [layer for layer in network.modules() if isinstance(layer, LIF)]
    for phase in (TWIN, GATED, PLAIN):
        warmup.enter(network, warmup.Phase(*phase))
        assert (network.spiking, {each.active for each in neurons}) == (phase[0], {phase[0]})
        assert [each.silent for each in neurons] == [phase[1]] * 3


@pytest.mark.parametrize("method", ["bpsa", "bpsta", "stbp"])
def test_a_silent_network_comes_to_fire_with_the_silent_gradient(settings, digits, tmp_path, method):
    # at this threshold no neuron fires at the start, and the rectangular surrogate is 0 as well
    data = {"epochs": 6, "warmup_epochs": 0, "batch_size": 16}
    last = {}
    for way in ("none", "sigmoid"):
        chosen = settings(
            method=method,
            neuron={"threshold": 4.5},
            data=data,
            training={"warmup": way, "silent_width": 2.0, "lr": 0.1, "lr_scaling": "none"},
        )
        done, _ = run(chosen, digits, tmp_path / way)
        last[way] = history(done.path)["train_firing_rate/lif3"].iloc[-1]
    assert last["none"] == 0
    assert last["sigmoid"] > 0.02


def test_a_warm_up_that_ends_leaves_the_epochs_after_it_to_the_rule(settings, digits, tmp_path):
    rows = {}
    for until in (1, "all"):
        chosen = settings(data={"epochs": 4}, training={"silent_gradient": until})
        rows[until] = history(run(chosen, digits, tmp_path / str(until))[0].path)["train_loss"]
    assert rows[1][:2].equals(rows["all"][:2])
    assert (rows[1][2:] != rows["all"][2:]).all()


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"warmup": "twin"}, "Give --warmup both"),
        ({"warmup": "none"}, "Give --warmup both"),
        ({"warmup": "sigmoid", "silent_gradient": 1}, "Give --silent-gradient all"),
        ({"warmup": "both"}, "Try a lower threshold"),
    ],
)
def test_what_mends_a_silent_layer_follows_from_the_runs_own_settings(settings, training, words):
    chosen = settings(training=training)
    assert warmup.remedy(chosen, warmup.phase_of(chosen, 2)).startswith(words)
