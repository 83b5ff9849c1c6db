"""`make audit`: the pinned packages beside the published weaknesses, by pip-audit (`pip install .[audit]`).

    python pipelines/audit.py requirements.lock

No weakness is one thing, and not having looked another: where pip-audit is missing or its data base is not reached,
that is said, and is no failure.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer


def weaknesses(report: dict[str, Any]) -> list[str]:
    """A line for each weakness that pip-audit reports."""
    return [
        f"{package['name']} {package['version']}: {each['id']}, mended in {', '.join(each['fix_versions']) or 'none'}"
        for package in report["dependencies"]
        for each in package.get("vulns", [])
    ]


def main(lock: Annotated[Path, typer.Argument(help="The file of exact pins.")] = Path("requirements.lock")) -> None:
    """Print known weaknesses of the pinned packages; the exit code is 1 where there is one."""
    if find_spec("pip_audit") is None:
        typer.echo("not looked: pip-audit is not installed (pip install .[audit])")
        return
    options = [
        "--requirement",
        str(lock),
        "--no-deps",
        "--disable-pip",
        "--progress-spinner",
        "off",
        "--format",
        "json",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
        found = weaknesses(report)
    except (ValueError, KeyError, TypeError):
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        typer.echo(f"not looked: pip-audit did not get through ({reason:.300})")
        return
    skipped = [package["name"] for package in report["dependencies"] if "skip_reason" in package]
    looked = len(report["dependencies"]) - len(skipped)
    typer.echo("\n".join([*found, f"{looked} packages looked up, {len(found)} weaknesses"]))
    if skipped:
        typer.echo(f"not looked up, as the data base did not know them: {len(skipped)}, {', '.join(skipped)[:300]}")
    raise typer.Exit(1 if found else 0)


if __name__ == "__main__":
    typer.run(main)
