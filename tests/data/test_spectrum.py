import hashlib

import numpy as np
import pytest

from bpsta_cli.data.datasets.synthetic import waveform
from bpsta_cli.data.formats import spectrum
from bpsta_cli.data.formats.audio import decibels


@pytest.mark.parametrize("size", [2, 4, 16, 512, 2048])
def test_powers_are_those_of_another_fourier_transform(size):
    x = np.random.RandomState(size).uniform(-1, 1, (size, 6))
    power = np.abs(np.fft.rfft(x, axis=0)) ** 2
    np.testing.assert_allclose(spectrum._power(x), power, rtol=0, atol=1e-13 * power.max())


def test_a_sine_has_all_its_power_at_its_own_frequency():
    wave = np.cos(2 * np.pi * 3 * np.arange(16) / 16)
    power = spectrum._power(np.stack([wave, 2 * wave], axis=1))
    np.testing.assert_allclose(power[3], [64, 256])
    assert np.delete(power, 3, axis=0).max() < 1e-28


def test_bands_are_triangles_between_neighbours_centres():
    first, weights = spectrum._bands(16_000, 512, 32)
    whole = np.zeros((257, 32))
    for band in range(32):
        count = int((weights[:, band] > 0).sum())
        whole[first[band] : first[band] + count, band] = weights[:count, band]
    assert (first[0], (weights[:, 0] > 0).sum()) == (1, 4), "20 to 137 Hz; bins are 31.25 Hz apart"
    inner = whole[whole.argmax(0)[0] + 1 : whole.argmax(0)[-1]]
    np.testing.assert_allclose(inner.sum(axis=1), 1, atol=1e-12, err_msg="what one band loses its neighbour gains")


def test_an_odd_number_of_moments_has_the_spectra_of_an_even_one():
    samples = np.random.RandomState(0).uniform(-1, 1, 800)
    even = spectrum.mel_power(samples, rate=8000, window=200, hop=100, mels=8)
    odd = spectrum.mel_power(samples[:700], rate=8000, window=200, hop=100, mels=8)
    assert (even.shape, odd.shape) == ((8, 8), (8, 7))
    np.testing.assert_allclose(odd[:, :6], even[:, :6], rtol=1e-10)


def test_the_bits_are_these():
    """Written down once: any other machine or version of a library must give the same."""
    exact = decibels(waveform("train/3") / 2.0**15, 16_000, T=8)
    assert hashlib.sha256(exact.tobytes()).hexdigest()[:16] == BITS


BITS = "8defa2e674bfb5af"
