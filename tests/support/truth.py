"""Does what a document names exist? Its inline code, code blocks and links, held against the repository."""

import ast
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml

from dfml.zoo.imported.card import ModelCard, ZooCard
from support.existing import FILE, Existing
from support.markdown import Block, read_markdown

PATH = re.compile(r"[A-Za-z.~<{*_][\w.{}<>*,~+-]*(?:/[\w.{}<>*,+-]*)+")
NAME = re.compile(r"[A-Za-z_]\w*")
SHELL = frozenset({"bash", "cd", "cp", "export", "git", "mkdir", "nvidia-smi", "sh", "source"})
INSTALLERS = frozenset({"conda", "mamba", "pip", "python", "python3", "uv"})
TOOLS = frozenset({"dfml", "dvc", "mkdocs", "mypy", "pre-commit", "pytest", "ruff", "snakefmt", "snakemake"})
PROGRAMS = SHELL | INSTALLERS | TOOLS
RESOURCES = frozenset({"gpu", "mem_mb", "runtime"})
# Options that are followed by one of snakemake's own words.
SNAKEMAKE_VALUES = frozenset({"--rulegraph", "--dag", "--executor", "-e", "--rerun-triggers", "--quiet"})


def problems(existing: Existing, text: str, folder: Path) -> list[str]:
    """Everything a Markdown text in ``folder`` names that does not exist, as "line N: what"."""
    document = read_markdown(text)
    beside = {code for _, code in document.codes if PATH.fullmatch(code) and (folder / code).exists()}
    codes = [(line, code) for line, code in document.codes if code not in beside]
    found = [(line, problem) for line, code in codes for problem in check_code(existing, code)]
    found += [(block.line, problem) for block in document.blocks for problem in check_block(existing, block)]
    found += [(line, f"link to nothing: {link}") for line, link in document.links if not _leads(link, folder)]
    return [f"line {line}: {problem}" for line, problem in sorted(found)]


def commands_of(name: str, text: str) -> Iterator[tuple[int, str]]:
    """Lines that a reader would give to a shell: of a Markdown text, or of the comments of another one."""
    if name.endswith(".md"):
        document = read_markdown(text)
        lines = [*document.codes]
        for block in document.blocks:
            lines += [(block.line + n, line) for n, line in enumerate(block.text.splitlines(), 1)]
    else:
        lines = [(n, line.partition("#")[2]) for n, line in enumerate(text.splitlines(), 1)]
    for number, line in lines:
        start = re.match(r"\s*(?:\$ )?(?:[A-Z_]+=\S* )?(?:\./)?([\w.-]+) \S", line)
        if start and start.group(1) in PROGRAMS | {"run.sh"}:
            yield number, line


