"""Supervised ANIL on real meta-train images: MAML whose inner loop moves the head alone (Raghu et al., 2020)."""

from functools import partial

from dfml.config.methods import SupervisedSettings
from dfml.metalearning.meta_step import MetaStep
from dfml.methods.base import Context, Fitted
from dfml.methods.supervised import train


def fit(context: Context) -> Fitted:
    """The head adapts, in training and at meta-test."""
    settings = SupervisedSettings.model_validate(context.options)
    step = partial(
        MetaStep,
        ways=context.ways,
        steps=settings.inner_steps,
        learning_rate=settings.inner_learning_rate,
        first_order=settings.first_order,
        head_only=True,
    )
    return train(context, settings, step, head_only=True)
