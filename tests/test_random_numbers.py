import numpy as np
import pytest

from bpsta_cli.random_numbers import Stream


def test_words_follow_from_the_name_and_the_place_in_whatever_order_they_are_asked_for():
    one, other = Stream("a", 1), Stream("a", 1)
    first = [one.words(9, place) for place in (0, 5, 2)]
    second = [other.words(9, place) for place in (2, 0, 5)]
    assert np.array_equal(first[0], second[1])
    assert np.array_equal(first[1], second[2])
    assert np.array_equal(first[2], second[0])
    assert np.array_equal(one.words(4, 5), first[1][:4]), "fewer words are the first of more"


def test_no_two_names_or_places_have_a_word_in_common():
    streams = [Stream(*name) for name in [("a",), ("b",), ("a", 1), ("a", 11), ("a", 1, 1), (1, "a"), ("a1",)]]
    words = np.concatenate([stream.words(50, place) for stream in streams for place in (0, 1, 2, 2**40)])
    assert len(np.unique(words)) == len(words)


def test_a_uniform_number_is_the_upper_part_of_its_word():
    stream = Stream("u")
    got = stream.uniform(2, 3)
    assert (got.shape, got.dtype) == ((2, 3), np.float64)
    assert got.ravel().tolist() == [int(word) // 2**11 / 2**53 for word in stream.words(6)]


def test_every_permutation_is_equally_likely():
    counts = np.zeros((4, 4))
    for seed in range(2000):
        order = Stream("order", seed).permutation(4)
        assert sorted(order.tolist()) == [0, 1, 2, 3]
        counts[np.arange(4), order] += 1
    assert np.abs(counts / 2000 - 0.25).max() < 0.05
    assert Stream("order").permutation(0).tolist() == []


def test_the_bits_are_these():
    """Written down once: any other machine or version of numpy must give the same."""
    assert [hex(word) for word in Stream("a", 1, 2).words(3, 7).tolist()] == BITS


def test_places_are_whole_numbers_from_0():
    with pytest.raises((OverflowError, ValueError)):
        Stream("a").words(1, -1)


BITS = ["0x8ac6c6049617b499", "0x679bdc37bb3a41ca", "0x420baeb73e09692b"]
