"""Learners that take models as they are, and the floor: nothing is learned (docs/method.md §8.5)."""

import torch

from dfml.methods.base import Context, Fitted, Snapshot, cpu_state, replace_head, without_statistics
from dfml.methods.features.settings import BestSettings, ZooEnsembleSettings


def fit_random(context: Context) -> Fitted:
    """Random: a freshly initialised learner with a head bias of zero."""
    network = context.new_learner(context.pool.side)
    with torch.no_grad():
        network.head.bias.zero_()
    state = cpu_state(dict(network.named_parameters()))
    return Fitted.of_learner(context, [Snapshot(0, 0.0, [state])])


def fit_best(context: Context) -> Fitted:
    """Best single: the pool's best model of the learner's own network.

    Its head, made for other classes, goes by the setting ``head``.
    """
    settings = context.own(BestSettings)
    # The configuration refuses pools that have none.
    state = without_statistics(context.models_like_the_learner()[0].module)
    replace_head(state, context, settings.head)
    return Fitted.of_learner(context, [Snapshot(0, 0.0, [state])])


def fit_zoo_features(context: Context) -> Fitted:
    """Zoo features: the best single model's frozen features, and nearest centroids (prototypes)."""
    return _frozen(context, 1)


def fit_zoo_ensemble(context: Context) -> Fitted:
    """Zoo ensemble: features of the pool's best models side by side, at many times the inference cost."""
    return _frozen(context, context.own(ZooEnsembleSettings).models)


def _frozen(context: Context, count: int) -> Fitted:
    """The ``count`` best models (`Pool.best`)."""
    pool = context.pool
    chosen = pool.best(count)
    states = [without_statistics(model.module) for model in chosen]
    # The configuration refuses pools with imported models, which have none.
    specs = [model.spec for model in chosen if model.spec is not None]
    return Fitted(specs, [Snapshot(0, 0.0, states)], *pool.normalisation, finetune=False, domains=pool.domains)
