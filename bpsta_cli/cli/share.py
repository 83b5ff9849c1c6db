"""`bpsta share`: a run with its model card, in its own folder, another one, or on the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from bpsta_cli.cli.options import Json
from bpsta_cli.cli.output import Output
from bpsta_cli.errors import SettingsError


def share(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's directory.", show_default=False)],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|hub:USER/NAME",
            help="Where the run goes: a folder, or a model repository of the Hugging Face Hub. (default: only the card "
            "is written, into RUN)",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license",
            help='Licence of the weights for the card, as the Hub spells it: "mit". (default: none is named)',
            show_default=False,
        ),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository of the Hub a private one.")] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace another run in the folder, or a README.md that is no model card."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a model card (README.md) of a run, and hand the run on: weights, settings, result and history.

    The card says what the run was trained on and how it was split, its accuracy with the seed, its firing rate, how to
    load it, and its energy where that lies in the run's directory: bpsta energy RUN --out RUN/energy.json. Whoever
    loads it (bpsta_cli.load, or bpsta eval hub:user/name) runs no code of it.
    """
    from bpsta_cli.sharing import share_to_folder, share_to_hub, write_card
    from bpsta_cli.sharing.folder import finished, paths_in
    from bpsta_cli.sharing.hub import PREFIX

    output = Output(as_json=as_json)
    on_hub = to is not None and to.startswith(PREFIX)
    if private and not on_hub:
        raise SettingsError(
            "nothing to keep private",
            expected="--private beside --to hub:USER/NAME",
            got=f"--to {to}" if to else "no --to",
            todo="Leave --private out.",
        )
    found = finished(run)
    if not found.measured("energy"):
        output.warn(f"the card has no energy: bpsta energy {run} --out {run / 'energy.json'} measures it")
    if to is not None and (named := paths_in(found)):
        output.warn(f"settings.json names paths of this machine: {', '.join(named)}")
    if to is None:
        written = str(write_card(found, licence=licence, overwrite=overwrite))
    elif on_hub:
        written = share_to_hub(found, to, licence=licence, private=private)
    else:
        written = str(share_to_folder(found, Path(to), licence=licence, overwrite=overwrite))
    output.say(f"Shared: {written}" if to else f"Written: {written}")
    output.result({"run": str(run), "to": to, "written": written})
