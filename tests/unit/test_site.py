"""The documentation as a site: how pages are placed, what a strict build refuses, and that it needs no network."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.repository import ROOT

spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site_hooks.py")
hooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hooks)

CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def build(folder: Path, *arguments: str) -> str:
    """What a strict build complains of, a line each; "" where all is well."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", *arguments]  # --quiet would count no warning
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    said = "".join(line for line in done.stderr.splitlines(keepends=True) if not line.startswith("INFO"))
    assert done.returncode == bool(said), done
    return said


@pytest.fixture
def small(tmp_path) -> Path:
    """A repository of two pages and a file, with the hooks and settings of this one but for its Python pages."""
    texts = {
        "README.md": "# Front\n[one](docs/one.md#part), [file](config/a.yaml), [notes](NOTES.md)\n",
        "NOTES.md": "# Notes\n[back](docs/one.md)\n",
        "config/a.yaml": "a: 1\n",
        "docs/one.md": "# One\n## Part\n[front](../README.md) $`a < b`$\n\n```math\nx^2\n```\n",
        "docs/results/demo/main.md": "**Table**\n",
        "docs/site_hooks.py": (ROOT / "docs/site_hooks.py").read_text(encoding="utf-8"),
        "docs/site.css": "",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    nav = ["README.md", {"Results": ["one.md"]}, "repository/NOTES.md"]
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(CONFIG | {"nav": nav, "plugins": []}), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("page", "link", "place"),
    [
        ("README.md", "docs/method.md", "method.md"),
        ("README.md", "config/README.md", "repository/config/README.md"),
        ("methods/heads.md", "../method.md", "method.md"),
        ("methods/heads.md", "../../README.md", "README.md"),
        ("results/README.md", "../../config/studies/speed.yaml", "repository/config/studies/speed.yaml"),
        ("repository/config/README.md", "../docs/claims.md", "claims.md"),
        ("repository/CHANGELOG.md", "README.md", "README.md"),
    ],
)
def test_links_lead_to_where_files_are_in_the_site(page, link, place):
    assert hooks.target(page, link) == place


def test_pages_from_all_over_the_repository_are_joined(small):
    assert build(small) == ""
    front = (small / "site/index.html").read_text(encoding="utf-8")
    assert 'href="one.html#part"' in front and 'href="repository/config/a.yaml"' in front
    assert 'href="results/demo/main.html"' in front  # the tables are in the navigation
    assert (small / "site/repository/config/a.yaml").read_text() == "a: 1\n"
    assert 'href="../one.html"' in (small / "site/repository/NOTES.html").read_text(encoding="utf-8")


def test_formulas_of_all_forms_are_mathml(small):
    (small / "docs/one.md").write_text(
        "# One\n## Part\n$`a < b`$ $c$\n\n```math\nx^2\n```\n\n$$y^2$$\n", encoding="utf-8"
    )
    assert build(small) == ""
    page = (small / "site/one.html").read_text(encoding="utf-8")
    assert page.count("<math") == 4 and page.count('display="block"') == 2 and "&lt;" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# One\n", "one.md#part"),
        ("# One\n## Part\n[x](two.md)\n", "two.md"),
        ("# One\n## Part\n[x](../config/b.yaml)\n", "config/b.yaml"),
        ("# One\n## Part\n[x](#elsewhere)\n", "#elsewhere"),
        ("# One\n## Part\n$\\nonsense$\n", "one.md: Unknown LaTeX command"),
    ],
    ids=["anchor", "page", "file", "own anchor", "formula"],
)
def test_what_leads_nowhere_is_refused(small, text, said):
    (small / "docs/one.md").write_text(text, encoding="utf-8")
    assert said in build(small)


def test_a_page_outside_the_navigation_is_refused(small):
    (small / "docs/orphan.md").write_text("# Orphan\n", encoding="utf-8")
    assert "orphan.md" in build(small)


@pytest.mark.slow
def test_the_site_is_whole_and_needs_no_network(tmp_path):
    assert build(ROOT, "--site-dir", str(tmp_path)) == ""
    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")
    }
    navigation = pages["index.html"]
    made = {"404.html", "search.html"}
    assert [name for name in pages.keys() - made if f'href="{name}"' not in navigation and name != "index.html"] == []
    loaded = {
        address
        for text in pages.values()
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", text)
        for address in re.findall(r'(?:src|href)="((?:https?:)?//[^"]+)', tag)
    }
    styles = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.css"))
    assert loaded == set() and not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", styles)
    text = re.sub(r"<pre.*?</pre>|<code.*?</code>|<[^>]+>", " ", "\n".join(pages.values()), flags=re.DOTALL)
    assert not re.findall(r":(?:func|meth|class|mod):|\\\(|\$[\\`]", text)
    for name in ("dfml.use.learner.load", "dfml.use.classifier.AdaptedClassifier.export"):
        assert f'id="{name}"' in pages["api/use.html"]
    for name in ("dfml.methods.base.Context", "dfml.zoo.pool.Pool.best"):
        assert f'id="{name}"' in pages["api/authors.html"]
