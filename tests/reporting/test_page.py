"""The page, opened in a real browser: headless Chromium at a laptop's and a phone's width."""

import contextlib
import dataclasses
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bpsta_cli.cli.main import run
from bpsta_cli.config import load_params
from bpsta_cli.errors import RunError
from bpsta_cli.reporting import write_report
from bpsta_cli.reporting.artifacts import Table
from bpsta_cli.reporting.collect import collect
from bpsta_cli.reporting.origin import Origin
from bpsta_cli.reporting.page import TIE, section, sentences, shown_table, with_notes_once, write_page

ROOT = Path(__file__).parents[2]
WIDTHS = {"laptop": (1366, 768), "phone": (390, 844)}
LETTERS = 10 * 4 / 3
"""Pixels of a picture's letters, 10 points, where it is as large as it was drawn."""
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The committed results, reported again in a folder of their own."""
    results = tmp_path_factory.mktemp("clone") / "results"
    shutil.copytree(ROOT / "results", results)
    return write_report(results, ROOT / "params.yaml")


@pytest.fixture(scope="module")
def page(report):
    return report.page.read_text(encoding="utf-8")


@contextlib.contextmanager
def browser(width, height, profile):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # a window is no narrower than 500 pixels: a phone is emulated
    options.add_experimental_option(
        "mobileEmulation", {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 1.0}}
    )
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and its chromedriver are not installed")
@pytest.mark.parametrize("screen", WIDTHS)
def test_a_browser_shows_every_table_and_picture_without_an_error(screen, report, tmp_path):
    pytest.importorskip("selenium")
    with browser(*WIDTHS[screen], tmp_path / "profile") as driver:
        driver.get(report.page.as_uri())
        top, said = (
            driver.execute_script(f"return document.querySelector('{what}').getBoundingClientRect().{side}")
            for what, side in (("#claims table", "top"), (".finding", "bottom"))
        )
        driver.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")
        shown = driver.execute_script(
            """
            const box = element => element.getBoundingClientRect();
            return {
                width: window.innerWidth,
                content: document.documentElement.scrollWidth,
                tables: [...document.querySelectorAll("article.table")].map(a =>
                    [a.id, a.querySelectorAll("tbody tr").length, box(a.querySelector("table")).height]),
                pictures: [...document.querySelectorAll("article.figure")].map(a => {
                    const image = a.querySelector("img");
                    return [a.id, image.complete && image.naturalWidth, box(image).width, box(image).height,
                            image.naturalHeight / image.naturalWidth, box(image).width / image.naturalWidth]}),
                cut: [...document.querySelectorAll(".scroll")].filter(s => s.scrollWidth > s.clientWidth + 1).map(
                    s => s.closest("article").id),
                fetched: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
            }
            """
        )
        complaints = driver.get_log("browser")
    assert shown["width"] == WIDTHS[screen][0]
    assert shown["content"] <= shown["width"]  # nothing but a table's own frame scrolls sideways
    assert said < WIDTHS[screen][1], "the first screen says what was found"
    if screen == "laptop":
        assert not shown["cut"]
        assert top < WIDTHS[screen][1], "the first screen shows the claims"
    tables = {name: rows for name, rows, height in shown["tables"] if height > 0}
    assert tables.items() >= {table.name: len(table.display) for table in report.tables}.items()
    assert tables["provenance-table"] == len(report.provenance)
    assert tables["runs-table"] > 0
    assert {picture[0] for picture in shown["pictures"]} == {figure.name for figure in report.figures}
    for _, loaded, width, height, shape, scale in shown["pictures"]:
        assert loaded
        assert 0 < width <= shown["width"]
        assert height / width == pytest.approx(shape, rel=0.02)  # not squeezed
        assert scale * LETTERS > 9, "letters of a picture are no smaller than 9 pixels"
    assert not shown["fetched"]
    assert not complaints


def test_the_page_names_no_address_to_fetch_from_and_runs_no_script(page):
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert not re.findall(r"url\(|@import", page)


def test_every_value_of_every_table_stands_in_the_page(report, page):
    words = re.sub(r"<[^>]+>", "\n", page).replace("&#39;", "'").replace("&#34;", '"').replace("&amp;", "&")
    words = words.replace("&lt;", "<").replace("&gt;", ">").replace("\u00a0", " ")
    for table in report.tables:
        assert table.title in words
        for sentence in sentences(table.note):
            assert sentence in words
        for entry in table.display.astype(str).to_numpy().ravel():
            assert entry in words
    for figure in report.figures:
        for sentence in sentences(figure.caption):
            assert sentence in words


def test_a_line_ends_at_no_space_that_ties_a_number_to_what_it_is_of():
    tied = TIE.sub("_", "T = 8, p 0.02, Holm 1; p < 0.001; 98.1 ± 0.2 %, step 3")
    assert tied == "T_=_8, p_0.02, Holm 1; p_<_0.001; 98.1_±_0.2_%, step 3"


def test_what_was_found_stands_first_then_pictures_then_tables_that_fold(page):
    places = [page.index(f'id="{name}"') for name in ("claims", "figures", "tables", "more", "runs", "provenance")]
    assert places == sorted(places)
    for name in ("table-1", "table-5", "energy", "runs-table"):
        assert '<details class="whole">' in page[page.index(f'<article id="{name}"') :][:200]


def test_a_sentence_that_several_notes_share_stands_once_with_whose_it_is():
    shared = "Means are over seeds."
    part = section("tables", "Tables", "Tables", [])
    welch = "Also at p < 0.05 by Welch (1947)."
    part["artifacts"] = [{"title": f"Table {n}. Any", "note": f"{shared} Own of {n}. {welch}"} for n in (1, 2, 3)]
    part["artifacts"][2]["note"] = "Own of 3."
    found = with_notes_once(part)
    assert [each["note"] for each in found["artifacts"]] == ["Own of 1.", "Own of 2.", "Own of 3."]
    assert found["notes"] == [{"of": "Table 1, Table 2", "text": f"{shared} {welch}"}]


def test_rows_of_only_dashes_fold_away_and_say_how_many_they_are():
    display = pd.DataFrame({"data set": ["a", "b", "c"], "accuracy": ["1.0", "-", "-"], "rate": ["-", "-", "-"]})
    found = shown_table(Table("t", "T", "", display, display, ("data set",)))
    assert [row["cells"][0] for row in found["rows"]] == ["a"]
    (group,) = found["folded"]
    assert (group["label"], len(group["rows"])) == ("2 rows without a value, and why", 2)
    empty = shown_table(Table("t", "T", "", display[1:], display[1:], ("data set",)))
    assert (len(empty["rows"]), empty["folded"]) == (2, []), "a table is not emptied"


def test_no_result_on_a_stand_in_goes_by_the_name_of_what_it_stands_for(report):
    for table in report.tables:
        for _, row in table.display.astype(str).iterrows():
            if "a stand-in" in " ".join(row):
                name = row.get("data set", row.get("claim"))
                assert re.match(r"(digits|synthetic-\w+), in place of ", name), name


def test_a_stand_in_a_synthetic_set_a_dirty_tree_and_what_is_missing_are_said_before_any_number(report, tmp_path):
    runs = collect(report.page.parent, load_params(ROOT / "params.yaml")).runs[:2]
    runs[1].train["dataset"] = "synthetic-gestures"
    origin = Origin(
        runs,
        {"mnist": "digits", "dvs-gesture": "synthetic-gestures", "cifar10": "synthetic-speech"},
        ["cifar10-bpsa-T8-s0"],
        report.provenance.assign(commit="0123456789ab-dirty"),
    )
    write_page(tmp_path / "page.html", [], [], origin)
    page = (tmp_path / "page.html").read_text()
    header = page[: page.index("</header>")]
    assert "digits for MNIST" in header
    assert "synthetic-gestures for DVS" in header
    assert "synthetic-speech" not in header  # not run
    assert "synthetic-gestures: simulated, not recorded" in header
    assert "-dirty" in header
    assert "<li>not there: cifar10-bpsa-T8-s0</li>" in page


def test_the_same_results_give_the_same_page(report, page):
    again = write_report(report.page.parent, ROOT / "params.yaml")
    assert again.page.read_text(encoding="utf-8") == page


def test_a_picture_that_is_not_there_is_named(report, tmp_path):
    gone = dataclasses.replace(report.figures[0], files=(tmp_path / "gone.png", tmp_path / "gone.svg"))
    runs = collect(report.page.parent, load_params(ROOT / "params.yaml")).runs
    with pytest.raises(RunError, match=r"gone\.svg"):
        write_page(tmp_path / "page.html", [], [gone], Origin(runs, {}, [], report.provenance))
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("started", [True, False])
def test_open_shows_the_page_and_says_so_where_there_is_no_browser(started, report, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or started)
    run(["report", "--results", str(report.page.parent), "--params", str(ROOT / "params.yaml"), "--open"])
    assert opened == [report.page.as_uri()]
    assert ("no web browser" in capsys.readouterr().err) is not started
