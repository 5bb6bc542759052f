"""Python files of the user's own, outside the package: how one is run, and what lies beside it imported."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from dfml.errors import DfmlError


def load_file(file: Path, *, key: str) -> ModuleType:
    """Run a Python file and return it as a module; it may import what lies in its folder.

    Args:
        file: which.
        key: of the configuration, by which messages name it; files of different keys are different modules.

    Raises:
        DfmlError: it is no Python file, or running it fails.
    """
    name = f"dfml_{key.replace('.', '_')}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise DfmlError(f"{key}: `{file}` is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up there
    try:
        with importable(file.parent):
            spec.loader.exec_module(module)
    except DfmlError:
        raise
    except Exception as error:
        raise DfmlError(f"{key}: `{file}` cannot be imported ({said(error)})") from error
    return module


_beside: dict[Path, dict[str, ModuleType]] = {}
"""What was imported from each folder so far."""


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let modules of a folder be imported, as those beside a script are.

    Outside of it they are unknown again, so that files of two folders may each have a `blocks.py` beside them.
    """
    place = folder.absolute()
    own = _beside.setdefault(place, {})
    sys.modules.update(own)
    known = set(sys.modules) - set(own)
    sys.path.insert(0, str(place))
    try:
        yield
    finally:
        sys.path.remove(str(place))
        for name in set(sys.modules) - known:
            where = getattr(sys.modules[name], "__file__", None)
            lies_there = where is not None and Path(where).is_relative_to(place)
            if lies_there and name.partition(".")[0] != "dfml":  # for a file beside this package
                own[name] = sys.modules.pop(name)


def said(error: Exception) -> str:
    """Kind and text of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
