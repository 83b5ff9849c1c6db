"""The site shows the pages where they lie in the repository: mkdocs alone takes one folder, with no link out of it.

Every page that mkdocs.yml names, and every file that a page links to, goes into the site under its path in the
repository. So a link is the same in the repository and on the site, and one that leads nowhere fails a strict build.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
"""Words, path and anchor of a link."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """What the site holds: the pages of the navigation, what they link to, and the theme's own files."""
    kept = [file for file in files if not (ROOT / "docs" / file.src_uri).is_file()]
    for path in reachable([*pages_of(config.nav or []), *map(str, config.extra_css)]):
        kept.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return Files(kept)


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Without links to folders, which no site can show, and with a line before a list, which the renderer needs."""
    folder = (ROOT / page.file.src_uri).parent
    shown = LINK.sub(lambda link: link[1] if (folder / link[2]).is_dir() else link[0], markdown)
    return with_line_before_lists(shown)


def pages_of(nav: Any) -> Iterator[str]:
    """The paths that a navigation names, at whatever depth."""
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(each)


def reachable(pages: Iterable[str]) -> list[str]:
    """These files of the repository and those that they link to, and so on; paths from the root, sorted."""
    found: set[str] = set()
    waiting = list(pages)
    while waiting:
        path = waiting.pop()
        if path in found or not (ROOT / path).is_file():
            continue  # of one that is not there mkdocs tells where it is named
        found.add(path)
        if path.endswith(".md"):
            waiting += links_of(ROOT / path)
    return sorted(found)


def links_of(page: Path) -> Iterator[str]:
    """Files of the repository that a page links to; paths from the root."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for _, path, _ in LINK.findall(text):
        target = (page.parent / path).resolve()
        if "://" not in path and target.is_relative_to(ROOT):
            yield target.relative_to(ROOT).as_posix()


def with_line_before_lists(markdown: str) -> str:
    """With an empty line between a paragraph and a list that follows it at once, outside of code."""
    lines: list[str] = []
    code = False
    for line in markdown.splitlines():
        code ^= line.lstrip().startswith("```")
        starts = re.match(r"(?:[-*]|1\.) ", line)
        if starts and not code and lines and re.match(r"[^\s#|>*-]", lines[-1]) and not re.match(r"\d+\. ", lines[-1]):
            lines.append("")
        lines.append(line)
    return "\n".join(lines) + "\n"
