"""Tables under `<!-- results/FILE.md -->`, or one of docs/study, are that file's, with no row of a group left out."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHOWN = re.compile(r"<!-- ((?:results|docs/study)/\S+\.md) -->\n\n((?:\|.*\n)+)")
PAGES = ("README.md", "docs/energy.md", "docs/findings.md", "docs/latency.md", "docs/rules.md")


def cells(text):
    """The rows of a Markdown table as dictionaries of text."""
    header, _, *rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|"))
    return [dict(zip(header, row, strict=True)) for row in rows]


def group(row):
    return next(row[name] for name in ("dataset", "data set", "data", "method") if name in row), row.get("T")


@pytest.mark.parametrize("page", PAGES)
def test_a_table_that_a_page_shows_is_that_of_the_committed_results(page):
    shown = SHOWN.findall((ROOT / page).read_text())
    assert shown, f"{page} shows no table under <!-- results/FILE.md --> or <!-- docs/study/FILE.md -->"
    for file, text in shown:
        # from git's index: a user's own `make repro` may have rewritten the files
        show = ["git", "show", f":{file}"]
        committed = cells(subprocess.run(show, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
        table = cells(text)
        groups = {group(row) for row in table}
        assert table == [{name: row[name] for name in table[0]} for row in committed if group(row) in groups], file
