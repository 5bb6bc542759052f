"""What exists in the repository: files, rules, config keys, modules, names."""

import ast
import builtins
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from dfml.catalogue import section_key
from dfml.config.root import changed_beside

FILE = re.compile(
    r"[\w*{}.,-]+\.(?:csv|html|json|lock|log|md|npz|png|py|rst|safetensors|sh|smk|svg|tex|toml|tsv|ya?ml)"
)
MADE = ("results/", "logs/")  # by a run
LOCAL = (".venv/", ".uv/", ".snakemake/", ".git/")  # by run.sh, snakemake, git
ELSEWHERE = ("~", "path/to/", "<", "{")  # the reader's own


@dataclass(frozen=True)
class Existing:
    """A repository's root and the JSON schema of its configuration, and what can be read from them."""

    root: Path
    schema: dict[str, Any]

    @cached_property
    def workflow(self) -> str:
        """Text of the Snakefile and every file of rules."""
        files = [self.root / "workflow" / "Snakefile", *sorted((self.root / "workflow").rglob("*.smk"))]
        return "\n".join(path.read_text(encoding="utf-8") for path in files if path.exists())

    @cached_property
    def rules(self) -> frozenset[str]:
        """Names of the rules."""
        return frozenset(re.findall(r"^\s*(?:rule|checkpoint) (\w+):", self.workflow, re.MULTILINE))

    @cached_property
    def source(self) -> dict[str, ast.Module]:
        """The package's modules and the workflow's scripts, parsed, by path from the root."""
        files = [*(self.root / "src").rglob("*.py"), *(self.root / "workflow" / "scripts").glob("*.py")]
        return {path.relative_to(self.root).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in files}

    @cached_property
    def code_names(self) -> frozenset[str]:
        """What the code defines, and the strings in it (columns, choices, subcommands, stems of files)."""
        names = {part for path in self.source for part in Path(path).with_suffix("").parts}
        for node in (node for tree in self.source.values() for node in ast.walk(tree)):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                    names.add(name)
                case ast.Name(id=name, ctx=ast.Store()) | ast.Constant(value=str(name)):
                    names.add(name)
        return frozenset(names)

    @cached_property
    def project(self) -> dict[str, Any]:
        """pyproject.toml."""
        return tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))

    @cached_property
    def markers(self) -> frozenset[str]:
        """Markers of the tests."""
        markers = self.project["tool"]["pytest"]["ini_options"]["markers"]
        return frozenset(marker.split(":")[0] for marker in markers)

    @cached_property
    def words(self) -> frozenset[str]:
        """Words that mean something here: in the configuration, the rules, the code, the dependencies."""
        project = self.project["project"]
        asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
        packages = {re.split(r"[<>=!~\[; ]", text)[0] for text in asked}
        values = {
            value
            for node in _nodes(self.schema)
            for value in (*node.get("enum", ()), node.get("const"), node.get("default"), node.get("type"))
            if isinstance(value, str)
        }
        configurations = (self.root / "config").glob("*.yaml")
        given = {name for path in configurations for name in re.findall(r"[\w-]+", path.read_text(encoding="utf-8"))}
        words = self.rules | self.keys | self.code_names | self.markers | packages | values | given
        return words | {"true", "false", "null", *dir(builtins)}

    @cached_property
    def keys(self) -> frozenset[str]:
        """Every key of the configuration, at any depth."""
        return frozenset(key for node in _nodes(self.schema) for key in node.get("properties", ()))

    def unknown_keys(self, content: Any) -> list[str]:
        """Dotted keys of a configuration that do not exist; names of one's own are taken as they come."""
        return list(self._unknown_keys(content, self.schema, ""))

    def has_key(self, dotted: str) -> bool:
        """Whether the configuration has a key such as ``zoo.models``."""
        content: Any = None
        for part in reversed(dotted.split(".")):
            content = {part: content}
        return not self.unknown_keys(content)

    def has_module(self, dotted: str) -> bool:
        """Whether the package has a module, or a name in a module, such as ``dfml.errors.DfmlError``."""
        module, _, name = dotted.rpartition(".")
        return self._module(dotted) is not None or name in _defined(self._module(module))

    def missing(self, path: str) -> list[str]:
        """What is wrong with a path; {a,b} stands for both, {name}, <name> and * for anything."""
        path = path.removeprefix("./")
        if path.startswith((*LOCAL, *ELSEWHERE)):
            return []
        problems = []
        for alternative in _alternatives(path):
            pattern = re.sub(r"\{\w+\}|<\w+>", "*", alternative)
            if pattern.startswith(MADE):
                known = all(self._is_made(part) for part in pattern.rstrip("/").split("/")[1:])
            elif "/" not in pattern and FILE.fullmatch(pattern):
                known = self.is_there(pattern) or self._is_made(pattern) or self.is_there(f"[!.]*/**/{pattern}")
            else:
                known = self.is_there(pattern)
            if not known:
                problems.append(f"no such path: {alternative}")
        return problems

    def is_there(self, pattern: str) -> bool:
        """Whether a path or a glob from the root finds something."""
        return any(self.root.glob(pattern.rstrip("/")))

    def _is_made(self, part: str) -> bool:
        """Whether one part of a result's path is known to the rules or the code that make it."""
        stem = part.split(".")[0]
        if re.fullmatch(r"seed(\d+|\*)|(\d+|\*)shot|\*+(\.\w+)?", part):
            return True
        in_rules = re.search(rf"/{re.escape(stem)}\b", self.workflow) is not None
        return in_rules or part in self.words or stem in self.code_names | self.rules

    def _module(self, dotted: str) -> ast.Module | None:
        stem = "src/" + dotted.replace(".", "/")
        return self.source.get(f"{stem}.py", self.source.get(f"{stem}/__init__.py"))

    def _unknown_keys(self, content: Any, node: dict[str, Any], above: str) -> Iterator[str]:
        options = list(self._options(node))
        for key, value in content.items() if isinstance(content, dict) else ():
            following = [found for option in options for found in _below(option, key)]
            if above == "variants.":
                sections = self.schema["properties"]
                beside = {name: sections[name] for name in changed_beside(key)}
                following = [{"properties": beside}, *(sections[own] for own in [section_key(key)] if own)]
            if following:
                yield from self._unknown_keys(value, {"anyOf": following}, f"{above}{key}.")
            else:
                yield f"{above}{key}"

    def _options(self, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A schema node and every node it may stand for."""
        yield node
        if "$ref" in node:
            yield from self._options(self.schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
        for option in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
            yield from self._options(option)


def _below(node: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """The schema of one key of a schema node: its own, or the one for names of any kind."""
    if key in node.get("properties", {}):
        yield node["properties"][key]
    yield from (found for pattern, found in node.get("patternProperties", {}).items() if re.search(pattern, key))
    if isinstance(node.get("additionalProperties"), dict):
        yield node["additionalProperties"]


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(child)


def _defined(tree: ast.Module | None) -> set[str]:
    """Names a module defines or imports, also under TYPE_CHECKING."""
    names: set[str] = set()
    body = tree.body if tree else []
    for node in (*body, *(inner for outer in body if isinstance(outer, ast.If) for inner in outer.body)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name for alias in aliases}
    return names


def _alternatives(path: str) -> list[str]:
    """`a.{csv,md}` as `a.csv` and `a.md`."""
    pieces = re.split(r"\{([^{}]*,[^{}]*)\}", path)
    choices = [piece.split(",") if n % 2 else [piece] for n, piece in enumerate(pieces)]
    return ["".join(choice) for choice in product(*choices)]
