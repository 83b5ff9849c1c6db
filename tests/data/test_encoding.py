import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bpsta_cli.data.encoding import Events, check_events, shrink, split_by_number, split_by_time, to_input
from bpsta_cli.errors import DataError

SHAPE = (2, 3, 4)


def events(rows):
    """`rows` of (t, x, y, p)."""
    t, x, y, p = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Events(t, x, y, p)


@st.composite
def recordings(draw):
    count = draw(st.integers(1, 60))
    times = sorted(draw(st.lists(st.integers(0, 300), min_size=count, max_size=count)))
    place = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1))
    return events([(t, *draw(place)) for t in times])


def count_one_by_one(recording, frame_of, T):
    frames = np.zeros((T, *SHAPE), dtype=np.int64)
    for index, (t, x, y, p) in enumerate(zip(*recording, strict=True)):
        frames[frame_of(index, t), p, y, x] += 1
    return frames


def test_seven_events_in_three_frames_are_two_two_and_three():
    recording = events([(t, t % 4, 0, t % 2) for t in range(7)])
    assert split_by_number(recording, T=3, shape=SHAPE).sum(axis=(1, 2, 3)).tolist() == [2, 2, 3]


def test_ten_microseconds_in_three_frames_start_at_0_3_and_6():
    recording = events([(t, 0, 0, 0) for t in (0, 2, 3, 5, 6, 9, 10)])
    assert split_by_time(recording, T=3, shape=SHAPE).sum(axis=(1, 2, 3)).tolist() == [2, 2, 3]


def test_a_gap_in_time_gives_an_empty_frame():
    recording = events([(0, 0, 0, 0), (90, 1, 1, 1)])
    assert split_by_time(recording, T=3, shape=SHAPE).sum(axis=(1, 2, 3)).tolist() == [1, 0, 1]


def test_an_event_is_counted_at_its_polarity_row_and_column():
    frames = split_by_number(events([(5, 3, 1, 1)]), T=1, shape=SHAPE)
    assert np.argwhere(frames).tolist() == [[0, 1, 1, 3]]


@settings(max_examples=80, deadline=None)
@given(recordings(), st.integers(1, 9))
def test_splitting_by_number_agrees_with_counting_one_by_one(recording, T):
    each = len(recording.t) // T
    if each == 0:
        with pytest.raises(DataError, match="at least T"):
            split_by_number(recording, T=T, shape=SHAPE)
        return
    expected = count_one_by_one(recording, lambda index, _: min(index // each, T - 1), T)
    np.testing.assert_array_equal(split_by_number(recording, T=T, shape=SHAPE), expected)


@settings(max_examples=80, deadline=None)
@given(recordings(), st.integers(1, 9))
def test_splitting_by_time_agrees_with_counting_one_by_one(recording, T):
    first, last = recording.t[0], recording.t[-1]
    window = (last - first) // T
    if window == 0:
        with pytest.raises(DataError, match="a duration of at least T"):
            split_by_time(recording, T=T, shape=SHAPE)
        return
    expected = count_one_by_one(recording, lambda _, t: min((t - first) // window, T - 1), T)
    np.testing.assert_array_equal(split_by_time(recording, T=T, shape=SHAPE), expected)


@pytest.mark.parametrize(("count", "dtype"), [(255, "uint8"), (256, "uint16"), (65_536, "uint32")])
def test_counts_take_the_smallest_integers_that_hold_them(count, dtype):
    zeros = np.zeros(count, dtype=np.int64)
    frames = split_by_number(Events(zeros, zeros, zeros, zeros), T=1, shape=SHAPE)
    assert (frames.dtype, frames.max()) == (dtype, count)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one event, got an empty recording"),
        ([(5, 0, 0, 0), (4, 0, 0, 0)], "4 after 5 at event 1"),
        ([(-1, 0, 0, 0)], "-1 at event 0"),
        ([(0, 4, 0, 0)], "x from 0 to 3, got x from 4 to 4"),
        ([(0, -1, 0, 0)], "x from 0 to 3, got x from -1"),
        ([(0, 0, 3, 0)], "y from 0 to 2"),
        ([(0, 0, 0, 2)], "p from 0 to 1"),
    ],
)
def test_a_recording_that_cannot_be_placed_is_refused_by_name(rows, message):
    with pytest.raises(DataError, match=message) as caught:
        check_events(events(rows), SHAPE, "user1.bin")
    assert "user1.bin" in str(caught.value)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(DataError, match="t 2, x 1"):
        check_events(Events(np.arange(2), np.zeros(1), np.zeros(2), np.zeros(2)), SHAPE, "a")


def test_summing_into_coarser_cells_loses_no_event():
    frames = np.full((1, 1, 4, 4), 100, dtype=np.uint8)
    frames[..., 0, 1] = 7
    assert shrink(frames, 2).tolist() == [[[[307, 400], [400, 400]]]]


def test_the_nearest_pixel_is_the_first_of_each_cell():
    assert shrink(np.arange(16).reshape(4, 4), 2, "nearest").tolist() == [[0, 2], [8, 10]]


def test_a_size_that_does_not_divide_the_sensor_is_answered_with_those_that_do():
    with pytest.raises(DataError, match="one of 1, 2, 17, 34, got 16"):
        shrink(np.zeros((34, 34)), 16)


def test_an_image_is_held_once_and_the_same_at_every_step():
    images = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 1, 3, 3)
    x = to_input(images, T=5, scale=0.5)
    assert (x.shape, x.dtype, x.stride(0)) == ((5, 2, 1, 3, 3), torch.float32, 0)
    assert torch.equal(x[4], torch.from_numpy(images) * 0.5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_event_frames_become_time_major(dtype, scale):
    frames = np.arange(2 * 3 * 2 * 2 * 2).reshape(2, 3, 2, 2, 2).astype(dtype)
    frames[0, 0, 0, 0, 0] = np.iinfo(dtype).max
    x = to_input(frames, T=3, scale=scale)
    assert x.is_contiguous()
    np.testing.assert_array_equal(x.numpy(), frames.swapaxes(0, 1).astype(np.float32) * np.float32(scale))


def test_a_tensor_is_taken_as_well_as_an_array():
    frames = torch.ones(2, 3, 2, 4, 4, dtype=torch.uint8)
    assert to_input(frames, T=3, scale=2.0).eq(2).all()


def test_a_read_only_array_is_not_written_to():
    images = np.ones((1, 1, 2, 2), dtype=np.float32)
    images.setflags(write=False)
    to_input(images, T=1, scale=1.0).mul_(0)
    assert images.all()


def test_frames_cut_for_another_t_are_refused():
    with pytest.raises(DataError, match="Prepare the data set again with T = 4"):
        to_input(np.zeros((1, 3, 2, 4, 4), dtype=np.uint8), T=4, scale=1.0)


@pytest.mark.parametrize(("shape", "T"), [((3, 3), 1), ((1, 1, 2, 2), 0)])
def test_a_batch_without_its_axes_or_steps_is_refused(shape, T):
    with pytest.raises(DataError):
        to_input(np.zeros(shape, dtype=np.uint8), T=T, scale=1.0)
