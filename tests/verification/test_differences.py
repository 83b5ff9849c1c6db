"""What differs between two runs is named, with the largest difference; equal bytes are no difference."""

import pytest
import torch

from bpsta_cli.verification import differences as d

HISTORY = "epoch,phase,loss,accuracy\n0,twin,0.5,\n1,spiking,0.25,0.75\n2,spiking,0.125,0.875\n"


@pytest.fixture
def weights():
    return {"a": torch.arange(4.0), "steps": torch.tensor(3), "half": torch.ones(2, dtype=torch.float16)}


def test_the_tensor_that_differs_most_is_named(weights):
    other = weights | {"a": weights["a"] + torch.tensor([0, 0.5, 0, 0]), "half": weights["half"] + 0.25}
    found = d.of_weights(weights, other)
    assert (found.what, found.largest) == ("weights", 0.5)
    assert "2 of 3 tensors differ, by at most 0.5 (a)" in found.detail


def test_weights_are_compared_as_bits(weights):
    assert d.of_weights(weights, {name: tensor.clone() for name, tensor in weights.items()}) is None
    nan = {"a": torch.tensor([float("nan")])}
    assert d.of_weights(nan, {"a": torch.tensor([float("nan")])}) is None
    assert d.of_weights({"a": torch.zeros(1)}, {"a": -torch.zeros(1)}).largest == 0
    assert d.of_weights({"a": torch.zeros(1)}, {"a": torch.zeros(1, dtype=torch.float64)}) is not None


def test_weights_of_another_structure_are_another_kind_of_difference(weights):
    assert "other names or shapes" in d.of_weights(weights, {"a": torch.zeros(5)}).detail


def test_of_two_hashes_both_are_shown():
    assert d.of_hashes("ab" * 32, "ab" * 32) is None
    assert "SHA-256 abababababab, now cdcdcdcdcdcd" in d.of_hashes("ab" * 32, "cd" * 32).detail


def test_the_first_epoch_that_differs_and_the_largest_difference_are_told():
    assert d.of_history(HISTORY, HISTORY) is None
    found = d.of_history(HISTORY, HISTORY.replace("0.25,0.75", "0.25,0.5").replace("0.125", "0.0625"))
    assert found.detail == "epoch 2 of 3 is the first that differs; at most 0.25 (accuracy, epoch 2)"
    assert found.largest == 0.25


@pytest.mark.parametrize("other", ["epoch\n0\n", HISTORY + "3,spiking,0.1,0.9\n", "", HISTORY.replace("loss", "gain")])
def test_a_history_of_other_epochs_or_columns_is_named_as_one(other):
    assert "other columns or another number of epochs" in d.of_history(HISTORY, other).detail


def test_values_are_named_by_their_path_the_furthest_first_and_counted():
    there = {"accuracy": 0.5, "layers": [{"acs": 10.0, "name": "a"}, {"acs": 20.0}], "e": 1, "f": 2}
    again = {"accuracy": 0.25, "layers": [{"acs": 10.5, "name": "b"}, {"acs": 28.0}], "e": 1, "f": 2}
    found = d.of_values("energy", there, again)
    assert (
        found.detail == "layers[1].acs 20 -> 28, layers[0].acs 10 -> 10.5, accuracy 0.5 -> 0.25 and 1 more of 6 values"
    )
    assert found.largest == 8


def test_a_value_that_an_older_record_lacks_is_no_difference_and_one_that_is_gone_is():
    assert d.of_values("m", {"a": 1, "provenance": {"commit": "x"}}, {"a": 1, "new": 2}) is None
    assert d.of_values("m", {"a": 1, "old": 2}, {"a": 1}).detail == "old 2 -> None"


@pytest.mark.parametrize(("old", "new"), [(1, 1.0), (0.0, -0.0), ([1, 2], [1]), (None, 0)])
def test_values_that_are_written_in_other_bytes_differ(old, new):
    assert d.of_values("m", {"a": old}, {"a": new}) is not None
