"""From events to frames: what it costs here, in SpikingJelly and in tonic.

`python benchmarks/event_frames.py`, with the extra `peers` installed. A simulated recording of 1e6 events at
128 x 128, two polarities, is cut into T = 16 frames, by one package after the other in each round. Prints JSON:
milliseconds of processor time over the rounds, which a busy machine disturbs less than the clock (each package
runs in one thread).
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from spikingjelly.datasets import integrate_events_by_fixed_frames_number
from tonic.transforms import ToFrame

from bpsta_cli.data.encoding import Events, check_events, split_by_number, split_by_time

EVENTS, T, SHAPE = 1_000_000, 16, (2, 128, 128)
DURATION = 6_000_000
"""Microseconds, about as long as a recording of DVS128 Gesture."""
ROUNDS = 25


def recording() -> Events:
    """Events at random places and times, as `read_npz` gives them: int64."""
    draw = np.random.default_rng(0)
    t = np.sort(draw.integers(0, DURATION, EVENTS))
    x, y, p = (draw.integers(0, size, EVENTS) for size in (SHAPE[2], SHAPE[1], SHAPE[0]))
    return Events(t, x, y, p)


def contestants(events: Events) -> dict[str, Callable[[], Any]]:
    """What is timed; bpsta's own with and without the check of every event that preparing does."""
    columns = events._asdict()
    table = np.empty(EVENTS, dtype=[("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i1")])
    for name, column in columns.items():
        table[name] = column
    found: dict[str, Callable[[], Any]] = {"bpsta check": lambda: check_events(events, SHAPE, "simulated")}
    for split_by, cut, bins in (("number", split_by_number, "n_event_bins"), ("time", split_by_time, "n_time_bins")):
        to_frame = ToFrame(sensor_size=SHAPE[::-1], **{bins: T})
        found[f"bpsta {split_by}"] = partial(cut, events, T=T, shape=SHAPE)
        found[f"spikingjelly {split_by}"] = partial(
            integrate_events_by_fixed_frames_number, columns, split_by, T, *SHAPE[1:]
        )
        found[f"tonic {split_by}"] = partial(to_frame, table)
    return found


def main() -> None:
    """Time all of them, and print."""
    timed = contestants(recording())
    times: dict[str, list[float]] = {name: [] for name in timed}
    for each in timed.values():
        each()
    for _ in range(ROUNDS):
        for name, each in timed.items():
            began = time.process_time()
            each()
            times[name].append(1000 * (time.process_time() - began))
    quartiles = {name: np.percentile(ms, [0, 25, 50, 75, 100]).round(2).tolist() for name, ms in times.items()}
    json.dump({"quantiles_ms": ["min", "25 %", "median", "75 %", "max"], "rounds": ROUNDS, **quartiles}, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
