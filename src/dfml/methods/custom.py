"""Methods of the user's own: a file that the key `custom_methods` names, with a function ``fit``."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfml.errors import DfmlError
from dfml.methods.base import Context, Fitted

EXPECTED = "it needs a function `fit(context)` that returns a dfml.methods.base.Fitted"


def load_fit(method: str, file: Path) -> Callable[[Context], Fitted]:
    """The function ``fit`` of a file outside the package; what it returns is checked.

    Raises:
        DfmlError: the file cannot be run, or has no such function.
    """
    name = f"dfml_custom_{method}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise DfmlError(f"custom_methods.{method}: `{file}` is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up there
    try:
        with _importable(file.parent):
            spec.loader.exec_module(module)
    except DfmlError:
        raise
    except Exception as error:
        raise DfmlError(
            f"custom_methods.{method}: `{file}` cannot be imported ({type(error).__name__}: {error})"
        ) from error
    fit: Any = getattr(module, "fit", None)
    if not callable(fit):
        raise DfmlError(f"custom_methods.{method}: `{file}` has no function `fit`; {EXPECTED}")

    def checked(context: Context) -> Fitted:
        with _importable(file.parent):  # a function may import, too
            fitted = fit(context)
        if not isinstance(fitted, Fitted):
            raise DfmlError(f"custom_methods.{method}: `fit` of `{file}` returned {type(fitted).__name__}; {EXPECTED}")
        return fitted

    return checked


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let modules of a folder be imported, as those beside a script are."""
    place = str(folder.absolute())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)
