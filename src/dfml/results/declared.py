"""Files of declarations, such as `docs/claims.yaml`, by closed models, with a line for each fault. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dfml.errors import ConfigError
from dfml.files.yaml_files import read_yaml
from dfml.settings import DisagreementError, Section, nearest

Declared = TypeVar("Declared", bound=Section)


def read_declared(path: Path, model: type[Declared], *, parts: Sequence[type[Section]]) -> Declared:
    """Read and check a YAML file as ``model``; ``parts`` are the models inside it, whose keys a misspelt one may mean.

    Raises:
        ConfigError: the file cannot be read or a value is wrong; one line each, with file and key.
    """
    try:
        return model.model_validate(read_yaml(path))
    except ValidationError as error:
        models: list[type[Section]] = [model, *parts]
        keys = sorted({key for part in models for key in part.model_fields})
        lines = [line for detail in _causes(error) for line in _explain(detail, keys)]
    raise ConfigError("\n".join(f"{path}: {line}" for line in lines))


def _causes(error: ValidationError) -> list[Any]:
    """What pydantic found, but for a list that it calls too short because of what is wrong inside."""
    details = error.errors(include_url=False)
    places = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if not any(place[: len(detail["loc"])] == detail["loc"] != place for place in places)
    ]


def _explain(detail: Any, keys: Sequence[str]) -> Iterator[str]:
    """Pydantic's finding as ``key: what is wrong``."""
    key = ".".join(str(part) for part in detail["loc"])
    fault = detail.get("ctx", {}).get("error")
    if isinstance(fault, DisagreementError):
        yield from (f"{f'{key}.' if key else ''}{problem.key}: {problem.message}" for problem in fault.problems)
    elif fault is not None:
        yield f"{key}: {fault}"
    elif detail["type"] == "extra_forbidden":
        meant = nearest(str(detail["loc"][-1]), keys)
        yield f"{key}: unknown key" + (f"; did you mean `{meant}`?" if meant else "")
    else:
        yield f"{key or 'the file'}: {detail['msg'].lower()}"