def unquoted(command: str) -> list[str]:
    """Signs outside quotes that zsh, or bash with `failglob`, takes for a pattern of file names."""
    bare = re.sub(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.|(?:^|\s)#.*|\s\[[A-Z].*""", "", command)
    return re.findall(r"[\[\]*?]|\{[^}\s]*(?:,|\.\.)[^}\s]*\}|(?<==)\{", bare)


def check_code(existing: Existing, code: str) -> Iterator[str]:
    """What inline code names: a command, a `key: value`, a path, a dotted or a plain name."""
    words = code.split()
    if len(words) > 1 and (words[0] in PROGRAMS or words[0].startswith("./")):
        yield from check_commands(existing, code)
    elif setting := re.fullmatch(r"([a-z_][\w.]*): .+", code):
        if setting.group(1) not in existing.keys and not existing.has_key(setting.group(1)):
            yield f"no config key {setting.group(1)}"
    elif len(words) > 1 or "://" in code:
        return
    elif PATH.fullmatch(code) or FILE.fullmatch(code):
        yield from existing.missing(code)
    elif re.fullmatch(r"[a-z_]\w*(\.[A-Za-z_]\w*)+", code):
        if not (existing.has_key(code) or existing.has_module(code) or is_of_torch(code)):
            yield f"no config key or module {code}"
    elif NAME.fullmatch(code) and not (code.isupper() or _is_known(existing, code)):
        yield f"nothing is called {code}"


def is_of_torch(dotted: str) -> bool:
    """Whether PyTorch has something of a name such as ``torch.export.save``, or ``nn.Linear`` as it is written."""
    first, *parts = dotted.split(".")
    found: Any = {"torch": torch, "nn": torch.nn}.get(first)
    for part in parts:
        found = getattr(found, part, None)
    return found is not None


def check_block(existing: Existing, block: Block) -> Iterator[str]:
    """What a code block names, by its language; in a block of another language only paths are looked at."""
    if block.language in {"sh", "bash", "shell"}:
        yield from check_commands(existing, block.text)
    elif block.language == "console":
        yield from check_commands(existing, "\n".join(re.findall(r"^\s*\$ (.+)$", block.text, re.MULTILINE)))
    elif block.language in {"yaml", "yml"}:
        yield from check_yaml(existing, block.text)
    elif block.language == "python":
        yield from check_python(existing, block.text)
    elif block.language != "bibtex":  # titles, which name nothing of ours
        for token in re.findall(r"(?<![\w/:.])[A-Za-z.][\w.{}*,-]*/[\w./{}*,-]*", block.text):
            yield from existing.missing(token.rstrip(".,"))


def check_yaml(existing: Existing, text: str) -> Iterator[str]:
    """Keys of a piece of configuration; a first line `# path` names the file, maybe of another kind."""
    named = re.match(r"\s*# ?(\S+\.ya?ml)\b", text)
    if named:
        yield from existing.missing(named.group(1))
    if named and not named.group(1).startswith("config/"):
        return
    content = yaml.safe_load(text)
    if isinstance(content, dict) and "models" in content:
        yield from (f"no key of a card: {key}" for key in content if key not in ZooCard.model_fields)
        every = (key for model in content["models"] for key in model)
        yield from (f"no key of a model's card: {key}" for key in every if key not in ModelCard.model_fields)
    elif isinstance(content, dict):
        yield from (f"no config key {key}" for key in existing.unknown_keys(content))
    else:
        yield "a YAML block without a key"


def check_python(existing: Existing, text: str) -> Iterator[str]:
    """Imports from this package."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (f"no {name}" for name in names if name.startswith("dfml") and not existing.has_module(name))


def check_commands(existing: Existing, text: str) -> Iterator[str]:
    """Programs of a piece of shell, and the rules, keys, markers and files among their arguments."""
    for line in text.replace("\\\n", " ").splitlines():
        command: list[str] = []
        words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=";&|")
        words.whitespace_split = True
        for word in [*words, ";"]:
            if set(word) <= set(";&|"):
                yield from _command(existing, command)
                command = []
            else:
                command.append(word)


def _command(existing: Existing, words: list[str]) -> Iterator[str]:
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words and words[0] == "./run.sh":
        yield from existing.missing("run.sh")
        words = words[1:]
    if words and words[0] == "env":
        yield from _command(existing, words[1:])
        return
    if not words or words[0].isupper():  # a placeholder such as COMMAND
        return
    command, *arguments = words
    files = [word for word in arguments if FILE.fullmatch(Path(word).name) and not re.match(r"/|\w+://", word)]
    for file in files:
        yield from existing.missing(re.sub(r"^\w+=", "", file))  # NAME=FILE
    others = [(before, word) for before, word in pairwise(words) if word not in files and not word.isupper()]
    if command in TOOLS:
        yield from _arguments(existing, command, others)
    elif "/" in command:
        yield from existing.missing(command)
    elif command not in PROGRAMS:
        yield f"unknown command {command}"


def _arguments(existing: Existing, command: str, others: list[tuple[str, str]]) -> Iterator[str]:
    """Problems of arguments that are no files, each given with the word before it."""
    for before, word in others:
        if command == "snakemake" and not re.match(r"-|\d+$|all$", word) and before not in SNAKEMAKE_VALUES:
            name, value = re.fullmatch(r"([^:=]+)(.*)", word).groups()
            if "/" in name:  # a value may be a path of the reader's own
                yield from existing.missing(word)
            elif name not in existing.rules | RESOURCES and not (value and existing.has_key(name)):
                yield f"no rule or config key {name}"
        elif command == "pytest" and before == "-m":
            names = set(re.findall(r"\w+", word)) - {"and", "or", "not"}
            yield from (f"no marker {name}" for name in sorted(names - existing.markers))
        elif command == "pytest" and "/" in word:
            yield from existing.missing(word.split("::")[0])
        elif command == "dfml" and (before == "dfml" or word.startswith("--")):
            name = word.split("=")[0]
            if name not in existing.code_names | {"--help"}:
                yield f"dfml knows no {name}"
        elif command == "dvc" and before == "dvc":
            yield from existing.missing("dvc.yaml")


def _is_known(existing: Existing, name: str) -> bool:
    return name in existing.words | PROGRAMS | RESOURCES or existing.is_there(name)


def _leads(link: str, folder: Path) -> bool:
    path = link.split("#")[0]
    return not path or "://" in path or path.startswith("mailto:") or (folder / path).exists()
