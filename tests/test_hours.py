"""pipelines/hours.py: how long runs would take, from the work that is in them and a speed that was measured."""

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
    twin, spiking = hours.parts(settings("stbp"))
    assert (twin.each, spiking.each) == (FIRST + OTHERS, FIRST + 8 * OTHERS)
    assert (twin.samples, spiking.samples) == pytest.approx((2 * (1000 + 10_000 / 3), 3 * (1000 + 10_000 / 3)))
    rarely = hours.parts(settings("stbp", evaluate_every=3))
    assert [part.samples for part in rarely] == pytest.approx([2 * 1000 + 10_000 / 3, 3 * 1000 + 10_000 / 3])
    assert [part.samples for part in hours.parts(settings("ann"))] == pytest.approx([5 * (1000 + 10_000 / 3), 0])


def test_epochs_are_as_fast_as_the_timed_step_whose_sample_is_most_like_theirs():
    slow, fast = hours.Speed(1e6, 1e9), hours.Speed(1e9, 1e12)
    assert hours.seconds(hours.Part(2e6, 5000), [fast, slow]) == pytest.approx(10)
    assert hours.seconds(hours.Part(2e8, 5000), [fast, slow]) == pytest.approx(1)


def test_a_step_that_was_timed_tells_a_rate_and_another_form_of_it_is_refused():
    found = hours.speed(f"{NETWORK}:1x28x28:T8:64:20")
    assert (found.each, found.rate) == pytest.approx((FIRST + 8 * OTHERS, (FIRST + 8 * OTHERS) * 64 / 0.020))
    for wrong in ("middle:3x32x32:8:64:20", "middle:3x32x32:T8:64:0"):
        with pytest.raises(SettingsError, match="unusable --step: expected STRUCTURE:CxHxW:T8:BATCH:MILLISECONDS"):
            hours.speed(wrong)


def test_the_papers_own_runs_are_summed_by_kind():
    paper = Path(hours.__file__).with_name("paper.yaml")
    found = hours.estimate(paper, "^mnist-.*-T(4|8)-", [hours.Speed(1e9, 1e12)])
    assert list(found["recipe"]) == ["mnist", "mnist"]
    assert found["hours"].tolist() == pytest.approx((found["runs"] * found["hours_a_run"]).tolist())
    shorter, longer = found.set_index("T")["hours_a_run"][[4, 8]]
    assert 1.8 < longer / shorter < 2


def test_a_data_set_of_the_users_own_has_no_size_that_is_known_before():
    own = settings("stbp").model_copy(update={"dataset": "folder"})
    with pytest.raises(SettingsError, match="a data set of unknown size"):
        hours.parts(own)
