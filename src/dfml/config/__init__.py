"""Closed, typed configuration: the single source of defaults, schema and reference. Imports no torch.

Names are looked up when asked for: a module that imports one section does not import all the others, and so
does not depend on them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfml.config.data import DatasetSettings, LearnerSettings, NetworkSettings, PoolSettings
    from dfml.config.evaluation import EvaluationSettings, RuntimeSettings
    from dfml.config.inversion import FiveSettings, InversionSettings, PerModelSettings, SpeedSettings
    from dfml.config.load import load_config, validate_config
    from dfml.config.methods.free import AdversarySettings, BellSettings, FreeOfficialSettings, FreeSettings
    from dfml.config.methods.free_heads import FreeHeadsSettings
    from dfml.config.methods.fusion import AverageSettings, ZooEnsembleSettings
    from dfml.config.methods.heads import HeadsSettings
    from dfml.config.methods.replay import ReplaySettings
    from dfml.config.methods.supervised import SupervisedSettings
    from dfml.config.root import Cell, Config
    from dfml.config.zoo import OptimiserSettings, ZooSettings

__all__ = [
    "AdversarySettings",
    "AverageSettings",
    "BellSettings",
    "Cell",
    "Config",
    "DatasetSettings",
    "EvaluationSettings",
    "FiveSettings",
    "FreeHeadsSettings",
    "FreeOfficialSettings",
    "FreeSettings",
    "HeadsSettings",
    "InversionSettings",
    "LearnerSettings",
    "NetworkSettings",
    "OptimiserSettings",
    "PerModelSettings",
    "PoolSettings",
    "ReplaySettings",
    "RuntimeSettings",
    "SpeedSettings",
    "SupervisedSettings",
    "ZooEnsembleSettings",
    "ZooSettings",
    "load_config",
    "validate_config",
]

_HOMES = ("load", "root", "data", "evaluation", "inversion", "zoo")
_HOMES += tuple(f"methods.{name}" for name in ("free", "free_heads", "fusion", "heads", "replay", "supervised"))


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"{__name__}.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
