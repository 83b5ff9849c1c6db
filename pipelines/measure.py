"""`bpsta eval`, `energy` and `latency` of one run, in one process: loading torch takes longer than they do.

    python pipelines/measure.py RUN

RUN is the name of a line of params.yaml.
"""

import sys

from bpsta_cli.cli.main import run


def commands(name: str) -> list[list[str]]:
    """The three command lines; clocks are left out, so that the results are the same bytes every time."""
    directory = f"results/train/{name}"
    return [
        ["eval", directory, "--out", f"results/eval/{name}.json"],
        ["energy", directory, "--out", f"results/energy/{name}.json"],
        ["latency", directory, "--no-clock", "--out", f"results/latency/{name}.json"],
    ]


if __name__ == "__main__":
    for arguments in commands(sys.argv[1]):
        print(f"> bpsta {' '.join(arguments)}", flush=True)  # noqa: T201 - a script
        if code := run(arguments):
            sys.exit(code)
