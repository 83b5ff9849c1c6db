"""`bpsta doctor`: what runs here, what does not, and how to mend it."""

from dataclasses import asdict

import typer

from bpsta_cli.cli.options import NO_FOLDER, DataDir, Json
from bpsta_cli.cli.output import Output
from bpsta_cli.errors import shortened

CANNOT_TRAIN = 1


def doctor(data_dir: DataDir = NO_FOLDER, as_json: Json = False) -> None:
    """Say what runs here, which kernels, what is missing and the one thing to do about it.

    The exit code is 1 where something is broken without which nothing can be trained, and 0 otherwise.
    """
    from bpsta_cli import __version__, diagnosis

    output = Output(as_json=as_json)
    found = []
    for each in diagnosis.findings(data_dir):
        found.append(each)
        output.say(f"{each.state:6}  {each.name}: {shortened(each.found)}")
        if each.mend:
            output.say(f"        -> {shortened(each.mend)}")
    broken = [each.name for each in found if each.state == diagnosis.BROKEN]
    output.result({"version": __version__, "usable": not broken, "findings": [asdict(each) for each in found]})
    if broken:
        raise typer.Exit(CANNOT_TRAIN)
