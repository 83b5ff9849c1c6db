import dataclasses

import numpy as np
import pytest

from bpsta_cli.data import catalogue
from bpsta_cli.data.augmentation import for_epoch

MNIST, CLOTHES, GESTURES = (catalogue.get(name) for name in ("mnist", "fashion-mnist", "dvs-gesture"))
SPEECH = dataclasses.replace(MNIST, kind="speech", sound_reader="bpsta_cli.data.datasets.folder:read_sound")
SHAPES = {"grey": (1, 28, 28), "colour": (3, 32, 32), "events": (4, 2, 20, 30), "speech": (4, 1, 5, 10)}
ROWS = {"grey": MNIST, "colour": CLOTHES, "events": GESTURES, "speech": SPEECH}
KINDS = list(SHAPES)
COUNT = 300


def samples(kind, count=COUNT):
    """Samples whose every element is at least 100 and names its own place, with an own sign for each sample."""
    size = np.prod(SHAPES[kind])
    x = 100 + np.arange(size, dtype=np.int32).reshape(SHAPES[kind])
    return x + size * np.arange(count, dtype=np.int32).reshape(-1, *[1] * x.ndim)


def augmented(kind, x, *, seed=1, epoch=0, row=None):
    row = row or ROWS[kind]
    change = for_epoch("standard", row.kind, len(x), flip_safe=row.flip_safe, seed=seed, epoch=epoch)
    return change(x, np.arange(len(x)))


def moved(x, dy, dx):
    """`x` shifted by whole pixels, zeros coming in: as slow and plain as can be."""
    height, width = x.shape[-2:]
    result = np.zeros_like(x)
    for row in range(height):
        for column in range(width):
            if 0 <= row - dy < height and 0 <= column - dx < width:
                result[..., row, column] = x[..., row - dy, column - dx]
    return result


def move_of(before, after):
    """(rows down, columns right, mirrored) by which `before` became `after`; None where no move explains it."""
    height, width = before.shape[-2:]
    for mirrored in (False, True):
        source = before[..., ::-1] if mirrored else before
        for row, column in ((row, column) for row in range(height) for column in range(width)):
            place = after.reshape(-1, height, width)[0, row, column]
            if place:  # the first element still in sight tells the shift, the rest must agree
                found = np.argwhere(source.reshape(-1, height, width)[0] == place)
                if len(found):
                    dy, dx = row - found[0][0], column - found[0][1]
                    if np.array_equal(moved(source, dy, dx), after):
                        return int(dy), int(dx), mirrored
                break
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_none_leaves_the_very_batch(kind):
    x = samples(kind, 3)
    assert for_epoch("none", ROWS[kind].kind, 3, flip_safe=True, seed=1, epoch=0)(x, np.arange(3)) is x


@pytest.mark.parametrize(("kind", "down", "right"), [("grey", 2, 2), ("colour", 4, 4), ("events", 2, 3)])
def test_a_sample_is_shifted_whole_with_zeros_coming_in_by_every_distance_up_to_the_stated_one(kind, down, right):
    x = samples(kind)
    moves = [move_of(before, after) for before, after in zip(x, augmented(kind, x), strict=True)]
    assert None not in moves
    assert {dy for dy, _, _ in moves} == set(range(-down, down + 1))
    assert {dx for _, dx, _ in moves} == set(range(-right, right + 1))
    assert len({(dy, dx) for dy, dx, _ in moves}) > 2 * (2 * right + 1)  # each direction for itself


def test_the_smallest_image_is_shifted_by_one_pixel():
    x = samples("grey")[..., :8, :8]
    moves = [move_of(before, after) for before, after in zip(x, augmented("grey", x), strict=True)]
    assert {dy for dy, _, _ in moves} == {dx for _, dx, _ in moves} == {-1, 0, 1}


@pytest.mark.parametrize("kind", ["colour", "events"])
def test_half_of_the_samples_are_mirrored_where_the_classes_allow_it_and_none_where_they_do_not(kind):
    x = samples(kind)
    for allowed in (True, False):
        row = dataclasses.replace(ROWS[kind], flip_safe=allowed)
        changed = augmented(kind, x, row=row)
        share = np.mean([move_of(before, after)[2] for before, after in zip(x, changed, strict=True)])
        assert 0.4 < share < 0.6 if allowed else share == 0


@pytest.mark.parametrize("name", catalogue.names())
def test_no_class_that_a_mirror_turns_into_another_may_be_mirrored(name):
    row = catalogue.get(name)
    sided = any(word in text for text in row.classes for word in ("left", "right", "clockwise"))
    digits = set(row.classes) & set("0123456789")
    assert not (row.flip_safe and (sided or digits or row.kind == "speech"))


def test_clothes_may_be_mirrored():
    assert CLOTHES.flip_safe


def test_an_utterance_is_shifted_along_its_steps_by_up_to_a_tenth_and_silence_comes_in():
    x = samples("speech")
    lines, changed = (np.moveaxis(each[:, :, 0], 1, 2).reshape(COUNT, 5, 40) for each in (x, augmented("speech", x)))
    shifts = set()
    for before, after in zip(lines, changed, strict=True):
        row, column = np.argwhere(after)[-1]
        shift = int(column - np.argwhere(before == after[row, column])[0][1])
        expected = np.zeros_like(before)
        expected[:, max(shift, 0) : 40 + min(shift, 0)] = before[:, max(-shift, 0) : 40 - max(shift, 0)]
        np.testing.assert_array_equal(after, expected)
        shifts.add(shift)
    assert shifts == set(range(-4, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_what_happens_to_a_sample_does_not_depend_on_its_batch(kind):
    x = samples(kind)
    whole = augmented(kind, x)
    change = for_epoch("standard", ROWS[kind].kind, COUNT, flip_safe=ROWS[kind].flip_safe, seed=1, epoch=0)
    order = np.random.default_rng(0).permutation(COUNT)
    for rows in np.array_split(order, 17):
        np.testing.assert_array_equal(change(x[rows], rows), whole[rows])


@pytest.mark.parametrize("kind", KINDS)
def test_seed_and_epoch_decide_and_nothing_else(kind):
    x = samples(kind)
    first, again = augmented(kind, x, seed=1, epoch=2), augmented(kind, x, seed=1, epoch=2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, augmented(kind, x, seed=1, epoch=3))
    assert not np.array_equal(first, augmented(kind, x, seed=2, epoch=2))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_keeps_its_shape_and_type_and_the_stored_one_its_values(kind, dtype):
    x = samples(kind, 9).astype(dtype)
    x.setflags(write=False)
    before = x.copy()
    after = augmented(kind, x)
    assert (after.shape, after.dtype) == (x.shape, x.dtype)
    assert after.flags.c_contiguous
    np.testing.assert_array_equal(x, before)


def test_epochs_are_changed_apart_from_the_order_of_samples():
    order = np.random.default_rng([1, 0]).random((COUNT, 3))
    x = samples("grey")
    downs = [move_of(before, after)[0] for before, after in zip(x, augmented("grey", x), strict=True)]
    assert downs != (np.floor(order[:, 0] * 5).astype(int) - 2).tolist()
