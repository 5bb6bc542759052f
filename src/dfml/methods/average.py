"""Average: the mean of all models' weights (docs/method.md §8.5)."""

import torch

from dfml.config.methods import AverageSettings
from dfml.methods.base import Context, Fitted, Snapshot, cpu_state, without_statistics


def fit(context: Context) -> Fitted:
    """Average the pool; the head, whose rows mean other classes in every model, by the setting ``head``."""
    settings = AverageSettings.model_validate(context.options)
    pool = context.pool
    states = [without_statistics(model.network) for model in pool]
    average = {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}
    fresh = cpu_state(dict(context.new_learner(pool.side).named_parameters()))
    for name in ("head.weight", "head.bias"):
        if settings.head == "zero":
            average[name] = torch.zeros_like(average[name])
        elif settings.head == "fresh":
            average[name] = fresh[name]
    return Fitted.of_learner(context, [Snapshot(0, 0.0, [average])])
