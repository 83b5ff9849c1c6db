"""The paper's notation for structures ("128C3-MP2-256C3-AP4-10Voting") read into tokens; no torch."""

import re
from dataclasses import dataclass
from typing import Literal

from bpsta_cli.errors import StructureError, did_you_mean

Kind = Literal["conv", "max-pool", "avg-pool", "fc", "dropout", "voting", "neurons", "input"]

NAMED = {
    # Shen, Zhao and Zeng 2022, "Results": MNIST; CIFAR10, CIFAR100 and N-MNIST; DVS-Gesture and DVS-CIFAR10 (64 x 64)
    "small": "128C3-MP2-128C3-256C3-MP2-2048FC-DP-10Voting",
    "middle": "128C3-MP2-128C3-MP2-256C3-MP2-512C3-AP4-512FC-10Voting",
    "large": "128C3-128C3-MP2-128C3-MP2-256C3-MP2-512C3-MP2-1024C3-AP4-DP-1024FC-10Voting",
    # Wu et al. 2018: fully connected (784-800-10, 34x34x2-800-10) and convolutional
    "mlp": "{inputs}-800-{classes}",
    "cnn-stbp": "15C5-P2-40C5-P2-300-{classes}",
}
"""Named structures; {inputs} and {classes} stand for the data set's own numbers."""

RESIDUAL = {
    # He et al. 2016, Table 1: residual blocks in each of the four stages (`bpsta_cli.network.resnet`)
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
}
"""Named structures that the notation cannot spell out."""

_TOKENS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"([0-9]{1,9})C([0-9]{1,9})"), "conv"),
    (re.compile(r"MP([0-9]{1,9})"), "max-pool"),
    (re.compile(r"A?P([0-9]{1,9})"), "avg-pool"),
    (re.compile(r"([0-9]{1,9})FC"), "fc"),
    (re.compile(r"DP"), "dropout"),
    (re.compile(r"([0-9]{1,9})Voting"), "voting"),
    (re.compile(r"([0-9]{1,9})x([0-9]{1,9})x([0-9]{1,9})"), "input"),
    (re.compile(r"([0-9]{1,9})"), "neurons"),
)
MOST_TOKENS = 1000
"""Of a structure: the deepest one that was published in this notation has 14."""
GRAMMAR = "nCk, MPk, APk, nFC, DP, nVoting, or a number of neurons"


@dataclass(frozen=True)
class Token:
    """One word of a structure: what it is, its numbers, and where it stands for error messages."""

    kind: Kind
    numbers: tuple[int, ...]
    text: str
    place: str


def names() -> tuple[str, ...]:
    """Every structure that has a name of its own."""
    return (*NAMED, *RESIDUAL)


def parse(structure: str, *, inputs: int, classes: int) -> list[Token]:
    """Read a structure, named or spelt out, into tokens.

    Args:
        structure: a key of `NAMED` or the notation: nCk is a convolution of n filters k x k, MPk and APk
            (or Pk) max and average pooling, nFC or n a layer of n neurons, DP neuron dropout, nVoting
            an output of n neurons a class whose votes are averaged.
        inputs: number of values in one input, for {inputs}.
        classes: number of classes, for {classes}.

    Raises:
        StructureError: a token that is not of the language, or an output that is missing or misplaced.
    """
    text = NAMED[structure].format(inputs=inputs, classes=classes) if structure in NAMED else structure
    if text.count("-") >= MOST_TOKENS:
        raise StructureError(
            "the structure is too long",
            expected=f"at most {MOST_TOKENS:,} tokens",
            got=f"{text.count('-') + 1:,}",
            todo="Leave some out.",
        )
    tokens = [_token(word, place, structure) for word, place in _words(text)]
    last = tokens[-1]
    if last.kind not in ("voting", "neurons"):
        raise StructureError(
            "structure without an output",
            expected="nVoting or a number of neurons as the last token",
            got=f"{last.text!r} ({last.place})",
            todo="End the structure with 10Voting.",
        )
    for token in tokens[:-1]:
        if token.kind == "voting":
            raise StructureError(
                "output before the end",
                expected="nVoting as the last token",
                got=f"{token.text!r} ({token.place})",
                todo="Remove it or what follows it.",
            )
    return tokens


def _words(text: str) -> list[tuple[str, str]]:
    words, at = [], 0
    for count, word in enumerate(text.split("-"), start=1):
        words.append((word, f"token {count}, character {at + 1}"))
        at += len(word) + 1
    return words


def _token(word: str, place: str, structure: str) -> Token:
    for pattern, kind in _TOKENS:
        match = pattern.fullmatch(word)
        if match:
            numbers = tuple(int(number) for number in match.groups())
            if 0 in numbers:
                break
            return Token(kind, numbers, word, place)
    raise StructureError(
        f"cannot read the structure {structure!r}",
        expected=f"{GRAMMAR} (numbers from 1), or a name: {', '.join(names())}",
        got=f"{word!r} ({place})",
        todo=did_you_mean(structure, names(), otherwise="Correct that token."),
    )
