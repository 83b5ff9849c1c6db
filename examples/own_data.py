"""One's own data: images, event recordings, sounds or series, a sub-folder a class.

    python examples/own_data.py images            # writes a few files, to have something to read
    python examples/own_data.py events FOLDER     # or reads yours: FOLDER/CLASS/FILE, all of one kind

They differ in what is in the folder, and in a network that fits it; what kind the files are is seen from them.
"""

import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from bpsta_cli import training

EACH = 12
"""Files that are written of each of the two classes."""
random = np.random.default_rng(0)


def write_images(folder: Path) -> None:
    """Noise with a brighter upper or lower half, 12 x 12, as PNG."""
    for label in ("upper", "lower"):
        (folder / label).mkdir(parents=True)
        for number in range(EACH):
            pixels = random.integers(0, 120, (12, 12), dtype=np.uint8)
            pixels[:6] += 100 if label == "upper" else 0
            pixels[6:] += 0 if label == "upper" else 100
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def write_events(folder: Path) -> None:
    """A column of dots that moves to the right, or a row that moves down: arrays t (microseconds), x, y, p in .npz."""
    for label in ("right", "down"):
        (folder / label).mkdir(parents=True)
        for number in range(EACH):
            t = np.sort(random.integers(0, 100_000, 600))
            moving, along = t * 12 // 100_000, random.integers(0, 12, 600)
            x, y = (moving, along) if label == "right" else (along, moving)
            np.savez(folder / label / f"{number}.npz", t=t, x=x, y=y, p=random.integers(0, 2, 600))


def write_sounds(folder: Path) -> None:
    """A quarter of a second of a low or a high tone, as mono .wav of 8 kHz."""
    seconds = np.arange(2000) / 8000
    for label, hertz in (("low", 300), ("high", 2000)):
        (folder / label).mkdir(parents=True)
        for number in range(EACH):
            samples = 12_000 * np.sin(2 * np.pi * (hertz + random.integers(0, 100)) * seconds)
            with wave.open(str(folder / label / f"{number}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(samples.astype("<i2").tobytes())


def write_series(folder: Path) -> None:
    """Two channels of 50 moments as .csv, of which one rises or falls in noise."""
    time = np.linspace(0, 1, 50)
    for label, course in (("rises", time), ("falls", -time)):
        (folder / label).mkdir(parents=True)
        for number in range(EACH):
            values = np.stack([course + random.normal(0, 0.1, 50), random.normal(0, 1, 50)], axis=1)
            np.savetxt(folder / label / f"{number}.csv", values, delimiter=",", header="height,noise", comments="")


WRITERS = {"images": write_images, "events": write_events, "sounds": write_sounds, "series": write_series}


def main(kind: str, source: str | None = None) -> None:
    """Train on the folder `source`; without one, on files of this kind that are written first."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if source is None:
            source = str(folder / "mine")
            WRITERS[kind](Path(source))
        network = "128FC-64FC-10Voting" if kind == "series" else "8C3-AP4-10Voting"  # channels are no picture
        settings = training.settings(
            "folder", source=source, test_fraction=0.25, T=6, epochs=12, batch_size=6, network=network
        )
        data = training.data(settings, folder / "data")
        for event in training.train(settings, data, folder / "run"):
            if isinstance(event, training.EpochDone):
                last = event.record
        shape = " x ".join(map(str, data.shape))
        print(f"{', '.join(data.classes)}: steps of {shape}, test accuracy {last['accuracy']:.0%}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in WRITERS:
        sys.exit(__doc__)
    main(*sys.argv[1:3])
