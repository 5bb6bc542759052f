"""What is said of a learner that diverged: running it again would give the same bits."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dfml.errors import DfmlError
from dfml.methods.base import Context


def check_learner(
    context: Context, states: Iterable[Mapping[str, Tensor]], iteration: int, keys: str | None = None
) -> None:
    """Wait for the device; raises DfmlError if a weight of the encoders' ``states`` is not finite.

    The message names the method, the ``iteration`` at which it is seen, and which ``keys`` to lower: by default all
    rates of the method's section.
    """
    weights = [tensor for state in states for tensor in state.values() if tensor.is_floating_point()]
    if weights and not bool(torch.stack([weight.isfinite().all() for weight in weights]).all()):
        raise DfmlError(
            f"{context.method}: the learner diverged, its weights are not finite at iteration {iteration}; "
            f"{remedy(context, keys)}"
        )


def remedy(context: Context, keys: str | None = None) -> str:
    """Which ``keys`` to lower, by default all rates of the method's section.

    What that is called only the catalogue knows, on which no learner depends.
    """
    if keys:
        return f"lower {keys}"
    rates = list(_rates("", context.options))
    if not rates:
        return "it has no learning rate of its own: look at the models that it is made of, or at its code"
    where = f"`variants.{context.method}`" if "-" in context.method else f"the section of `{context.method}`"
    return f"lower {' or '.join(rates)} in {where}"


def _rates(key: str, values: Mapping[str, Any]) -> Iterator[str]:
    """The learning rates of a section, or of one in it whose keys begin with ``key``, each with its value."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _rates(f"{key}{name}.", value)
        elif name.endswith("_rate") and value is not None:
            yield f"`{key}{name}` ({value:g})"
