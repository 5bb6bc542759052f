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
    except SystemExit:
        raise DfmlError(
            f"{key}: `{file}` ends the process when it is imported; put what it does as a script below "
            '`if __name__ == "__main__":`'
        ) from None
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
    if str(place) in sys.path:  # inside another such block, or importable anyway
        yield
        return
    own = _beside.setdefault(place, {})
    sys.modules.update(own)
    known = set(sys.modules) - set(own)
    sys.path.insert(0, str(place))
    try:
        yield
    finally:
        sys.path.remove(str(place))
        for name in set(sys.modules) - known:
            if _lies_in(place, name):
                own[name] = sys.modules.pop(name)


def _lies_in(folder: Path, module: str) -> bool:
    """Whether a module is a file or a package of this folder, and not of an environment somewhere below it."""
    where, first = getattr(sys.modules[module], "__file__", None), module.partition(".")[0]
    if where is None or first == "dfml" or not Path(where).is_relative_to(folder):
        return False
    return Path(where).relative_to(folder).parts[0] in (first, f"{first}.py")


def said(error: BaseException) -> str:
    """Kind and text of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
