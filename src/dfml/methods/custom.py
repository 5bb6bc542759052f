"""Methods of the user's own: a file that the key `custom_methods` names, with a function ``fit``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dfml.errors import DfmlError
from dfml.files.user_code import importable, load_file
from dfml.methods.base import Context, Fitted

EXPECTED = "it needs a function `fit(context)` that returns a dfml.methods.base.Fitted"


def load_fit(method: str, file: Path) -> Callable[[Context], Fitted]:
    """The function ``fit`` of a file outside the package; what it returns is checked.

    Raises:
        DfmlError: the file cannot be run, or has no such function.
    """
    key = f"custom_methods.{method}"
    fit: Any = getattr(load_file(file, key=key), "fit", None)
    if not callable(fit):
        raise DfmlError(f"{key}: `{file}` has no function `fit`; {EXPECTED}")

    def checked(context: Context) -> Fitted:
        with importable(file.parent):  # a function may import, too
            fitted = fit(context)
        if not isinstance(fitted, Fitted):
            raise DfmlError(f"{key}: `fit` of `{file}` returned {type(fitted).__name__}; {EXPECTED}")
        return fitted

    return checked
