"""Measured time: subjects that take turns; a network's latency and throughput beside its twin and early exit."""

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from bpsta_cli.data.encoding import to_input
from bpsta_cli.data.store import Store
from bpsta_cli.errors import SettingsError
from bpsta_cli.evaluation.accuracy import EVAL_BATCH, OnBatch, sample_count, sparse_shares
from bpsta_cli.evaluation.accuracy_over_time import require_spiking
from bpsta_cli.evaluation.early_exit import check_confidence
from bpsta_cli.evaluation.stepwise import Stepper, decide
from bpsta_cli.network import Network
from bpsta_cli.provenance import device_name

WARM_UP = 10
"""Turns of single decisions before the timed ones: caches fill, libraries choose their algorithms, processors raise
their clock."""
BATCH_WARM_UP = 2
"""The same of batches."""
BATCH_SHARE = 10
"""A batch is timed once for so many single decisions, and no fewer than `BATCH_TURNS` times."""
BATCH_TURNS = 5
QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}

Subjects = dict[str, Callable[[Tensor], object]]
Input = TypeVar("Input")


def time_in_turns(
    subjects: Mapping[str, Callable[[Input], object]],
    make_input: Callable[[int], Input],
    *,
    turns: int,
    warm_up: int,
    device: torch.device,
    on_turn: Callable[[int], None],
) -> dict[str, list[float]]:
    """Seconds that each subject takes in each turn; in a turn all subjects work on the same input.

    Each turn begins with another subject, so that what else the machine does falls on all of them alike, and a ratio
    of two times of one turn has little of it.

    Args:
        subjects: what is timed, by name.
        make_input: makes the input of a turn from the turn's number, outside of the timed part.
        turns: how many turns are timed.
        warm_up: how many turns come before them, which are not timed.
        device: where the subjects compute; a GPU is synchronised before and after each.
        on_turn: called after each turn, outside of the timed part, with the number of turns done.
    """
    names = list(subjects)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warm_up + turns):
        x = make_input(turn)
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            took = _seconds(subjects[name], x, device)
            if turn >= warm_up:
                seconds[name].append(took)
        on_turn(turn + 1)
    return seconds


def _seconds(subject: Callable[[Input], object], x: Input, device: torch.device) -> float:
    _synchronise(device)
    began = time.perf_counter()
    subject(x)
    _synchronise(device)
    return time.perf_counter() - began


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def measure_latency(
    network: Network,
    store: Store,
    *,
    T: int,
    device: torch.device,
    confidence: float | None = None,
    batch: int = EVAL_BATCH,
    repeats: int = 200,
    on_turn: OnBatch | None = None,
) -> dict[str, Any]:
    """Wall-clock time of decisions, input already in memory as floating-point numbers.

    The subjects are `spiking` (the whole pass of T steps), `twin` (the same layers and weights with the neurons
    left out; an image is processed once) and, with a `confidence`, `early_exit` (`stepwise.decide`). They take turns
    on the same samples (`time_in_turns`).

    Args:
        network: of a spiking method.
        store: prepared data; its test samples are taken in turn.
        T: time steps.
        device: where to compute; a GPU is synchronised around each timing.
        confidence: threshold of early exit; None leaves it out.
        batch: samples of the throughput measurement, at most the test part's.
        repeats: timed single decisions of each subject.
        on_turn: called, outside of the timed part, with how many turns are done, and of how many.

    Returns:
        device (in words), threads, T, convolution (`Network.convolution`), sparse_shares (the share of the images that
        each convolution of `spiking` computed as a sparse convolution); decision and throughput, each with its batch,
        repeats, for each subject the times and for each but `spiking` the median over turns of spiking time / its
        time: `spiking_over`.

    Raises:
        SettingsError: `batch` or `repeats` below 1, or `confidence` outside [0, 1].
        RunError: the network is a ReLU twin.
        DataError: the test part is empty.
    """
    for name, value in (("batch", batch), ("repeats", repeats)):
        if value < 1:
            raise SettingsError(
                "unusable option", expected=f"--{name} of at least 1", got=str(value), todo="Correct it."
            )
    subjects = _subjects(network, confidence)
    count = sample_count(store, store.split("test"))
    batch = min(batch, count)
    batch_repeats = max(BATCH_TURNS, repeats // BATCH_SHARE)
    total = WARM_UP + repeats + BATCH_WARM_UP + batch_repeats

    def sample(turn: int) -> Tensor:
        return _input(store, turn % count, 1, T, device)

    def many(turn: int) -> Tensor:
        return _input(store, turn * batch % (count - batch + 1), batch, T, device)

    def progress(before: int) -> Callable[[int], None]:
        return lambda done: on_turn(before + done, total) if on_turn else None

    def timed(make_input: Callable[[int], Tensor], turns: int, warm_up: int, before: int) -> dict[str, Tensor]:
        seconds = time_in_turns(
            subjects, make_input, turns=turns, warm_up=warm_up, device=device, on_turn=progress(before)
        )
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in seconds.items()}

    with sparse_shares(network) as shares:
        singles = timed(sample, repeats, WARM_UP, before=0)
        batches = timed(many, batch_repeats, BATCH_WARM_UP, before=WARM_UP + repeats)
    return {
        "device": device_name(device.type),
        "threads": torch.get_num_threads(),
        "T": T,
        "convolution": network.convolution,
        "sparse_shares": shares,
        "decision": {
            "batch": 1,
            "repeats": repeats,
            **{name: _quantiles(seconds) for name, seconds in singles.items()},
            "spiking_over": _ratios(singles),
        },
        "throughput": {
            "batch": batch,
            "repeats": batch_repeats,
            **{name: {"samples_per_second": batch / float(seconds.quantile(0.5))} for name, seconds in batches.items()},
            "spiking_over": _ratios(batches),
        },
    }


def _subjects(network: Network, confidence: float | None) -> Subjects:
    require_spiking(network)
    network.eval()
    twin = copy.deepcopy(network)
    twin.spiking, twin.convolution = False, "dense"
    subjects: Subjects = {"spiking": network, "twin": twin}
    if confidence is not None:
        check_confidence(confidence)
        stepper = Stepper(network)
        subjects["early_exit"] = lambda x: decide(stepper, x, confidence=confidence)
    return subjects


def _input(store: Store, start: int, count: int, T: int, device: torch.device) -> Tensor:
    return to_input(store.split("test").x[start : start + count], T=T, scale=store.scale, device=device)


def _quantiles(seconds: Tensor) -> dict[str, Any]:
    """The quantiles in milliseconds, and every time, from which distributions are drawn."""
    wanted = seconds.new_tensor(list(QUANTILES.values()))
    found = (seconds * 1000).quantile(wanted).tolist()
    return {
        **dict(zip(QUANTILES, found, strict=True)),
        "all_ms": [round(value * 1000, 4) for value in seconds.tolist()],
    }


def _ratios(seconds: dict[str, Tensor]) -> dict[str, float]:
    """Spiking time over each other subject's, the median of the turns' own ratios."""
    return {
        name: float((seconds["spiking"] / other).quantile(0.5)) for name, other in seconds.items() if name != "spiking"
    }
