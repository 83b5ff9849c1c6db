"""AEDAT files written byte by byte after iniVation's description of the formats."""

import struct
from pathlib import Path

HEADER_2 = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"
HEADER_3 = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-09-01 10:00:00 (TZ+0200)\r\n#!END-HEADER\r\n"
)


def aedat2_bytes(events, *, header: bytes = HEADER_2) -> bytes:
    """`events`: rows of (t, bits 14-8, bits 7-1, bit 0)."""
    return header + b"".join(struct.pack(">ii", high << 8 | low << 1 | p, t) for t, high, low, p in events)


def packet(events, *, kind: int = 1, overflow: int = 0, capacity: int | None = None) -> bytes:
    """`events`: rows of (t, x, y, p)."""
    number = len(events)
    head = struct.pack("<hhiiiiii", kind, 1, 8, 4, overflow, number if capacity is None else capacity, number, number)
    return head + b"".join(struct.pack("<Ii", x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in events)


def write_trial(folder: Path, name: str, events, gestures) -> Path:
    """One trial as IBM publishes it: `gestures` are rows of (class from 1, start, end)."""
    folder.mkdir(parents=True, exist_ok=True)
    half = len(events) // 2
    (folder / f"{name}.aedat").write_bytes(HEADER_3 + packet(events[:half]) + packet(events[half:]))
    lines = ["class,startTime_usec,endTime_usec", *(",".join(map(str, row)) for row in gestures)]
    (folder / f"{name}_labels.csv").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.aedat"


def write_ibm(folder: Path, *, splits=("train", "test")) -> Path:
    """Two trials to train and one to test, three gestures each."""
    trials = {"train": ("user01_led", "user02_lab"), "test": ("user24_led",)}
    for split in splits:
        for name in trials[split]:
            events = [(10 * i, i % 128, (3 * i) % 128, i % 2) for i in range(100)]
            write_trial(folder, name, events, [(1, 0, 200), (3, 300, 600), (11, 550, 1000)])
        (folder / f"trials_to_{split}.txt").write_text("".join(f"{name}.aedat\n" for name in trials[split]))
    return folder


def write_dvs_cifar10(folder: Path, numbers=(0, 1, 899, 900, 999)) -> Path:
    for name in ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"):
        (folder / name).mkdir(parents=True)
        for number in numbers:
            events = [(5 * i, i % 128, (7 * i) % 128, i % 2) for i in range(20 + number)]
            (folder / name / f"cifar10_{name}_{number}.aedat").write_bytes(aedat2_bytes(events))
    return folder
