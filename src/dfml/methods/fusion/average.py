"""Average: the mean of all models' weights (docs/method.md §8.5)."""

import torch
from torch import Tensor

from dfml.methods.base import Context, Fitted, Snapshot, replace_head, without_statistics
from dfml.methods.fusion.settings import AverageSettings


def averaged(context: Context, head: str) -> dict[str, Tensor]:
    """The mean weights of the pool's models, which must be of the learner's network.

    ``head`` says what becomes of the head, whose rows mean other classes in every model: ``averaged`` like the rest
    (models of one image side only), or as :func:`dfml.methods.base.replace_head`.
    """
    states = [without_statistics(model.module) for model in context.pool]
    names = [name for name in states[0] if head == "averaged" or not name.startswith("head.")]
    average = {name: torch.stack([state[name] for state in states]).mean(0) for name in names}
    replace_head(average, context, head)
    return average


def fit(context: Context) -> Fitted:
    """Average the pool; the head by the setting ``head``."""
    settings = context.own(AverageSettings)
    return Fitted.of_learner(context, [Snapshot(0, 0.0, [averaged(context, settings.head)])])
