"""Who imports whom in a package, read from its source without importing it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One imported module; `at_import` is false inside functions and under TYPE_CHECKING."""

    importer: str
    imported: str
    line: int
    at_import: bool


@dataclass(frozen=True)
class Package:
    """Modules of a package by dotted name, and every import they make."""

    name: str
    modules: dict[str, Path]
    imports: tuple[Import, ...]

    @classmethod
    def read(cls, folder: Path) -> "Package":
        """Parse every .py file below ``folder``, whose name is the package's."""
        modules = {}
        for path in sorted(folder.rglob("*.py")):
            parts = (folder.name, *path.relative_to(folder).with_suffix("").parts)
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        imports = [
            found
            for module, path in modules.items()
            for found in read_imports(
                path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py", known=modules
            )
        ]
        return cls(folder.name, modules, tuple(imports))

    def room(self, module: str) -> str:
        """The part of the package a module belongs to: the name after the first dot, or ""."""
        return module.split(".")[1] if "." in module else ""

    def internal(self) -> Iterator[Import]:
        """Imports of this package's own modules."""
        for found in self.imports:
            if found.imported.split(".")[0] == self.name:
                yield found

    def loads(self, module: str) -> dict[str, tuple[str, ...]]:
        """Everything that importing ``module`` imports with it, each with the chain that leads there.

        A module's parent packages are run as well, so their imports count.
        """
        chains: dict[str, tuple[str, ...]] = {}
        waiting = [(module, (module,))]
        while waiting:
            name, chain = waiting.pop()
            parents = [name.rsplit(".", n)[0] for n in range(name.count(".") + 1)]
            for loaded in parents:
                if loaded in chains:
                    continue
                chains[loaded] = chain
                waiting += [
                    (found.imported, (*chain, found.imported))
                    for found in self.imports
                    if found.importer == loaded and found.at_import
                ]
        return chains


def read_imports(source: str, module: str, *, is_package: bool, known: dict[str, Path]) -> Iterator[Import]:
    """Imports in one source text; `from package import name` is an import of ``package.name`` if known."""

    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno, at_import)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield Import(module, full if full in known else base, node.lineno, at_import)
        for child in ast.iter_child_nodes(node):
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _is_type_checking(node)
            yield from visit(child, at_import and not inside)

    yield from visit(ast.parse(source), True)


def cycle(edges: dict[str, set[str]]) -> list[str] | None:
    """One cycle of a directed graph as a list that ends where it starts, or None."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        for following in sorted(edges.get(node, ())):
            if found := walk(following, [*path, node]):
                return found
        done.add(node)
        return None

    for node in sorted(edges):
        if found := walk(node, []):
            return found
    return None


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*base, node.module] if node.module else base)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
