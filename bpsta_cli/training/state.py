"""The training state: all that an unfinished run needs to go on as if it had never stopped, also within an epoch.

Tensors have the names network/NAME, selected/NAME (the weights chosen so far), optimiser/NAME/exp_avg and the like,
and within/... (the sums of the epoch that is under way); `State` is the rest. Everything is checked before use.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from bpsta_cli.checksums import DamagedError
from bpsta_cli.training.epoch import Learner, Sums
from bpsta_cli.training.optimisers import STATE as OPTIMISER_STATE
from bpsta_cli.training.tensor_files import Header

Weights = dict[str, Tensor]
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.uint8: "U8"}

TENSOR = "(tensor)"


@dataclass
class Progress:
    """How far a run is, beside the learner's state.

    Attributes:
        epoch: how many epochs are done.
        history: their records.
        seconds: how long each took.
        best: the highest value so far in the selection's column; -1 before there is one.
        best_epoch: the epoch of that value; -1 before there is one.
        selected: its weights, in the host's memory; None before there is one.
        within: what the epoch under way has added up; None between epochs.
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best: float = -1.0
    best_epoch: int = -1
    selected: Weights | None = None
    within: Sums | None = None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Within(_Strict):
    """What of `Sums` is no tensor."""

    step: int = Field(ge=1)
    loss_sum: float
    last: float
    rate: float
    correct: int = Field(ge=0)
    seconds: float = Field(ge=0)
    monitor: dict[str, Any]
    random: dict[str, Any]


class State(_Strict):
    """What of the training state is no tensor.

    Attributes:
        format: version of the checkpoint's layout.
        run: the checksum of the run's settings.json: it belongs to this run alone.
        selected: whether the selected weights are there, or are those of the network.
    """

    format: Literal[1]
    run: str
    epoch: int = Field(ge=0)
    history: list[dict[str, Any]]
    seconds: list[float]
    best: float
    best_epoch: int = Field(ge=-1)
    selected: Literal["none", "network", "stored"]
    scaler: dict[str, float | int]
    within: Within | None


