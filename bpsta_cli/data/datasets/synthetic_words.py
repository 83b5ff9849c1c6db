"""Simulated spoken words: vowels in a row, said by speakers of different pitch and vocal tract, in noise.

A word is a row of vowels; its sound is the harmonics of a pitch, each as loud as the resonances (formants) of
the vowel make it. Eight of the ten words are four words and the same backwards. Onset, loudness and pitch are
drawn alike for both, so their spectra summed over time do not tell them apart; their order does.

Everything is an integer, as in `synthetic_gestures`: the sound is the same on any machine, 16-bit sample for sample.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.datasets.synthetic_gestures import COSINE, ONE, TURN

RATE = 16_000
WORDS = ("ia", "ai", "ue", "eu", "iua", "aui", "oer", "reo", "aoa", "iri")
REVERSED = ((0, 1), (2, 3), (4, 5), (6, 7))
"""Labels of words that are each other backwards."""
FORMANTS = {
    # Hz, means of 33 men: Peterson and Barney, J. Acoust. Soc. Am. 24(2), 1952, Table II
    "i": (270, 2290, 3010),
    "e": (530, 1840, 2480),
    "a": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
    "r": (490, 1350, 1690),
}
_BANDWIDTHS = np.array((70, 100, 150), dtype=np.int64)  # Hz
_GAINS = np.array((4, 2, 1), dtype=np.int64)
_SEGMENT = 80  # samples: pitch and loudness stay for 5 ms
_SEGMENTS = RATE // _SEGMENT
_HIGHEST_HZ = 4000
_FADE = 8  # segments
_GLIDE = 6  # segments to either side of a change of vowel
_TO_TURN = 10
_PHASE = TURN << _TO_TURN  # a turn of the phase that is summed up
_PEAK = 12_000

Integers = npt.NDArray[np.int64]


def speak(label: int, speaker: np.random.RandomState, random: np.random.RandomState) -> npt.NDArray[np.int16]:
    """A word as one second of sound, int16 at 16 kHz.

    Args:
        label: which of `WORDS`.
        speaker: the speaker's own stream: pitch and length of the vocal tract.
        random: this clip's: when, how long, how loud, pitch's course, noise.
    """
    pitch, tract = _draw(speaker, 90, 231), _draw(speaker, 13, 20)
    segments = 2 * _draw(random, 40, 71)  # even: no segment lies on the border of two vowels
    start = _draw(random, 5, _SEGMENTS - segments - 4)
    formants = _course(WORDS[label], segments) * tract // 16
    course = pitch * (100 + _draw(random, -15, 16) * (2 * np.arange(segments) - segments) // segments) // 100
    voice = _voice(course, formants)
    voice = voice * _draw(random, _PEAK // 4, _PEAK) // int(np.abs(voice).max())
    sound = _noise(random)
    sound[start * _SEGMENT :][: len(voice)] += voice
    return sound.astype(np.int16)


def _draw(random: np.random.RandomState, low: int, high: int) -> int:
    """A whole number from low to high - 1."""
    return int(random.randint(low, high, dtype=np.int64))


def _course(word: str, segments: int) -> Integers:
    """The formants of each segment, [segments, 3], gliding from vowel to vowel; alike in both directions."""
    targets = np.array([FORMANTS[vowel] for vowel in word], dtype=np.int64)
    which = (2 * np.arange(-_GLIDE, segments + _GLIDE, dtype=np.int64) + 1) * len(word) // (2 * segments)
    held = targets[which.clip(0, len(word) - 1)]
    width = 2 * _GLIDE + 1
    gliding: Integers = np.stack([held[shift : shift + segments] for shift in range(width)]).sum(axis=0) // width
    return gliding


def _voice(pitch: Integers, formants: Integers) -> Integers:
    """The harmonics below 4 kHz of a pitch in Hz [segments], shaped by formants [segments, 3]."""
    phase = np.cumsum(np.repeat(pitch * _PHASE // RATE, _SEGMENT))
    fade = np.minimum(np.arange(1, len(pitch) + 1), _FADE)
    fade = np.minimum(fade, fade[::-1])
    sound = np.zeros(len(phase), dtype=np.int64)
    for harmonic in range(1, _HIGHEST_HZ // int(pitch.min()) + 1):
        away = harmonic * pitch[:, None] - formants
        resonance = _GAINS * (_BANDWIDTHS**2 * 1024) // (_BANDWIDTHS**2 + away**2)
        heard = (harmonic * pitch < _HIGHEST_HZ) * fade * resonance.sum(axis=1)
        sound += np.repeat(heard, _SEGMENT) * COSINE[harmonic * phase >> _TO_TURN & TURN - 1]
    quiet: Integers = sound // ONE
    return quiet


def _noise(random: np.random.RandomState) -> Integers:
    """White noise and one steady tone, of drawn loudness."""
    loudness, tone, hum = _draw(random, 50, 1200), _draw(random, 50, 400), _draw(random, 1, 300)
    white = random.randint(-loudness, loudness + 1, size=RATE, dtype=np.int64)
    angle = _draw(random, 0, TURN) + np.arange(RATE, dtype=np.int64) * tone * TURN // RATE
    return white + hum * COSINE[angle % TURN] // ONE
