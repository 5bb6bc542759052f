"""Methods that learn nothing: a fresh learner, and features of the pool's best models."""

from dataclasses import replace

import torch

from dfml.methods.features.learners import fit_random, fit_zoo_ensemble, fit_zoo_features
from dfml.zoo.pool import Pool
from support.cells import context
from support.zoo import MEAN, SIDE, STD, WAYS, random_model


def pool_of(**accuracies):
    """Models with these own accuracies; alternating architectures."""
    models = [
        random_model(
            seed=index,
            family=("conv4", "resnet10")[index % 2],
            dtype=torch.float32,
            selection_accuracy=accuracy,
        )
        for index, accuracy in enumerate(accuracies.values())
    ]
    return Pool(models, [f"class {c}" for c in range(WAYS)])


POOL = pool_of(first=60.0, second=80.0, third=70.0, fourth=80.0)


def test_random_is_the_fresh_learner_without_a_bias_of_the_head():
    cell = context("random", pool=POOL)
    fitted = fit_random(cell)
    ((state,),) = (snapshot.states for snapshot in fitted.snapshots)
    for name, parameter in context("free", pool=POOL).new_learner(SIDE).named_parameters():
        expected = torch.zeros_like(parameter) if name == "head.bias" else parameter
        assert torch.equal(state[name], expected)
    assert fitted.finetune and fitted.specs == [cell.learner_spec(SIDE)]
    other = fit_random(context("random", pool=POOL, seed=1)).snapshots[0].states[0]
    assert not torch.equal(other["head.weight"], state["head.weight"])


def test_zoo_features_takes_the_most_accurate_model():
    fitted = fit_zoo_features(context("zoo_features", pool=POOL))
    ((state,),) = (snapshot.states for snapshot in fitted.snapshots)
    own = dict(POOL[1].network.named_parameters())
    assert state.keys() == own.keys()
    assert all(torch.equal(state[name], p) for name, p in own.items())
    assert fitted.specs == [POOL[1].spec]
    assert not fitted.finetune  # its head knows other classes


def test_zoo_ensemble_takes_the_most_accurate_ones_in_order():
    fitted = fit_zoo_ensemble(context("zoo_ensemble", pool=POOL, options={"models": 3}))
    assert fitted.specs == [POOL[i].spec for i in (1, 3, 2)]
    (states,) = (snapshot.states for snapshot in fitted.snapshots)
    for state, index in zip(states, (1, 3, 2), strict=True):
        assert torch.equal(state["head.weight"], POOL[index].network.head.weight)


def test_no_more_models_are_read_than_are_taken():
    def missing():
        raise AssertionError("this model was read")

    worst = replace(POOL[0], source=missing)
    pool = Pool([worst, *list(POOL)[1:]], [f"class {c}" for c in range(WAYS)])
    assert len(fit_zoo_ensemble(context("zoo_ensemble", pool=pool, options={"models": 3})).specs) == 3


def test_all_normalise_as_the_pool_does():
    fits = {"random": fit_random, "zoo_features": fit_zoo_features, "zoo_ensemble": fit_zoo_ensemble}
    for method, fit in fits.items():
        fitted = fit(context(method, pool=POOL, options={"models": 2} if method == "zoo_ensemble" else {}))
        torch.testing.assert_close(fitted.mean, torch.tensor(MEAN))
        torch.testing.assert_close(fitted.std, torch.tensor(STD))
        assert fitted.teacher_passes == 0 and not fitted.history and not fitted.stages
