"""The command line: parse, call the core, print. The only part that knows Typer and Rich."""

from bpsta_cli.cli.main import main

__all__ = ["main"]
