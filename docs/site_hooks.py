"""What mkdocs does not do by itself: pages from outside docs/, the tables of every experiment, and formulas.

The pages are written to be read in the repository, where links lead to any file. In the site README.md is the front
page, and every other file outside docs/ to which a page links lies below ``repository/``.
"""

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^()\s#]+)(?=[)#])")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_config(config: MkDocsConfig) -> None:
    """Add the tables that ``dfml publish`` has copied to the navigation, an experiment each."""
    (results,) = [part["Results"] for part in config.nav or [] if "Results" in part]
    folders = sorted(path for path in (ROOT / "docs" / "results").iterdir() if path.is_dir())
    results.append({"Tables": [{folder.name: _pages(folder)} for folder in folders]})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add what lies outside docs/: the front page, and all that pages link to, from page to page."""
    wanted = [*_named(config.nav), *(place for file in files for place in _targets(file))]
    for uri in wanted:  # which grows by what the pages that are added link to
        path = ROOT / _in_repository(uri)
        if files.get_file_from_path(uri) is None and path.is_file():
            added = File.generated(config, uri, abs_src_path=str(path))
            files.append(added)
            wanted += _targets(added)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links lead to where files are in the site; formulas in GitHub's two own forms become plain ones."""
    own = page.file.src_uri

    def placed(link: re.Match[str]) -> str:
        return posixpath.relpath(target(own, link[1]), posixpath.dirname(own) or ".")

    markdown = LINK.sub(placed, markdown)
    markdown = re.sub(r"\$`(.+?)`\$", r"$\1$", markdown)
    return re.sub(r"^```math\n(.*?)^```$", r"$$\n\1$$", markdown, flags=re.DOTALL | re.MULTILINE)


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Formulas become MathML, which browsers draw by themselves; Sphinx's roles in docstrings go."""

    def drawn(formula: re.Match[str]) -> str:
        try:
            return tex2mathml(html.unescape(formula[2]), as_block=formula[1] == "div")
        except MathError as error:
            raise PluginError(f"{page.file.src_uri}: {error} in the formula {formula[2]}") from None

    return re.sub(r":[a-z]+:(?=<code>)", "", FORMULA.sub(drawn, content))


def _pages(folder: Path) -> list[str]:
    """The pages of an experiment, what is told of it and the main table first."""
    names = {path.name: path.relative_to(ROOT / "docs").as_posix() for path in sorted(folder.glob("*.md"))}
    return [names.pop(name) for name in ("README.md", "main.md") if name in names] + [*names.values()]


def _named(nav: Any) -> list[str]:
    """Every path of a navigation."""
    if isinstance(nav, str):
        return [nav]
    return [path for part in (nav.values() if isinstance(nav, dict) else nav) for path in _named(part)]


def _targets(file: File) -> list[str]:
    """Where the links of a page lead in the site; of another file none."""
    if not file.is_documentation_page():
        return []
    return [target(file.src_uri, link) for link in LINK.findall(file.content_string)]


def target(page: str, link: str) -> str:
    """The place in the site of what ``page`` calls ``link``."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(_in_repository(page)), link))
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return path if path == "README.md" else f"repository/{path}"


def _in_repository(uri: str) -> str:
    """The path from the root of what lies at a place of the site."""
    return uri.removeprefix("repository/") if uri == "README.md" or uri.startswith("repository/") else f"docs/{uri}"
