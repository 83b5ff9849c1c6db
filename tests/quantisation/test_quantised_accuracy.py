"""The accuracy of a quantised twin: what decides it, and what does not."""

import pytest
import torch
from small_stores import write_store

from bpsta_cli.config import RunSettings
from bpsta_cli.data.encoding import to_input
from bpsta_cli.evaluation.accuracy import evaluate
from bpsta_cli.quantisation import fine_tune, measure, quantise
from bpsta_cli.quantisation.fine_tuning import recipe
from bpsta_cli.quantisation.measured import calibration_part
from bpsta_cli.training import train
from bpsta_cli.training.run_directory import RunDir

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def all_digits(tmp_path_factory):
    """1,200 training and 597 test images."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.images[:, None].astype("uint8"), bunch.target.astype("int64")
    return write_store(tmp_path_factory.mktemp("all") / "store", x, y, train=1200, classes=10)


@pytest.fixture(scope="module")
def trained(all_digits, tmp_path_factory):
    """A twin that has learnt digits, and its settings."""
    data = {"network": "8C3-MP2-16C3-AP4-10Voting", "epochs": 4, "warmup_epochs": 0, "batch_size": 60}
    settings = RunSettings.model_validate({"dataset": "digits", "method": "ann", "T": 4, "data": data})
    out = tmp_path_factory.mktemp("runs") / "ann"
    for _ in train(settings, all_digits, out, device=CPU):
        pass
    return RunDir(out).network(CPU)[1], settings


def measured(trained, store, **options):
    network, settings = trained
    return measure(network, store, settings, device=CPU, **{"bits": 3} | options)


def test_at_eight_bits_the_accuracy_is_the_twins_within_one_in_two_hundred(trained, all_digits):
    network, settings = trained
    expected = evaluate(network, all_digits, all_digits.split("test"), T=settings.T, device=CPU).accuracy
    assert expected > 0.75
    found = measured(trained, all_digits, bits=8, epochs=0)
    assert found.accuracy == pytest.approx(expected, abs=0.005)
    assert found.fine_tuned is None
    assert (found.bits, found.weight_bits, found.calibration_samples) == (8, 8, 1024)


def test_fine_tuning_brings_back_what_one_bit_loses(trained, all_digits):
    found = measured(trained, all_digits, bits=1, epochs=2)
    assert found.fine_tuned.accuracy > found.accuracy + 0.05
    assert (found.fine_tuned.epochs, found.fine_tuned.lr) == (2, pytest.approx(trained[1].training.lr / 10))


def fine_tuned_weights(trained, store):
    """The steps of the twin at 2 bits, and its weights after an epoch of fine-tuning."""
    network, settings = trained
    part = store.split("train")
    x = to_input(calibration_part(part, 0).x[:], T=settings.T, scale=store.scale)
    twin = quantise(network, lambda: [x], bits=2, input_unit=store.scale)
    fine_tune(twin.network, settings, store, part, epochs=1, device=CPU)
    return twin.steps, twin.network.state_dict()


def equal(one, other):
    return all(torch.equal(values, other[name]) for name, values in one.items())


def test_any_number_of_threads_gives_the_same_steps_and_weights(trained, all_digits):
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(threads)
            found.append(fine_tuned_weights(trained, all_digits))
    finally:
        torch.set_num_threads(before)
    (steps, weights), (same_steps, same_weights) = found
    assert steps == same_steps
    assert equal(weights, same_weights)


def test_the_test_part_decides_neither_steps_nor_weights(trained, tmp_path):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.images[:400, None].astype("uint8"), bunch.target[:400].astype("int64")
    one = fine_tuned_weights(trained, write_store(tmp_path / "one", x, y, train=300, classes=10))
    x[300:], y[300:] = 16 - x[300:], 0
    other = fine_tuned_weights(trained, write_store(tmp_path / "other", x, y, train=300, classes=10))
    assert one[0] == other[0]
    assert equal(one[1], other[1])


def test_the_samples_of_the_calibration_are_drawn_by_the_runs_seed(all_digits):
    part = all_digits.split("train")
    ids = [calibration_part(part, seed).ids for seed in (0, 0, 1)]
    assert list(ids[0]) == list(ids[1]) == sorted(set(ids[0]))
    assert list(ids[0]) != list(ids[2])
    assert len(ids[0]) == 1024


def test_fine_tuning_has_the_twins_recipe_but_for_rate_and_epochs(settings):
    before = settings(method="ann", training={"weight_decay": 0.01, "spike_penalty": 0.1, "lr": 0.02})
    after = recipe(before, 3)
    assert (after.training.lr, after.lr_warmup_epochs, after.data.epochs) == (pytest.approx(0.002), 0, 3)
    same = {"weight_decay", "loss", "label_smoothing", "dropout", "clip_norm", "accumulate", "lr_scaling"}
    assert after.training.model_dump(include=same) == before.training.model_dump(include=same)
    assert after.data.batch_size == before.data.batch_size
