"""Which samples a run is trained on, in which order, and how they are augmented."""

import numpy as np
import pytest
import torch
from small_stores import write_store
from training_runs import run

from bpsta_cli.data.run_data import training_parts
from bpsta_cli.errors import DataError, SettingsError
from bpsta_cli.network import Network, losses
from bpsta_cli.network.dropout import NeuronDropout
from bpsta_cli.training import epoch


def test_the_validation_part_is_held_out_of_training_by_class(settings, digits):
    chosen = settings(training={"selection": "validation", "validation_fraction": 0.25})
    kept, held_out = training_parts(chosen, digits)
    assert (len(kept), len(held_out)) == (72, 24)
    rows = [row.tobytes() for row in np.concatenate([kept.x[:72], held_out.x[:24]])]
    assert sorted(rows) == sorted(row.tobytes() for row in digits.split("train").x)
    assert len(set(held_out.y.tolist())) == 10
    other = training_parts(settings(seed=2, training=chosen.training.model_dump()), digits)[1]
    assert not np.array_equal(other.x[:24], held_out.x[:24])
    assert training_parts(settings(), digits) == (digits.split("train"), None)


def test_a_validation_part_that_cannot_hold_every_class_is_refused(settings, digits, tmp_path):
    chosen = settings(training={"selection": "validation", "validation_fraction": 0.02})
    with pytest.raises(SettingsError, match="the training part cannot be divided"):
        run(chosen, digits, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_train_samples_are_drawn_by_class_and_seed_and_held_out_samples_are_among_them(settings, digits):
    few, _ = training_parts(settings(data={"train_samples": 50}), digits)
    share = np.bincount(digits.split("train").y, minlength=10) * 50 / 96
    assert (len(few), np.abs(np.bincount(few.y, minlength=10) - share).max() < 1) == (50, True)
    again, _ = training_parts(settings(data={"train_samples": 50}), digits)
    other, _ = training_parts(settings(seed=2, data={"train_samples": 50}), digits)
    assert np.array_equal(few.x[:50], again.x[:50])
    assert not np.array_equal(few.x[:50], other.x[:50])
    chosen = settings(data={"train_samples": 50}, training={"selection": "validation", "validation_fraction": 0.2})
    kept, held_out = training_parts(chosen, digits)
    rows = {row.tobytes() for row in few.x[:50]}
    assert (len(kept), len(held_out)) == (40, 10)
    assert {row.tobytes() for row in np.concatenate([kept.x[:40], held_out.x[:10]])} == rows


@pytest.mark.parametrize(("wanted", "said"), [(97, "at most 96"), (95, "cannot be divided"), (9, "cannot be divided")])
def test_train_samples_that_the_training_part_cannot_give_are_refused(settings, digits, wanted, said):
    with pytest.raises(SettingsError, match=said):
        training_parts(settings(data={"train_samples": wanted}), digits)


def test_an_empty_training_part_is_refused(settings, digits, tmp_path):
    test = digits.split("test")
    store = write_store(tmp_path / "store", np.array(test.x), test.y, train=0, classes=10)
    with pytest.raises(DataError, match="nothing to train on"):
        run(settings(), store, tmp_path / "run")


def test_every_sample_is_seen_once_an_epoch_in_an_order_of_its_own(settings, digits, tmp_path, monkeypatch):
    batches = []
    real = epoch.to_input
    monkeypatch.setattr(
        epoch, "to_input", lambda x, **o: batches.append([a.numpy().tobytes() for a in x]) or real(x, **o)
    )
    run(settings(data={"epochs": 2}), digits, tmp_path / "run")
    assert [len(batch) for batch in batches] == [40, 40, 16] * 2
    for drawn in (batches[:3], batches[3:]):
        assert sorted(image for batch in drawn for image in batch) == sorted(
            row.tobytes() for row in digits.split("train").x
        )
    assert set(batches[0]) != set(batches[3])


def batches_of(settings, store, out, monkeypatch):
    """Every training batch of a run, as (input, labels)."""
    seen, inputs, measure, see = [], [], losses.loss, Network.votes

    def votes(network, x):
        inputs.append(x)
        return see(network, x)

    def loss(kind, votes, labels, **options):
        if "label_smoothing" in options:  # training names its label smoothing, evaluation has none
            seen.append((inputs[-1], labels.tolist()))
        return measure(kind, votes, labels, **options)

    with monkeypatch.context() as patch:
        patch.setattr(losses, "loss", loss)
        patch.setattr(Network, "votes", votes)
        run(settings, store, out)
    return seen


def test_augmentation_changes_the_images_of_every_epoch_and_no_label(settings, digits, tmp_path, monkeypatch):
    plain, changed = (
        batches_of(settings(data={"augmentation": name}), digits, tmp_path / name, monkeypatch)
        for name in ("none", "standard")
    )
    assert [labels for _, labels in plain] == [labels for _, labels in changed]
    assert len(plain) == 9
    assert not any(torch.equal(x, other) for (x, _), (other, _) in zip(plain, changed, strict=True))


def test_an_epoch_sees_the_same_images_whatever_the_batch_and_the_next_epoch_others(
    settings, digits, tmp_path, monkeypatch
):
    passes = {}
    for size, steps in ((40, 3), (96, 1)):
        data = {"augmentation": "standard", "batch_size": size, "epochs": 2}
        batches = batches_of(settings(data=data), digits, tmp_path / str(size), monkeypatch)
        passes[size] = [
            sorted(image.numpy().tobytes() for x, _ in batches[start : start + steps] for image in x[0])
            for start in (0, steps)
        ]
    assert passes[40] == passes[96]
    assert passes[40][0] != passes[40][1]


def test_an_augmented_image_is_still_held_once_for_all_steps(settings, digits, tmp_path, monkeypatch):
    batches = batches_of(settings(data={"augmentation": "standard"}), digits, tmp_path / "run", monkeypatch)
    assert {x.stride(0) for x, _ in batches} == {0}


def test_test_samples_are_never_augmented(settings, digits, tmp_path):
    done, _ = run(settings(data={"augmentation": "standard"}), digits, tmp_path / "run")
    _, network = done.network()
    x = torch.from_numpy(np.array(digits.split("test").x)) / 16
    votes = network.votes(x.expand(3, *x.shape)).detach()
    labels = torch.from_numpy(digits.split("test").y)
    assert done.metrics()["loss"] == pytest.approx(losses.loss("mse", votes, labels).item(), rel=1e-6)


def test_dropout_order_and_weights_depend_on_seed_and_sample_and_not_on_how_a_batch_is_divided(
    settings, digits, tmp_path, monkeypatch
):
    seen = {}

    def noting(self, x):
        y = real(self, x)
        for sample, mask in zip(self.samples, y[0] != 0, strict=True):
            seen[run_name].setdefault(sample, []).append(mask.tolist())
        return y

    real = NeuronDropout.forward
    monkeypatch.setattr(NeuronDropout, "forward", lambda self, x: noting(self, x + 1) if self.training else x)
    for run_name, parts in (("whole", 1), ("parted", 3)):
        seen[run_name] = {}
        torch.manual_seed(parts)
        chosen = settings(data={"network": "20FC-DP-2Voting", "epochs": 2}, training={"accumulate": parts})
        run(chosen, digits, tmp_path / run_name)
    assert seen["whole"] == seen["parted"]
    assert sorted(seen["whole"]) == list(range(96))
    assert all(first != second for first, second in seen["whole"].values())