def gather(learner: Learner, progress: Progress, run: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the state, and the rest as JSON holds it; nothing is copied."""
    network = learner.network.state_dict()
    tensors = {f"network/{name}": tensor for name, tensor in network.items()}
    for name, values in _optimiser_state(learner).items():
        tensors |= {f"optimiser/{name}/{key}": value for key, value in values.items()}
    within = None
    if progress.within is not None:
        summed, within = _divided(progress.within.state_dict(), "within")
        tensors |= summed
    selected = "none"
    if progress.selected is not None:
        same = all(tensor.equal(network[name].cpu()) for name, tensor in progress.selected.items())
        selected = "network" if same else "stored"
        tensors |= {} if same else {f"selected/{name}": tensor for name, tensor in progress.selected.items()}
    return tensors, {
        "format": 1,
        "run": run,
        "epoch": progress.epoch,
        "history": progress.history,
        "seconds": progress.seconds,
        "best": progress.best,
        "best_epoch": progress.best_epoch,
        "selected": selected,
        "scaler": learner.scaler.state_dict(),
        "within": within,
    }


def apply(learner: Learner, steps: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Progress:
    """Put a state into the learner, and return how far it is; nothing is changed where it cannot be used.

    Args:
        learner: at the start of a run of the same settings.
        steps: steps of an epoch.
        tensors: their names and shapes are those of `check_header`.
        state: what of it is no tensor.

    Raises:
        DamagedError: it is no state of such a run.
    """
    settings = learner.settings
    try:
        found = State.model_validate(state)
        within = None
        if found.within is not None:
            within = Sums.of_state_dict(_joined(found.within.model_dump(), tensors, "within"))
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        raise DamagedError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (KeyError, TypeError, ValueError) as wrong:
        raise DamagedError(f"sums of an epoch that are none ({wrong})") from None
    _check_numbers(found, settings.data.epochs, steps)
    _check_scaler(found, learner)
    selected = _part(tensors, "selected") if found.selected == "stored" else None
    if found.selected == "network":
        selected = {name: tensor.clone() for name, tensor in _part(tensors, "network").items()}
    learner.network.load_state_dict(_part(tensors, "network"))
    _load_optimiser(learner, _part(tensors, "optimiser"))
    if learner.scaler.is_enabled():
        learner.scaler.load_state_dict(found.scaler)
    return Progress(
        found.epoch, found.history, found.seconds, found.best, found.best_epoch, selected=selected, within=within
    )


def check_header(header: Header, learner: Learner) -> None:
    """Hold a checkpoint's tensors against those of the learner, before any of them is read.

    Raises:
        DamagedError: another name, shape or type, or one too few.
    """
    network = {name: _described(tensor) for name, tensor in learner.network.state_dict().items()}
    parameters = {name: _described(tensor) for name, tensor in learner.network.named_parameters()}
    found = {name: (header.shapes[name], header.dtypes[name]) for name in header.shapes}
    for part in ("network", "selected"):
        names = {name.removeprefix(f"{part}/") for name in found if name.startswith(f"{part}/")}
        if names != set(network) and (names or part == "network"):
            raise DamagedError(f"{part} lacks or adds {min(names ^ set(network))}")
    for name, what in found.items():
        part, _, rest = name.partition("/")
        owner, _, key = rest.rpartition("/")
        if part in ("network", "selected"):
            fits = what == network[rest]
        elif part == "optimiser":
            fits = owner in parameters and key in OPTIMISER_STATE and what in (parameters[owner], ((), "F32"))
        else:
            fits = part == "within" and (what[0] == () or rest.startswith("random/"))
        if not fits:
            raise DamagedError(f"{name} of shape {what[0]} and type {what[1]}")
    for owner in {name.removeprefix("optimiser/").rpartition("/")[0] for name in found if name.startswith("optimiser")}:
        for key in OPTIMISER_STATE:
            if f"optimiser/{owner}/{key}" not in found:
                raise DamagedError(f"no {key} of {owner}")


def _described(tensor: Tensor) -> tuple[tuple[int, ...], str]:
    return tuple(tensor.shape), DTYPES.get(tensor.dtype, str(tensor.dtype))


def _check_numbers(state: State, epochs: int, steps: int) -> None:
    done = state.epoch
    counted = len(state.history) == len(state.seconds) == done <= epochs and state.best_epoch < done
    numbered = [record.get("epoch") for record in state.history] == list(range(done))
    if not counted or not numbered or (state.selected != "none") != (state.best_epoch >= 0):
        raise DamagedError(f"epoch {done} of {epochs}, with {len(state.history)} records")
    if state.within is not None and (done == epochs or state.within.step > steps):
        raise DamagedError(f"step {state.within.step} of {steps} in epoch {done + 1} of {epochs}")


def _check_scaler(state: State, learner: Learner) -> None:
    wanted = set(learner.scaler.state_dict())
    if set(state.scaler) != wanted:
        raise DamagedError(f"a loss scale with {', '.join(sorted(state.scaler)) or 'nothing'}")


def _optimiser_state(learner: Learner) -> dict[str, dict[str, Tensor]]:
    """The optimiser's state by the names of the parameters."""
    names = {id(parameter): name for name, parameter in learner.network.named_parameters()}
    return {
        names[id(parameter)]: {
            key: value if isinstance(value, Tensor) else torch.tensor(float(value)) for key, value in values.items()
        }
        for parameter, values in learner.optimiser.state.items()
    }


def _load_optimiser(learner: Learner, tensors: dict[str, Tensor]) -> None:
    numbered = learner.optimiser.state_dict()
    names = {id(parameter): name for name, parameter in learner.network.named_parameters()}
    order = [names[id(parameter)] for group in learner.optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for number, name in enumerate(order):
        values = {key: tensors[f"{name}/{key}"] for key in OPTIMISER_STATE if f"{name}/{key}" in tensors}
        if values:
            state[number] = values
    learner.optimiser.load_state_dict({**numbered, "state": state})


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"{part}/"
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _divided(value: dict[str, Any], path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of nested dictionaries by their paths, and the rest, in which `TENSOR` keeps their places."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for key, each in value.items():
        if isinstance(each, Tensor):
            tensors[f"{path}/{key}"], rest[key] = each, TENSOR
        elif isinstance(each, dict):
            inner, rest[key] = _divided(each, f"{path}/{key}")
            tensors |= inner
        else:
            rest[key] = each
    return tensors, rest


def _joined(rest: dict[str, Any], tensors: dict[str, Tensor], path: str) -> dict[str, Any]:
    """What `_divided` divided, in the same order: that of the columns of history.csv."""
    joined: dict[str, Any] = {}
    for key, each in rest.items():
        if isinstance(each, dict):
            joined[key] = _joined(each, tensors, f"{path}/{key}")
        else:
            joined[key] = tensors[f"{path}/{key}"] if each == TENSOR else each
    return joined
