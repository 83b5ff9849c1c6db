"""Sound: reading WAV files, and log-mel features in time."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpsta_cli import portable_math, reading
from bpsta_cli.data.formats.spectrum import mel_power
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError

Samples = npt.NDArray[np.float32]
MELS = 32
FRAMES = 16
"""Mel frames of one time step, whatever T is: a step is an image [1, MELS, FRAMES] that pools four times."""
LEVELS = 255
"""The loudest value as stored; `1 / LEVELS` brings it back to 1."""
RANGE_DB = 80.0
"""Decibels below a clip's loudest value that count as silence: 80 / 255 = 0.31 dB for each stored level."""
_MOST_SAMPLES = 1 << 27
"""Of a file: 46 minutes at 48 kHz."""
_MOST_HERTZ = 1_000_000
"""Sample rate; a microphone for bats has half of it."""
_WINDOW_SECONDS = 0.025
_RESAVE = "Save it as mono PCM WAV again, or leave it out."


def read_wav(path: Path, expected_rate: int | None = None) -> tuple[Samples, int]:
    """The samples of a mono WAV file, -1 to 1, and its sample rate in Hz: `expected_rate`, or any if that is None.

    libsndfile (through soundfile) decodes it: PCM of 8 to 32 bits, floats, A-law and mu-law.

    Raises:
        DataError: no WAV file, cut short, of several channels, without a sample, or of another sample rate.
    """
    import soundfile

    try:
        content = reading.content(path, reading.SOUND)
        declared, there = _data_bytes(content)
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.frames * file.channels > _MOST_SAMPLES:
                raise _damaged(path, f"at most {_MOST_SAMPLES:,} samples", f"{file.frames * file.channels:,}")
            if not 0 < file.samplerate <= _MOST_HERTZ:
                raise _damaged(path, f"a sample rate of at most {_MOST_HERTZ:,} Hz", f"{file.samplerate:,}")
            rate, samples = file.samplerate, file.read(dtype="float32", always_2d=True)
    except UnreadableError as refused:
        raise _damaged(path, refused.expected, refused.got) from None
    except (OSError, ValueError, soundfile.SoundFileError) as error:
        raise _damaged(path, "a WAV file", " ".join(str(error).split())) from error
    if there < declared:
        raise _damaged(path, f"{declared:,} bytes of sound, as its header says", f"{there:,}")
    if samples.shape[1] != 1:
        raise _damaged(path, "one channel", f"{samples.shape[1]}")
    if len(samples) == 0:
        raise _damaged(path, "at least one sample", "none")
    if not np.isfinite(samples).all():
        raise _damaged(path, "finite samples", "infinite ones, or no numbers")
    if expected_rate not in (None, rate):
        raise DataError(
            f"wrong sample rate of {path}",
            expected=f"{expected_rate:,} Hz",
            got=f"{rate:,} Hz",
            todo="Resample it, or leave it out.",
        )
    return samples[:, 0], int(rate)


def _data_bytes(content: bytes) -> tuple[int, int]:
    """Bytes of sound that a RIFF file's header declares, and those that are there.

    libsndfile reads what is left of a file that was cut short and says nothing.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError("a file that does not start as RIFF/WAVE")
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if content[at : at + 4] == b"data":
            return size, len(content) - at - 8
        at += 8 + size + size % 2
    raise ValueError("no data chunk")


def _damaged(path: Path, expected: str, got: str) -> DataError:
    return DataError(f"unusable sound file {path}", expected=expected, got=got, todo=_RESAVE)


def log_mel(
    samples: npt.NDArray[Any], rate: int, *, T: int, mels: int = MELS, frames: int = FRAMES, seconds: float = 1.0
) -> npt.NDArray[np.uint8]:
    """A clip as log-mel features, uint8 [T, 1, mels, frames]: each step sees its own T-th of the clip.

    See `decibels` for the features. 0 is `RANGE_DB` below the clip's loudest value, or silence; `LEVELS`
    is the loudest. So the volume does not matter, and a value is within half a step (0.16 dB) of the exact
    one. The periodogram of noise spreads by 5.6 dB (a log of an exponential variable), so what rounding
    adds is far below what the clip's own noise does.

    Args:
        samples: the clip, -1 to 1; padded with silence at its end or cut to `seconds`.
        rate: samples per second, in Hz.
        T: time steps.
        mels: bands, equally spaced on the mel scale from 20 Hz to half the sample rate.
        frames: spectra per step.
        seconds: length of the clip that is used.

    Raises:
        DataError: T < 1, or more spectra than samples.
    """
    exact = decibels(samples, rate, T=T, mels=mels, frames=frames, seconds=seconds)
    return np.rint(exact * (LEVELS / RANGE_DB)).astype(np.uint8)


def decibels(
    samples: npt.NDArray[Any], rate: int, *, T: int, mels: int = MELS, frames: int = FRAMES, seconds: float = 1.0
) -> npt.NDArray[np.float64]:
    """Log-mel power [T, 1, mels, frames] in decibels, from 0 (silence) to `RANGE_DB` (the clip's loudest).

    Spectra of Hann windows of 25 ms, T x frames of them at equal distances, summed in triangular bands on
    O'Shaughnessy's mel scale (`spectrum.mel_power`). The distance is a whole number of samples, rounded up, and the
    clip is padded with silence to fit. Windows are longer where they would not overlap by half, so that nothing goes
    unseen at small T. The bits of every value are the same on every machine.

    Args and Raises: as `log_mel`.
    """
    length = round(seconds * rate)
    if T < 1 or T * frames > length:
        raise DataError(
            "unusable number of time steps for a clip",
            expected=f"T from 1 to {length // frames} ({frames} spectra per step, {length:,} samples per clip)",
            got=f"T = {T}",
            todo="Choose another T.",
        )
    hop = math.ceil(length / (T * frames))
    padded = np.zeros(T * frames * hop, dtype=np.float64)
    used = samples[:length]
    padded[: len(used)] = used
    window = max(round(_WINDOW_SECONDS * rate), 2 * hop)
    power = mel_power(padded, rate=rate, window=window, hop=hop, mels=mels)
    loudest = power.max()
    if loudest <= 0:
        return np.zeros((T, 1, mels, frames))
    level = np.maximum(10 * portable_math.log10(power / loudest) + RANGE_DB, 0)
    return np.ascontiguousarray(level.reshape(mels, T, frames).swapaxes(0, 1)[:, None])
