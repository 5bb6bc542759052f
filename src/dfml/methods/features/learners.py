"""Learners that take models as they are, and the floor: nothing is learned (docs/method.md §8.5)."""

from itertools import islice

import torch
from torch import Tensor

from dfml.artefacts.imported_zoo import ImportedFeatures
from dfml.artefacts.zoo import NetworkSpec
from dfml.methods.base import Context, Fitted, Snapshot, cpu_state, replace_head, without_statistics
from dfml.methods.features.settings import BestSettings, ZooEnsembleSettings
from dfml.zoo.model import PoolModel


def fit_random(context: Context) -> Fitted:
    """Random: a freshly initialised learner with a head bias of zero."""
    network = context.new_learner(context.side)
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
    """The ``count`` best models (`Pool.best`) of those that give features; the configuration sees that there are."""
    pool = context.pool
    # One after the other, until there are enough: a pool may have thousands of models.
    encoders = list(islice(filter(None, map(_encoder, pool.best(len(pool)))), count))
    specs, states = [spec for spec, _ in encoders], [state for _, state in encoders]
    return Fitted(specs, [Snapshot(0, 0.0, states)], *pool.normalisation, finetune=False, domains=pool.domains)


def _encoder(model: PoolModel) -> tuple[NetworkSpec | ImportedFeatures, dict[str, Tensor]] | None:
    """A model without its head: what rebuilds it, and its weights."""
    if model.spec is not None:
        return model.spec, without_statistics(model.module)
    if model.features is not None:
        return model.features, cpu_state(model.module.state_dict())
    return None
