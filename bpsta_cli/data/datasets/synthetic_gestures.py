"""Simulated event recordings of the kinds of motion in DVS128 Gesture.

One or two bright or dark ellipses ("hands") move over the other brightness; a pixel that a hand covers or
uncovers from one step of 7.5 ms to the next sends events. What makes this set ask for time:

- Clockwise and counter-clockwise circles, and waves to the right and to the left first, are each other run
  backwards: one whole turn or one wave there and back, of which start and speed are drawn alike for both. Run
  backwards, what was covered is uncovered, and whether the hand is the bright or the dark one is drawn for each
  recording. So such a pair has the same frames in distribution, summed over time or one by one without their
  number. What tells them apart is the order of the frames.

Everything is an integer: positions in 1/16 pixel, angles in 1/1024 turn, a table for the cosine, NumPy's
RandomState, whose stream is kept as it is. So the events are the same on any machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bpsta_cli import portable_math
from bpsta_cli.data.encoding import Events

SIDE = 128
STEPS = 200
STEP_US = 7500
TURN = 1024
ONE = 1 << 14
"""1 as the table of the cosine holds it."""
_UNIT = 16  # of a pixel
_KEPT = 192  # of 256 events of a pixel that changes are sent
_HOT_PIXELS = 3

Integers = npt.NDArray[np.int64]
Motion = Callable[["Scene"], "list[Hand]"]

COSINE: Integers = np.rint(ONE * portable_math.cos(np.arange(TURN) * (2 * np.pi / TURN))).astype(np.int64)
"""Cosine at each angle."""


def cosine(angle: Integers) -> Integers:
    """Cosine, times `ONE`, of angles in 1/`TURN` turn."""
    return COSINE[angle % TURN]


def sine(angle: Integers) -> Integers:
    """Sine, times `ONE`."""
    return cosine(angle - TURN // 4)


class Hand(NamedTuple):
    """An ellipse at each instant: centre and half axes in 1/16 pixel, [STEPS + 1]."""

    x: Integers
    y: Integers
    wide: Integers
    tall: Integers


class Scene:
    """What is drawn for one recording: who stands where, and how fast.

    Attributes:
        random: the recording's own stream.
        step: 0 ... STEPS.
        scale: size of the person, in 1/16.
        x, y: where the person stands, in 1/16 pixel.
    """

    def __init__(self, random: np.random.RandomState) -> None:
        self.random = random
        self.step: Integers = np.arange(STEPS + 1, dtype=np.int64)
        self.scale = self.draw(13, 20)
        self.x, self.y = (_UNIT * SIDE // 2 + self.draw(-8 * _UNIT, 8 * _UNIT + 1) for _ in range(2))
        self.radius = self.draw(8 * _UNIT, 12 * _UNIT)

    def draw(self, low: int, high: int) -> int:
        """A whole number from low to high - 1."""
        return int(self.random.randint(low, high, dtype=np.int64))

    def angle(self, least: int, most: int) -> Integers:
        """An angle that grows by least to most 1/16 turns over the recording, from anywhere, not quite evenly."""
        speed = self.draw(least * TURN // 16, most * TURN // 16 + 1)
        wobble = self.draw(0, TURN // 32) * cosine(self.draw(0, TURN) + self.step * TURN // STEPS) // ONE
        return self.draw(0, TURN) + self.step * speed // STEPS + wobble

    def once(self) -> Integers:
        """An angle that grows by one turn from about 0, at rest before and after, not quite evenly."""
        begin, end = self.draw(0, STEPS // 8), STEPS - self.draw(0, STEPS // 8)
        turned = (self.step.clip(begin, end) - begin) * TURN // (end - begin)
        wobble = self.draw(-TURN // 16, TURN // 16 + 1) * sine(turned) // ONE
        return self.draw(-TURN // 12, TURN // 12 + 1) + turned + wobble

    def hand(self, x: Integers | int, y: Integers | int, wide: Integers | int = _UNIT, tall: int = _UNIT) -> Hand:
        """A hand x, y pixels beside the person's middle, in 1/16 pixel; axes in 1/16 of the person's own."""
        size = self.radius * self.scale // 16
        whole = np.zeros_like(self.step)
        return Hand(
            self.x + (whole + x) * self.scale // 16,
            self.y + (whole + y) * self.scale // 16,
            (whole + wide) * size // 16,
            (whole + tall) * size // 16,
        )


def _px(pixels: int) -> int:
    return pixels * _UNIT


def _along(pixels: int, wave: Integers) -> Integers:
    return _px(pixels) * wave // ONE


def _clap(scene: Scene) -> list[Hand]:
    apart = _px(10) + _along(9, ONE + cosine(scene.angle(32, 64)))
    return [scene.hand(apart, 0, tall=20), scene.hand(-apart, 0, tall=20)]


def _wave(scene: Scene, sign: int) -> list[Hand]:
    return [scene.hand(sign * _along(30, sine(scene.once())), _px(-14))]


def _circle(scene: Scene, side: int, sign: int) -> list[Hand]:
    angle = TURN // 4 + sign * scene.once()  # from below, where an arm hangs
    return [scene.hand(_px(24 * side) + _along(26, cosine(angle)), _along(26, sine(angle)))]


def _roll(scene: Scene) -> list[Hand]:
    angle = (1 - 2 * scene.draw(0, 2)) * scene.angle(32, 64)
    x, y = _along(11, cosine(angle)), _along(11, sine(angle))
    return [scene.hand(x, y + _px(8), wide=20, tall=10), scene.hand(-x, _px(8) - y, wide=20, tall=10)]


def _drums(scene: Scene) -> list[Hand]:
    y = _along(14, cosine(scene.angle(32, 64)))
    return [scene.hand(_px(24), _px(12) + y, tall=10), scene.hand(_px(-24), _px(12) - y, tall=10)]


def _guitar(scene: Scene) -> list[Hand]:
    strum, grip = _along(13, cosine(scene.angle(40, 80))), _along(4, cosine(scene.angle(16, 32)))
    return [scene.hand(_px(-12) - strum // 4, _px(20) + strum), scene.hand(_px(34) + grip, _px(-14) - grip)]


def _other(scene: Scene) -> list[Hand]:
    """One or two hands, each on a Lissajous curve of its own."""
    return [
        scene.hand(
            _px(scene.draw(-20, 21)) + _along(scene.draw(8, 29), cosine(scene.angle(16, 64))),
            _px(scene.draw(-20, 21)) + _along(scene.draw(8, 29), cosine(scene.angle(16, 64))),
        )
        for _ in range(scene.draw(1, 3))
    ]


MOTIONS: tuple[Motion, ...] = (
    _clap,
    lambda scene: _wave(scene, 1),
    lambda scene: _wave(scene, -1),
    lambda scene: _circle(scene, -1, 1),
    lambda scene: _circle(scene, -1, -1),
    lambda scene: _circle(scene, 1, 1),
    lambda scene: _circle(scene, 1, -1),
    _roll,
    _drums,
    _guitar,
    _other,
)
"""How each class moves, in the order of DVS128 Gesture's labels. The picture's y points down: angles grow clockwise."""
MIRRORED = ((1, 2), (3, 4), (5, 6))
"""Labels that are each other run backwards."""


def record(label: int, random: np.random.RandomState) -> Events:
    """One recording of 1.5 s at 128 x 128, in microseconds."""
    scene = Scene(random)
    first, *second = MOTIONS[label](scene)
    covered = _covered(first)
    for hand in second:
        covered |= _covered(hand)
    changed = np.flatnonzero(covered[1:] != covered[:-1])
    pixels = np.repeat(changed, scene.draw(1, 4))
    pixels = pixels[random.randint(256, size=len(pixels), dtype=np.int64) < _KEPT]
    brighter = covered[1:].reshape(-1)[pixels] ^ bool(scene.draw(0, 2))
    step, pixel = np.divmod(pixels, SIDE * SIDE)
    time = step * STEP_US + random.randint(STEP_US, size=len(pixels), dtype=np.int64)
    return _sorted_by_time(_joined(Events(time, pixel % SIDE, pixel // SIDE, brighter.astype(np.int64)), _noise(scene)))


def _covered(hand: Hand) -> npt.NDArray[np.bool_]:
    """Which pixels lie inside the ellipse: [STEPS + 1, SIDE, SIDE], row by row between two columns."""
    middle = (_UNIT * np.arange(SIDE, dtype=np.int64) + _UNIT // 2)[None]
    tall, wide = hand.tall[:, None], hand.wide[:, None]
    room = tall**2 - (middle - hand.y[:, None]) ** 2
    half = np.sqrt(np.maximum(room, 0) * wide**2 // tall**2).astype(np.int16)  # IEEE's root is exact here
    half[room < 0] = -1
    away = np.abs(middle - hand.x[:, None]).astype(np.int16)
    inside: npt.NDArray[np.bool_] = away[:, None, :] <= half[:, :, None]
    return inside


def _noise(scene: Scene) -> Events:
    """Events of no cause, everywhere, and of a few pixels that never rest."""
    count, hot = scene.draw(1000, 3000), scene.draw(50, 150) * _HOT_PIXELS
    draw: Any = scene.random.randint
    x, y, p = (draw(high, size=count + hot, dtype=np.int64) for high in (SIDE, SIDE, 2))
    for column in (x, y):
        column[count:] = np.resize(column[:_HOT_PIXELS], hot)
    return Events(draw(STEPS * STEP_US, size=count + hot, dtype=np.int64), x, y, p)


def _joined(first: Events, second: Events) -> Events:
    return Events(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))


def _sorted_by_time(events: Events) -> Events:
    order = np.argsort(events.t, kind="stable")
    return Events(*(column[order] for column in events))
