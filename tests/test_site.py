"""The site is built from the pages where they lie, its numbers are the code's, and workflows and citation are valid."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import bpsta_cli

ROOT = Path(__file__).parent.parent
EXPLAINED = (ROOT / "docs/rules-explained.md").read_text(encoding="utf-8")


def build(site):
    """`mkdocs build --strict`: any link that leads nowhere, and any name that has no docstring page, is an error."""
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(package, reason="extra `docs`")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_site_is_built_strictly_with_every_page_and_what_it_links_to(tmp_path):
    built = build(tmp_path)
    assert built.returncode == 0, built.stderr[-2000:]
    for page in ("index.html", "CONTRIBUTING.html", "docs/rules.html", "bpsta_cli/kernels/index.html"):
        assert (tmp_path / page).is_file()
    assert (tmp_path / "docs/pictures/rules.png").is_file()
    assert (tmp_path / "bpsta_cli/reporting/literature.csv").is_file()
    reference = (tmp_path / "docs/reference.html").read_text(encoding="utf-8")
    named = re.findall(r"^::: (\S+)", (ROOT / "docs/reference.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in named if f'id="{name}"' not in reference] == []


def test_every_page_of_docs_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f": docs/{page.name}\n" not in navigation] == []


def test_the_numbers_of_the_rules_explained_are_what_the_neuron_gives():
    spec = importlib.util.spec_from_file_location("rules_picture", ROOT / "docs/pictures/rules.py")
    picture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture)
    rows = [
        [float(cell) for cell in row.split("|")] for row in re.findall(r"^\| (\d \|.*) \|$", EXPLAINED, re.MULTILINE)
    ]
    table = torch.tensor(rows[::-1], dtype=torch.float64)
    assert len(table) == len(picture.CURRENT)
    for column, rule in enumerate(("stbp", "bpsa", "bpsta"), 3):
        o, error = picture.spikes_and_error(rule)
        torch.testing.assert_close(table[:, 2], o)
        torch.testing.assert_close(table[:, column], error, atol=5e-4, rtol=0)


def test_workflows_and_forms_are_yaml_that_names_what_is_there():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    files = sorted((ROOT / ".github").rglob("*.yml"))
    assert {file.stem for file in files} >= {"tests", "docs", "wheels", "bug", "question"}
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert isinstance(yaml.safe_load(text), dict)
        assert set(re.findall(r"run: make (\w+)", text)) <= targets


def test_actionlint_finds_nothing_in_the_workflows():
    if (actionlint := shutil.which("actionlint")) is None:
        pytest.skip("actionlint is not on the PATH")
    workflows = sorted(map(str, (ROOT / ".github/workflows").glob("*.yml")))
    checked = subprocess.run([actionlint, *workflows], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_citation_has_the_version_of_the_package_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == bpsta_cli.__version__
    assert [each["doi"] for each in citation["references"]] == ["10.1016/j.patter.2022.100522"]
