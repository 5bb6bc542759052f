"""What is committed belongs to no machine, names no package index and refers only to documents that exist."""

import re
import subprocess
from pathlib import Path

import pytest

from support.markdown import read_markdown
from support.repository import ROOT, committed_files, committed_texts

# Brackets keep these patterns from finding themselves.
MACHINE_PATH = re.compile(r"(?<![\w.:/~$}>*-])/(?:work|root|home|Users|mnt|scratch)/[\w.-]+")
INDEX = re.compile(
    r"(?:file|download|registry|mirror|index)s?[.][\w-]+[.](?:org|com|io|net)\b"
    r"|\b[p]ypi[.]|[p]ythonhosted|\b[a]naconda[.]|[n]pmjs[.]|--(?:extra-)?index-[u]rl|--find-[l]inks",
    re.IGNORECASE,
)
TRACE = re.compile(
    r"[c]laude|[a]nthropic|[c]hatgpt|[l]anguage model|\b[A]I[- ](?:assist|agent|generat)|\b[C]EO\b"
    r"|\b[w]orkplace\b|\b(?:this|another|earlier|previous|later) [s]ession\b|\b[s]ub-?agent",
    re.IGNORECASE,
)
DOCUMENT = re.compile(r"(?<![\w*{])(?:[\w.{}-]+/)*[\w-]+\.md\b")


def findings(pattern: re.Pattern[str], texts: dict[str, str]) -> list[str]:
    """Matches of a pattern, each with its file; texts that came with the embedded images are exempt."""
    return [
        f"{name}: {match.group()}"
        for name, text in texts.items()
        if not name.startswith("resources/embedded/") and name != "LICENSE"
        for match in pattern.finditer(text)
    ]


def unknown_documents(texts: dict[str, str]) -> list[str]:
    """Named Markdown files that are not committed; tables are made by a run, tests make up names."""
    known = {name.rsplit("/", 1)[-1] for name in texts}
    return [
        found
        for found in findings(DOCUMENT, texts)
        if not found.startswith("tests/") and "tables/" not in found and re.split("[ /]", found)[-1] not in known
    ]


def dead_links(texts: dict[str, str], root: Path) -> list[str]:
    """Relative links of Markdown files to what is not committed: it would be dead for whoever reads a clone."""
    files = {(root / name).resolve() for name in texts} | {path.resolve() for path in committed_files()}
    there = files | {folder for file in files for folder in file.parents}
    return [
        f"{name}: {link}"
        for name, text in texts.items()
        if name.endswith(".md")
        for _, link in read_markdown(text).links
        if (path := link.strip("<>").split("#")[0]) and not re.match(r"[a-z]+:", path)
        if ((root / name).parent / path).resolve() not in there
    ]


@pytest.mark.parametrize("pattern", [MACHINE_PATH, INDEX, TRACE], ids=["machine path", "package index", "trace"])
def test_committed_files_do_not_name(pattern):
    assert findings(pattern, committed_texts()) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"core.autocrlf": "true"},
        {"core.autocrlf": "false", "core.eol": "crlf"},
        {"core.autocrlf": "input"},
        {"core.attributesFile": "{folder}/attributes"},
        {"core.autocrlf": "true", "core.attributesFile": "{folder}/attributes"},
    ],
    ids="+".join,
)
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked archive is no clone")
def test_a_clone_has_the_same_bytes_whatever_git_is_told_of_ends_of_lines(tmp_path, settings):
    (tmp_path / "attributes").write_text("* text eol=crlf\n*.npz text\n")
    given = [word for key, value in settings.items() for word in ("-c", f"{key}={value.format(folder=tmp_path)}")]
    staged = [line.split(maxsplit=3) for line in git("ls-files", "-s").splitlines()]
    names = "".join(f"{name}\n" for *_, name in staged)
    git(*given, "checkout-index", "--stdin", f"--prefix={tmp_path}/clone/", text=names)
    paths = "".join(f"{tmp_path}/clone/{name}\n" for *_, name in staged)
    kept = git("hash-object", "--no-filters", "--stdin-paths", text=paths).split()
    assert [name for (_, blob, _, name), own in zip(staged, kept, strict=True) if own != blob] == []


def git(*arguments: str, text: str = "") -> str:
    """What git says in the repository."""
    command = ["git", "-C", str(ROOT), "-c", "core.quotePath=false", *arguments]
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout


def test_no_relative_link_is_dead():
    assert dead_links(committed_texts(), ROOT) == []


def test_a_dead_link_is_found(tmp_path):
    good = "[a](b.md) [b](b.md#x) [c](#y) [d](https://x.org/z) [e](../docs) ![f](<b.md>)"
    texts = {"docs/a.md": f"{good} [g](<../c/record.json>) ![h](i.png)", "docs/b.md": "", "n.py": "[x](y.md)"}
    assert dead_links(texts, tmp_path) == ["docs/a.md: <../c/record.json>", "docs/a.md: i.png"]


def test_named_documents_exist():
    assert unknown_documents(committed_texts()) == []


@pytest.mark.parametrize(
    ("pattern", "bad"),
    [
        (MACHINE_PATH, "path: /home" + "/someone/images"),
        (MACHINE_PATH, "'/work" + "/tree'"),
        (INDEX, "https://files" + ".example.org/simple"),
        (INDEX, "--extra-index" + "-url x"),
        (TRACE, "as said in an earlier " + "session"),
    ],
)
def test_pattern_finds(pattern, bad):
    assert findings(pattern, {"notes.py": f"x = 1  # {bad}\n"})


def test_patterns_pass_what_is_right():
    text = "~/home/images {root}/work/x https://json-schema.org/draft a fixture of scope session, the main thing"
    assert [findings(pattern, {"a.py": text}) for pattern in (MACHINE_PATH, INDEX, TRACE)] == [[], [], []]


def test_an_unknown_document_is_found():
    texts = {
        "README.md": "see config/README.md",
        "config/README.md": "",
        "src/a.py": "tables/main.md, plan.md §3",
    }
    assert unknown_documents(texts) == ["src/a.py: plan.md"]
