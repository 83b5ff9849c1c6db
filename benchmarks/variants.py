"""Every row of the tables, in order: which are asked for, installed, and compute what they should."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks import peers
from benchmarks.settings import Settings
from benchmarks.subjects import CONVOLUTIONS, OURS, TWIN, Convolutions, Project, Stepwise, Twin, Variant, with_rule
from bpsta_cli.errors import SettingsError
from bpsta_cli.network import Network

PROJECT = ("bpsta", "bpsa", "stbp")


class Chosen(NamedTuple):
    """What can be measured, and what is not here: name -> why."""

    variants: list[Variant]
    absent: dict[str, str]


def catalogue() -> list[Variant]:
    """All variants, installed or not."""
    assert OURS in PROJECT
    return [
        *(_project(method) for method in PROJECT),
        Variant(
            "bpsta-sparse",
            "bpsta, its convolutions sparse where few enough inputs are ones (convolution auto)",
            lambda network: _own(network, OURS, "auto"),
            {"method": OURS},
        ),
        Variant(
            "stepwise",
            "bpsta as published: autograd through a loop over T around the whole network, norm of each step",
            Stepwise,
            {"method": "bpsta", "norm": "per-step"},
        ),
        Variant(
            TWIN,
            "the ReLU twin: plain torch layers without neurons, channels_last, on T x batch images",
            Twin,
            {"method": "ann"},
        ),
        Variant(
            CONVOLUTIONS,
            "the convolutions and linear layers alone, channels_last, forward and backward; no votes to compare; "
            "the first one sees a static image once",
            Convolutions,
            checked=False,
        ),
        *peers.variants(),
    ]


def _project(method: str) -> Variant:
    return Variant(
        method,
        f"this package, rule {method}, its convolutions dense",
        lambda network: _own(network, method, "dense"),
        {"method": method},
    )


def _own(network: Network, method: str, convolution: str) -> Project:
    own = with_rule(network, method)
    own.convolution = convolution
    return Project(own)


def chosen(settings: Settings) -> Chosen:
    """What `settings.only` names (all where empty), divided into what is here and what is not.

    Raises:
        SettingsError: an unknown name.
    """
    known = {variant.name: variant for variant in catalogue()}
    if unknown := [name for name in settings.only if name not in known]:
        raise SettingsError(
            "unknown variant", expected=f"of {', '.join(known)}", got=", ".join(unknown), todo="Correct --only."
        )
    wanted = [variant for name, variant in known.items() if name in (settings.only or known)]
    absent = {v.name: why for v in wanted if v.package and (why := peers.absence(v.package))}
    return Chosen([variant for variant in wanted if variant.name not in absent], absent)
