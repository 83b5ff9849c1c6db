import struct

import numpy as np
import pytest
import soundfile
from data_files import write_wav

from bpsta_cli.data.formats.audio import LEVELS, RANGE_DB, decibels, log_mel, read_wav
from bpsta_cli.errors import DataError


def chirp(seconds=1.0, rate=16_000, start=200, stop=3000):
    t = np.arange(round(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * (start + (stop - start) * t / 2 / seconds) * t)


def noisy(seconds=1.0, rate=16_000, seed=0):
    return chirp(seconds, rate) + np.random.default_rng(seed).normal(0, 0.01, round(seconds * rate))


def test_sixteen_bit_samples_are_read_as_written(tmp_path):
    samples, rate = read_wav(write_wav(tmp_path / "a.wav", [0, 1, -1, 32767, -32768], rate=8000))
    assert (samples.dtype, rate) == (np.float32, 8000)
    assert (samples * 32768).tolist() == [0, 1, -1, 32767, -32768]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "ULAW"])
def test_other_encodings_are_read_as_well(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", chirp(), 16_000, subtype=subtype)
    samples, rate = read_wav(tmp_path / "a.wav")
    assert rate == 16_000
    np.testing.assert_allclose(samples, chirp(), atol=0.02)


def test_what_stands_between_the_header_and_the_sound_is_skipped(tmp_path):
    content = write_wav(tmp_path / "a.wav", [5, 6, 7]).read_bytes()
    extra = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    (tmp_path / "a.wav").write_bytes(content[:36] + extra + content[36:])
    assert (read_wav(tmp_path / "a.wav")[0] * 32768).tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content[:-100], "expected 2,000 bytes of sound, as its header says, got 1,900"),
        (lambda content: content[:30], "expected a WAV file, got no data chunk"),
        (lambda content: b"", "expected a WAV file, got a file that does not start as RIFF/WAVE"),
        (lambda content: b"<html>" + bytes(100), "does not start as RIFF/WAVE"),
        (lambda content: content[:20] + b"\xff\xff" + content[22:], "expected a WAV file, got .*Malformed"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, edit, message):
    file = write_wav(tmp_path / "a.wav", range(1000))
    file.write_bytes(edit(file.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        read_wav(file)
    assert str(file) in str(caught.value)
    assert "again" in caught.value.todo


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((50, 2)), "expected one channel, got 2"),
        (np.zeros(0), "expected at least one sample, got none"),
        (np.array([0.1, np.nan]), "expected finite samples"),
    ],
)
def test_stereo_and_empty_and_unreal_sound_is_refused(tmp_path, samples, message):
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(DataError, match=message):
        read_wav(tmp_path / "a.wav")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.wav: expected a file, got no such file"):
        read_wav(tmp_path / "gone.wav")


@pytest.mark.parametrize("T", [1, 2, 7, 8, 16, 30])
@pytest.mark.parametrize("rate", [8000, 16_000])
def test_a_clip_becomes_t_images_of_the_same_shape_at_any_t_and_rate(T, rate):
    features = log_mel(chirp(rate=rate), rate, T=T)
    assert (features.shape, features.dtype, features.max()) == ((T, 1, 32, 16), np.uint8, LEVELS)


def test_a_rounded_feature_is_within_half_a_step_of_the_exact_one():
    exact = decibels(noisy(), 16_000, T=8)
    error = np.abs(log_mel(noisy(), 16_000, T=8) * (RANGE_DB / LEVELS) - exact)
    assert error.max() <= RANGE_DB / LEVELS / 2 + 1e-9
    assert exact.min() < 40, "the clip has quiet places as well"


def test_features_are_those_of_another_fourier_transform_byte_for_byte():
    rate, T, mels, frames, n_fft, hop, window = 16_000, 8, 32, 16, 512, 125, 400
    hann = np.zeros(n_fft)
    hann[(n_fft - window) // 2 :][:window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.pad(noisy(), n_fft // 2)
    power = np.array([np.abs(np.fft.rfft(padded[k * hop :][:n_fft] * hann)) ** 2 for k in range(T * frames)]).T
    edges = np.linspace(*(2595 * np.log10(1 + np.array([20, rate / 2]) / 700)), mels + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    hertz = np.linspace(0, rate / 2, n_fft // 2 + 1)
    bands = np.array([np.interp(hertz, edges[k : k + 3], [0, 1, 0]) for k in range(mels)]) @ power
    level = np.maximum(10 * np.log10(bands / bands.max()) + 80, 0)
    ours = log_mel(noisy(), rate, T=T)
    np.testing.assert_array_equal(ours[:, 0], np.rint(level * 255 / 80).reshape(mels, T, frames).swapaxes(0, 1))


def test_volume_does_not_change_the_features():
    np.testing.assert_array_equal(log_mel(noisy() / 4, 16_000, T=4), log_mel(noisy(), 16_000, T=4))


def test_a_tone_stands_in_its_band_and_its_step():
    samples = np.zeros(16_000)
    samples[8000:10_000] = np.sin(2 * np.pi * 1000 * np.arange(2000) / 16_000)
    features = log_mel(samples, 16_000, T=8)
    assert features[:3].max() == 0
    assert features[6:].max() == 0
    assert np.unravel_index(features.argmax(), features.shape)[0] == 4
    assert features[4, 0, :, 8].argmax() == 10, "1,000 mel; band 10 is centred at 31.7 + 11 * 85.1 = 968"


def test_a_short_clip_ends_in_silence_and_a_long_one_is_cut():
    short, long = log_mel(noisy(0.5), 16_000, T=8), log_mel(noisy(1.5), 16_000, T=8)
    assert short[5:].max() == 0
    assert short[:4].min() > 0
    np.testing.assert_array_equal(long, log_mel(noisy(1.5)[:16_000], 16_000, T=8))


def test_silence_is_zero():
    assert log_mel(np.zeros(16_000, dtype=np.float32), 16_000, T=2).max() == 0


@pytest.mark.parametrize("T", [0, 1001])
def test_more_steps_than_spectra_fit_are_refused(T):
    with pytest.raises(DataError, match=f"T from 1 to 1000.*got T = {T}"):
        log_mel(chirp(), 16_000, T=T)
