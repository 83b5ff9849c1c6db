"""Event frames beside those of other packages: SpikingJelly (extra `peers`; 0.0.0.0.14, 2.0.0) and tonic (1.7.0)."""

import os
from pathlib import Path

import numpy as np
import pytest

from bpsta_cli.data.datasets.dvs import read_npz
from bpsta_cli.data.encoding import Events, check_events, split_by_number, split_by_time
from bpsta_cli.errors import DataError

pytestmark = pytest.mark.peers
REAL = os.environ.get("BPSTA_REAL_DATA", "")
CUTS = {"number": split_by_number, "time": split_by_time}
BINS = {"number": "n_event_bins", "time": "n_time_bins"}
STEPS = (1, 2, 7, 16, 60)
SHAPE = (2, 12, 9)


@pytest.fixture(scope="module")
def spikingjelly():
    """SpikingJelly's function from a recording to frames [T, 2, H, W]."""
    package = pytest.importorskip("spikingjelly.datasets")

    def frames(events, split_by, T, shape):
        return package.integrate_events_by_fixed_frames_number(events._asdict(), split_by, T, *shape[1:])

    return frames


@pytest.fixture(scope="module")
def tonic():
    """Tonic's function from a recording to frames [T, 2, H, W]."""
    transforms = pytest.importorskip("tonic.transforms")

    def frames(events, split_by, T, shape):
        table = np.empty(len(events.t), dtype=[("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i1")])
        for name, column in events._asdict().items():
            table[name] = column
        return transforms.ToFrame(sensor_size=shape[::-1], **{BINS[split_by]: T})(table)

    return frames


def recording(seed, count=5000):
    """Events in bursts and lulls, several at the same microsecond, none of 60 windows empty."""
    draw = np.random.default_rng(seed)
    t = np.cumsum(draw.integers(0, 9, count) * draw.integers(0, 4, count)) + draw.integers(0, 1000)
    return Events(t, draw.integers(0, 9, count), draw.integers(0, 12, count), draw.integers(0, 2, count))


@pytest.mark.parametrize("split_by", CUTS)
@pytest.mark.parametrize("T", STEPS)
def test_frames_of_random_recordings_are_those_of_spikingjelly(spikingjelly, split_by, T):
    for seed in range(8):
        events = recording(seed, 5000 + 13 * seed)
        expected = spikingjelly(events, split_by, T, SHAPE)
        np.testing.assert_array_equal(CUTS[split_by](events, T=T, shape=SHAPE), expected)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL, reason="BPSTA_REAL_DATA names no folder")
@pytest.mark.parametrize("split_by", CUTS)
def test_frames_of_real_gestures_are_those_of_spikingjelly(spikingjelly, split_by):
    files = sorted((Path(REAL) / "DVS128Gesture").glob("events_np/train/*/*.npz"))
    if not files:
        pytest.skip("no DVS128Gesture in BPSTA_REAL_DATA")
    for file in files:
        with np.load(file) as archive:
            stored = Events(**{name: archive[name] for name in Events._fields})
        for T in STEPS:
            expected = spikingjelly(stored, split_by, T, (2, 128, 128))
            np.testing.assert_array_equal(CUTS[split_by](read_npz(file), T=T, shape=(2, 128, 128)), expected)


def test_a_window_without_events_is_an_empty_frame_here_and_an_error_in_spikingjelly(spikingjelly):
    events = Events(np.array([0, 1, 8, 9]), *np.zeros((3, 4), dtype=int))
    assert split_by_time(events, T=3, shape=SHAPE).sum(axis=(1, 2, 3)).tolist() == [2, 0, 2]
    with pytest.raises(IndexError):
        spikingjelly(events, "time", 3, SHAPE)


def test_fewer_events_than_frames_are_refused_here_and_all_in_the_last_frame_of_spikingjelly(spikingjelly):
    events = Events(np.arange(2), *np.zeros((3, 2), dtype=int))
    assert spikingjelly(events, "number", 3, SHAPE).sum(axis=(1, 2, 3)).tolist() == [0, 0, 2]
    with pytest.raises(DataError, match="at least T = 3 events"):
        split_by_number(events, T=3, shape=SHAPE)


def test_events_out_of_order_are_refused_here_and_counted_twice_by_spikingjelly(spikingjelly):
    events = Events(np.array([0, 5, 1, 9]), *np.zeros((3, 4), dtype=int))
    assert spikingjelly(events, "time", 2, SHAPE).sum() == 6
    with pytest.raises(DataError, match="time stamps in order"):
        check_events(events, SHAPE, "a")


@pytest.mark.parametrize("T", STEPS)
def test_tonic_leaves_out_the_remainder_of_the_events(tonic, T):
    events = recording(0, 5003)
    ours, theirs = split_by_number(events, T=T, shape=SHAPE), tonic(events, "number", T, SHAPE)
    np.testing.assert_array_equal(ours[:-1], theirs[:-1])
    assert ours.sum() - theirs.sum() == 5003 % T


@pytest.mark.parametrize("T", STEPS)
def test_tonic_leaves_out_what_comes_after_the_last_whole_window(tonic, T):
    events = recording(0)
    ours, theirs = split_by_time(events, T=T, shape=SHAPE), tonic(events, "time", T, SHAPE)
    np.testing.assert_array_equal(ours[:-1], theirs[:-1])
    first, last = events.t[[0, -1]]
    left_out = np.count_nonzero(events.t >= first + (last - first) // T * T)
    assert ours.sum() - theirs.sum() == left_out > 0
