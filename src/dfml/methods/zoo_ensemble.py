"""Zoo ensemble: features of the pool's best models side by side, at many times the inference cost."""

from dfml.config.methods.fusion import ZooEnsembleSettings
from dfml.methods import zoo_features
from dfml.methods.base import Context, Fitted


def fit(context: Context) -> Fitted:
    """As ``zoo_features`` with several models."""
    return zoo_features.fit(context, ZooEnsembleSettings.model_validate(context.options).models)
