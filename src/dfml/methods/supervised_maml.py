"""Supervised MAML on real meta-train images: the upper bound of what is fine-tuned."""

from functools import partial

from dfml.config.methods import SupervisedSettings
from dfml.metalearning.meta_step import MetaStep
from dfml.methods.base import Context, Fitted
from dfml.methods.supervised import train


def fit(context: Context) -> Fitted:
    """All parameters adapt."""
    settings = SupervisedSettings.model_validate(context.options)
    step = partial(
        MetaStep,
        ways=context.ways,
        steps=settings.inner_steps,
        learning_rate=settings.inner_learning_rate,
        first_order=settings.first_order,
    )
    return train(context, settings, step)
