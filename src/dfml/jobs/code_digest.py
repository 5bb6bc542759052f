"""A digest of the code a module runs, so that the workflow sees changes in the package.

Only the standard library is used: this runs whenever the workflow is parsed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from dfml.errors import DfmlError


def code_digest(module: str, package_root: Path) -> str:
    """Return the hexadecimal SHA-256 of a module and of all it imports from its package.

    Comments, docstrings and layout do not count. Followed are absolute and relative imports,
    also inside functions, `from package import module`, and `import_module` of a literal name;
    imports under `if TYPE_CHECKING:` are not, since they never run.

    Args:
        module: Dotted name, such as `dfml.zoo.stage`.
        package_root: The package's folder, such as `src/dfml`.

    Raises DfmlError if there is no such module.
    """
    root = Path(package_root).absolute()
    if _find(module, root) is None:
        raise DfmlError(f"no module {module} in {root}; check the name given to code_digest")
    return _digest([module], root, {})


def file_digest(file: Path, package_root: Path | None) -> str:
    """Return the digest of a Python file outside the package and of all it imports from the package and beside it.

    What counts is the same as for :func:`code_digest`, also in modules and packages of the file's own folder. Without
    ``package_root`` the package does not count. Raises OSError and SyntaxError as reading and parsing does.
    """
    status = file.stat()
    own, imports = _read("", file, status.st_mtime_ns, status.st_size)
    root = None if package_root is None else Path(package_root).absolute()
    return _digest(imports, root, {"": own}, beside=file.parent)


def missing_imports(file: Path, package_root: Path) -> Iterator[str]:
    """Modules that a file outside the package imports when it is run, and that are nowhere: `name in file`.

    Looked through are the file and what it imports from its own folder; imports in functions or below a condition may
    never run. Raises OSError and SyntaxError as reading and parsing does.
    """
    root = Path(package_root).absolute()
    waiting, seen = [file], set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for statement in ast.parse(path.read_bytes(), filename=str(path)).body:
            named = [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
            if isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
                named = [statement.module]
            for name in named:
                found = _find(name, root, file.parent)
                first = name.partition(".")[0]
                if found is not None:
                    waiting += [found] if first != root.name else []
                elif first == root.name or not (file.parent.joinpath(first).is_dir() or _is_installed(first)):
                    yield f"{name} in {path.name}"


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module without a description of where it is from, such as __main__
        return True


def _digest(names: Iterable[str], root: Path | None, found: dict[str, str], beside: Path | None = None) -> str:
    """Of the modules with these names, of what they import, and of what was found before."""
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found or (path := _find(name, root, beside)) is None:
            continue
        status = path.stat()
        found[name], imports = _read(name, path, status.st_mtime_ns, status.st_size)
        # Importing a module runs the packages around it first.
        waiting += [name.rpartition(".")[0], *imports]
    listing = "".join(f"{name} {found[name]}\n" for name in sorted(found))
    return hashlib.sha256(listing.encode()).hexdigest()


def _find(name: str, root: Path | None, beside: Path | None = None) -> Path | None:
    """The file of a module: of the package, or else in the folder `beside`."""
    folder = root.parent if root is not None and name.partition(".")[0] == root.name else beside
    if folder is None or not name:
        return None
    base = folder.joinpath(*name.split("."))
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


@cache
def _read(name: str, path: Path, mtime_ns: int, size: int) -> tuple[str, tuple[str, ...]]:
    """Return a file's own digest and the names it may import (the last two keys void the memo)."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports = tuple(dict.fromkeys(_imports(tree, package)))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [statement for statement in body if not _is_text(statement)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports


def _is_text(node: ast.AST) -> bool:
    """Whether the statement is a bare string: a docstring, or one below an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the dotted names that may be modules; `package` is where relative imports start."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and _last_name(node.func) == "import_module":
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value


def _base(node: ast.ImportFrom, package: str) -> str:
    """Return the absolute name of what stands between `from` and `import`."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    above = parts[: len(parts) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)


def _last_name(node: ast.expr) -> str | None:
    """Return `c` for `a.b.c` and for `c`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None
