"""Average: the mean of all models' weights (docs/method.md §8.5)."""

import torch

from dfml.config.methods.fusion import AverageSettings
from dfml.methods.base import Context, Fitted, Snapshot, replace_head, without_statistics


def fit(context: Context) -> Fitted:
    """Average the pool; the head, whose rows mean other classes in every model, by the setting ``head``."""
    settings = AverageSettings.model_validate(context.options)
    pool = context.pool
    states = [without_statistics(model.network) for model in pool]
    average = {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}
    replace_head(average, context, settings.head)
    return Fitted.of_learner(context, [Snapshot(0, 0.0, [average])])
