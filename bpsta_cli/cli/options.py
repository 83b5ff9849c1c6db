"""Options that several commands share, with their help; settings are described by their schema."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel

from bpsta_cli import config


def setting(model: type[BaseModel], name: str, *flags: str, default: str | None = None) -> Any:
    """A Typer option whose help is the schema's own words and default.

    Args:
        model: the settings class.
        name: its field.
        flags: the option's names; `--name` by default.
        default: words for the default where the schema has none.
    """
    field = model.model_fields[name]
    shown = default if default is not None else ("none" if field.default is None else str(field.default).lower())
    text = (field.description or "").replace("; none:", "; none means")
    names = flags or (f"--{name.replace('_', '-')}",)
    return typer.Option(
        *names,
        help=f"{text[:1].upper()}{text[1:]}. (default: {shown})",
        show_default=False,
        metavar="|".join(get_args(field.annotation)) if get_origin(field.annotation) is Literal else None,
    )


def settle(where: str, model: type[config.Model], base: dict[str, Any], **given: Any) -> config.Model:
    """`base` with the options that were given, checked."""
    return config.validate(
        model, base | {name: value for name, value in given.items() if value is not None}, where=where
    )


def _dataset_names() -> list[str]:
    from bpsta_cli.data import catalogue

    return list(catalogue.names())


def _method_names() -> list[str]:
    from bpsta_cli import rules

    return [*rules.names(), rules.TWIN]


DatasetName = Annotated[
    str | None,
    typer.Option(
        help="Which data set; bpsta prepare --list shows them all.", show_default=False, autocompletion=_dataset_names
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        help="Learning rule: stbp, bpsa, bpsta, a file with a rule of your own; or ann, the ReLU twin. "
        "(default: bpsta)",
        show_default=False,
        autocompletion=_method_names,
    ),
]
Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Run directories that bpsta train wrote.", show_default=False),
]
Samples = Annotated[
    int | None,
    typer.Option(help="Use only the first so many test samples. (default: all)", show_default=False),
]
Device = Annotated[str, typer.Option(help="Where to compute: auto (a GPU if there is one), cpu, cuda or cuda:N.")]
Threads = Annotated[
    int | None,
    typer.Option(help="CPU threads; results may differ in the last digits. (default: torch's)", show_default=False),
]
Convolution = Annotated[
    str,
    typer.Option(
        help="How convolutions are computed: dense; sparse, skipping zeros wherever the input is spikes; auto, sparse "
        "where few are ones. The last two add in another order.",
    ),
]
DataDir = Annotated[Path, typer.Option(help="Folder of raw and prepared data.")]
Source = Annotated[
    Path | None,
    typer.Option(
        help="Folder of an existing copy of the raw files, read where it lies. (default: download)",
        show_default=False,
    ),
]
ParamsFile = Annotated[
    Path | None,
    typer.Option(
        "--params",
        help="Take the settings from this params.yaml; options override it. (default: no file)",
        show_default=False,
    ),
]
RunName = Annotated[
    str | None,
    typer.Option(
        "--run",
        help="The run of this name in --params: its data set, settings, method, T and seed. (default: none)",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Also write the JSON object to this file. (default: no file)", show_default=False),
]
