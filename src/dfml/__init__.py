"""Data-free meta-learning. For users of a learner: :func:`load`, :func:`load_classifier`, :func:`register_networks`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfml.networks.custom import register_networks as register_networks
    from dfml.use.classifier import load_classifier as load_classifier
    from dfml.use.learner import load as load

# By name only: importing the package costs no torch, and the code behind these names is not taken for a part of every
# job, all of which run this file (dfml.jobs.code_digest).
_HOMES = {
    "load": "dfml.use.learner",
    "load_classifier": "dfml.use.classifier",
    "register_networks": "dfml.networks.custom",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
