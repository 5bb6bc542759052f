"""The base of every section of the configuration: closed, strict, immutable."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator


class Section(BaseModel):
    """A part of the configuration: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _complete_sections_from_their_defaults(cls, data: Any) -> Any:
        """Let a section of which some keys are given keep the others as they are when none is given.

        Without this, one key given in a section whose default is not its class's would change the others.
        """
        if not isinstance(data, Mapping):
            return data
        own = {
            name: field.default.model_dump(exclude_unset=True)
            for name, field in cls.model_fields.items()
            if isinstance(field.default, Section) and isinstance(data.get(name), Mapping)
        }
        return {**data, **{name: overlay(own[name], data[name]) for name in own}}


@dataclass(frozen=True)
class Problem:
    """Values that are right one by one but not together.

    Attributes:
        key: Dotted key to change, relative to the section that raises it.
        message: What is wrong, and the remedy.
        involves: Other keys the judgement rests on; it is void if one of them is wrong itself.
    """

    key: str
    message: str
    involves: tuple[str, ...] = ()


class DisagreementError(ValueError):
    """Raised by a section's validator with everything its values disagree on."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.key}: {problem.message}" for problem in self.problems))


class VariantError(ValueError):
    """Raised for wrong settings of variants: of each its name, the section that it changes, and pydantic's details."""

    def __init__(self, found: Iterable[tuple[str, str, list[Any]]]) -> None:
        self.found = tuple(found)
        super().__init__(f"wrong settings of {', '.join(name for name, _, _ in self.found)}")


Changed = TypeVar("Changed", bound=Section)


def changed(section: Changed, values: Mapping[str, Any]) -> Changed:
    """The section with ``values`` laid over what was given of it.

    Raises:
        ValidationError: the values are wrong.
    """
    if not values:
        return section
    return type(section).model_validate(overlay(section.model_dump(exclude_unset=True), values))


def overlay(base: Mapping[Any, Any], over: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merge nested mappings: sections key by key, any other value of ``over`` replaces that of ``base``."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping):
            merged[key] = overlay(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def distinct(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """Field validator of lists in which nothing may stand twice."""
    twice = sorted({str(value) for value in values or () if (values or ()).count(value) > 1})
    if twice:
        raise ValueError(f"lists {', '.join(twice)} more than once; remove the repetition")
    return values


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that ``name`` is most likely a slip of, if any is close."""
    return next(iter(get_close_matches(name, known, n=1, cutoff=0.6)), None)


def unknown(name: str, known: Collection[str]) -> str:
    """Say which names are known, and which of them may have been meant."""
    meant = nearest(name, known)
    guess = f"did you mean `{meant}`? " if meant else ""
    return f"{guess}known: {', '.join(f'`{one}`' for one in known)}"


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]

VariantName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*-[a-z0-9][a-z0-9_]*$")]
"""A method, a hyphen and what the variant is called."""

RowName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(-[a-z0-9][a-z0-9_]*)?$")]
"""A method or a variant of one."""

Access = Literal["logits", "gradients", "weights"]
"""What is given of a model: answers, their derivatives with respect to the images as well, or everything."""

ACCESS_LEVELS: tuple[Access, ...] = ("logits", "gradients", "weights")
