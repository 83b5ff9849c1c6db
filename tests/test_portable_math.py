import mpmath
import numpy as np
import pytest

from bpsta_cli import portable_math

ONE_BUT_LITTLE = 1 + np.geomspace(1e-15, 0.3, 200)
EVERY_SIZE = np.geomspace(5e-324, 1.7e308, 400)
QUARTERS = np.arange(-40, 41) * (np.pi / 2)
FAR_QUARTERS = np.arange(600_000, 667_000, 997) * (np.pi / 2)
ANGLES = np.concatenate([np.linspace(-7, 7, 500), QUARTERS, FAR_QUARTERS, np.linspace(-(2**20), 2**20, 301)])
POSITIVE = np.concatenate([ONE_BUT_LITTLE, 1 / ONE_BUT_LITTLE, EVERY_SIZE, np.linspace(0.3, 3, 500)])
POWERS = np.concatenate([np.linspace(-745, 709.7, 700), np.linspace(-1, 1, 400), np.geomspace(1e-18, 1, 100)])


def _ulps(got, exact):
    """How many units in the last place of the exact value lie between the two."""
    if exact == 0:
        return 0.0 if got == 0 else np.inf
    return float(abs(got - exact) / mpmath.mpf(float(np.spacing(abs(float(exact))))))


@pytest.mark.parametrize(
    ("name", "values"),
    [("exp", POWERS), ("log", POSITIVE), ("log10", POSITIVE), ("sin", ANGLES), ("cos", ANGLES)],
)
def test_every_result_is_within_one_unit_in_the_last_place(name, values):
    got = getattr(portable_math, name)(values)
    with mpmath.workdps(50):
        exact = [getattr(mpmath, name)(mpmath.mpf(value)) for value in values.tolist()]
        worst = max(map(_ulps, got.tolist(), exact))
    assert worst < 1


def test_limits_and_what_has_no_result():
    inf, nan = np.inf, np.nan
    given = np.array([0.0, -0.0, inf, -inf, nan, -1.0])
    np.testing.assert_array_equal(portable_math.exp(given[:5]), [1, 1, inf, 0, nan])
    np.testing.assert_array_equal(portable_math.exp(np.array([709.79, -745.2])), [inf, 0])
    for name in ("log", "log10"):
        np.testing.assert_array_equal(getattr(portable_math, name)(given), [-inf, -inf, inf, nan, nan, nan])
    for angle in (inf, nan, 2.0**21):
        with pytest.raises(ValueError, match="an angle of more than"):
            portable_math.cos(angle)


def test_whole_powers_and_quarter_turns_are_exact():
    assert [portable_math.log10(10.0**n) for n in range(-22, 23)] == list(range(-22, 23))
    assert portable_math.log(1.0) == 0
    assert portable_math.exp(0.0) == portable_math.cos(0.0) == 1
    assert portable_math.sin(0.0) == 0


def test_a_number_gives_a_number_and_an_array_the_same_bits_in_its_shape():
    values = np.linspace(0.1, 4, 6).reshape(2, 3)
    for name in ("exp", "log", "log10", "sin", "cos"):
        function = getattr(portable_math, name)
        together = function(values)
        assert together.shape == values.shape
        one_by_one = [function(value) for value in values.ravel().tolist()]
        assert {type(value) for value in one_by_one} == {float}
        assert together.ravel().tolist() == one_by_one
    assert portable_math.exp(np.zeros((0, 2))).shape == (0, 2)


def test_the_bits_are_these():
    """Written down once: any other machine, compiler or version of numpy must give the same."""
    values = np.linspace(0.01, 20, 1000)
    found = {
        name: hex(int(np.bitwise_xor.reduce(getattr(portable_math, name)(values).view(np.uint64) * ODD)))
        for name in ("exp", "log", "log10", "sin", "cos")
    }
    assert found == BITS


ODD = 2 * np.arange(1000, dtype=np.uint64) + 1
"""Factors that make the order of the values count."""
BITS = {
    "cos": "0xdaa95c7ffa0720a0",
    "exp": "0xea7310813bad047",
    "log": "0x26ce0050b8a0172b",
    "log10": "0x51e9dfd0045718b6",
    "sin": "0xc08487e384679898",
}
