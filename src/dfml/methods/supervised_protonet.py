"""Supervised ProtoNet on real meta-train images: the upper bound of nearest centroids (Snell et al., 2017)."""

from functools import partial

from dfml.config.methods.supervised import SupervisedProtonetSettings
from dfml.metalearning.prototypes import PrototypeStep
from dfml.methods.base import Context, Fitted
from dfml.methods.supervised import train


def fit(context: Context) -> Fitted:
    """Nothing adapts: classes are told apart by the mean features of their support images."""
    settings = SupervisedProtonetSettings.model_validate(context.options)
    return train(context, settings, partial(PrototypeStep, ways=context.ways), finetune=False)
