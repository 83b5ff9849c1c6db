"""`python -m bpsta_cli` is `bpsta`."""

from bpsta_cli.cli import main

main()
