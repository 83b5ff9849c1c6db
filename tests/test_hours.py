"""pipelines/hours.py: how long runs would take, from the work that is in them and a speed that was measured."""

import json
from pathlib import Path

import pytest
from test_pipeline import script

from bpsta_cli.config import Params, validate
from bpsta_cli.errors import SettingsError

hours = script("hours")
NETWORK = "4C3-MP2-6C3-AP2-10Voting"
FIRST, OTHERS = 4 * (3 * 28 - 2) ** 2, 6 * 4 * (3 * 14 - 2) ** 2 + 6 * 7 * 7 * 100
"""Of an image of 28 x 28 by hand: in a row of n places a kernel of 3 meets 3 n - 2 values, the padding left out; then
each of 6 x 7 x 7 inputs meets the 100 voters."""
ENTRY = {"network": NETWORK, "epochs": 5, "warmup_epochs": 2, "batch_size": 64, "train_samples": 1000}


def study(**training):
    line = {"dataset": "mnist", "recipe": "mnist", "T": 8, "seed": 0}
    runs = {f"mnist-{method}-T8-s0": line | {"method": method} for method in ("stbp", "ann")}
    return validate(Params, {"train_only": runs, "training": training, "datasets": {"mnist": ENTRY}}, where="")


def settings(method, **training):
    found = study(**training)
    return found.settings_of(found.run(f"mnist-{method}-T8-s0"))


def test_the_work_of_a_sample_is_what_its_layers_multiply():
    assert hours.macs(NETWORK, (1, 28, 28), 10) == hours.Macs(FIRST, OTHERS)
    assert hours.Macs(FIRST, OTHERS).of(8, still=True) == FIRST + 8 * OTHERS
    assert hours.Macs(FIRST, OTHERS).of(8, still=False) == 8 * (FIRST + OTHERS)


def test_a_training_is_its_epochs_as_the_twin_and_with_spikes_and_its_evaluations():
    twin, spiking, evaluated = FIRST + OTHERS, FIRST + 8 * OTHERS, 10_000 / 3
    assert hours.work(settings("stbp")) == pytest.approx(
        twin * 2 * (1000 + evaluated) + spiking * 3 * (1000 + evaluated)
    )
    assert hours.work(settings("stbp", evaluate_every=3)) == pytest.approx(
        twin * (2 * 1000 + evaluated) + spiking * (3 * 1000 + evaluated)
    )
    assert hours.work(settings("ann")) == pytest.approx(twin * 5 * (1000 + evaluated))


def test_a_run_like_a_finished_one_takes_as_long_as_that_took(tmp_path, monkeypatch):
    class Run:
        def __init__(self, path):
            self.settings = settings(path.name)

        def info(self):
            return self

    monkeypatch.setattr(hours, "RunDir", Run)
    for name, seconds in (("stbp", [1.0] * 5), ("ann", [2.0] * 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "timings.json").write_text(json.dumps({"epoch_seconds": seconds}))
    rate = hours.rate_of_runs([tmp_path / "stbp"])
    assert hours.work(settings("stbp")) / rate == pytest.approx(5.0)
    both = hours.rate_of_runs([tmp_path / "stbp", tmp_path / "ann"])
    assert both == pytest.approx((hours.work(settings("stbp")) + hours.work(settings("ann"))) / 15)


def test_a_step_that_was_timed_tells_a_rate_and_another_form_of_it_is_refused():
    rate = hours.rate_of_step(f"{NETWORK}:1x28x28:T8:64:20")
    assert rate == pytest.approx((FIRST + 8 * OTHERS) * 64 / 0.020)
    with pytest.raises(SettingsError, match="unusable --step: expected STRUCTURE:CxHxW:T8:BATCH:MILLISECONDS"):
        hours.rate_of_step("middle:3x32x32:8:64:20")


def test_the_papers_own_runs_are_summed_by_kind():
    found = hours.estimate(Path(hours.__file__).with_name("paper.yaml"), "^mnist-.*-T(4|8)-", 1e12)
    assert list(found["recipe"]) == ["mnist", "mnist"]
    assert found["hours"].tolist() == pytest.approx((found["runs"] * found["hours_a_run"]).tolist())
    shorter, longer = found.set_index("T")["hours_a_run"][[4, 8]]
    assert 1.8 < longer / shorter < 2


def test_a_data_set_of_the_users_own_has_no_size_that_is_known_before(monkeypatch):
    own = settings("stbp").model_copy(update={"dataset": "folder"})
    with pytest.raises(SettingsError, match="a data set of unknown size"):
        hours.work(own)
