"""The documents name tests, commands and files that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "equations.md").read_text(encoding="utf-8"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACES = re.compile(r"`([\w.-]+(?:/[\w.-]*)*)(?:::([\w.]+))?`")
"""`path` or `path::name` in a page."""
SUFFIXES = (".py", ".txt", ".toml", ".yaml", ".csv", ".md", ".lock")


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_a_test_that_pins_an_equation_is_there(file, test):
    assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_between_pages_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    for link in links:
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link


def places(page):
    """What a page names of this repository: (path, name in it or nothing)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return {(path, name) for path, name in PLACES.findall(text) if "/" in path or path.endswith(SUFFIXES)}


@pytest.mark.parametrize("page", ["docs/glossary.md", "CONTRIBUTING.md"])
def test_every_place_that_a_page_names_is_there(page):
    found = places(page)
    assert len(found) > 20
    for path, name in found:
        assert (ROOT / path).exists(), path
        for part in filter(None, name.split(".")):
            defined = rf"^\s*(?:(?:def|class) {part}\b|\"?{part}\"?\s*[:=])"
            assert re.search(defined, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), f"{path}::{name}"


def test_the_glossary_has_each_term_once_with_its_place():
    rows = re.findall(r"^\| (.+) \| (.+) \| `(.+)` \|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    terms = [term for title, _, _ in rows for term in title.split(", ")]
    assert len(rows) > 60
    assert len(set(terms)) == len(terms)
    assert all(meaning.endswith(".") for _, meaning, _ in rows)


def test_the_tree_has_every_folder_and_module_of_the_package():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = text.partition("## Where things live\n\n")[2].partition("\n\n")[0]
    drawn, above = set(), dict[int, Path]()
    for line in block.splitlines():
        depth = len(line) - len(line.lstrip())
        above[depth] = above.get(depth - 2, Path()) / line.split()[0]
        drawn.add(above[depth])
    assert [str(path) for path in sorted(drawn) if not (ROOT / path).exists()] == []
    package = {path for path in (ROOT / "bpsta_cli").iterdir() if not path.name.startswith(("_", "py.typed"))}
    assert [path.name for path in sorted(package) if path.relative_to(ROOT) not in drawn] == []
