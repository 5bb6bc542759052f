"""Adapting a learner by every rule and batch-norm mode, and the scores by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from dfml.artefacts.zoo import NetworkSpec
from dfml.errors import DfmlError
from dfml.metalearning.inner_loop import adapt, parameters_of
from dfml.metalearning.learner import BATCH_NORM_MODES, CENTROID_RULES, RULES, Learner, centroid_scores
from support.learners import SPEC, WAYS, encoder, learner, task

EVERY = [(rule, mode) for rule in RULES for mode in BATCH_NORM_MODES]


@pytest.mark.parametrize(("rule", "mode"), EVERY)
def test_every_rule_learns_a_task_of_coloured_noise(rule, mode):
    support, labels, query, query_labels = task()
    scores = learner(steps=20).adapt(support, labels, rule=rule, batch_norm=mode)(query)
    assert scores.shape == (len(query), WAYS)
    assert not scores.requires_grad
    assert (scores.argmax(1) == query_labels).float().mean() > 0.9


@pytest.mark.parametrize("rule", RULES)
def test_with_support_statistics_a_query_is_answered_on_its_own(rule):
    support, labels, query, _ = task()
    classify = learner().adapt(support, labels, rule=rule, batch_norm="support")
    together = classify(query)
    alone = torch.cat([classify(image[None]) for image in query])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    foreign = classify(torch.cat([query[:4], torch.rand_like(query)]))[:4]
    torch.testing.assert_close(foreign, together[:4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_with_transductive_statistics_the_other_queries_matter(rule):
    support, labels, query, _ = task()
    classify = learner().adapt(support, labels, rule=rule, batch_norm="transductive")
    assert (classify(query[:-1]) - classify(query)[:-1]).abs().max() > 1e-3


@pytest.mark.parametrize(("rule", "mode"), EVERY)
def test_the_order_of_queries_only_orders_the_scores(rule, mode):
    support, labels, query, _ = task()
    classify = learner().adapt(support, labels, rule=rule, batch_norm=mode)
    order = torch.randperm(len(query), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(classify(query[order]), classify(query)[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rule", "mode"), EVERY)
def test_adapting_and_answering_leave_the_learner_as_it_was(rule, mode):
    support, labels, query, _ = task()
    own = learner()
    before = {name: t.clone() for name, t in own.encoders[0].state_dict().items()}
    answer = own.encoders[0](query).detach()
    own.adapt(support, labels, rule=rule, batch_norm=mode)(query)
    after = own.encoders[0].state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], t) for name, t in before.items())
    assert all(p.grad is None for p in own.encoders[0].parameters())
    assert torch.equal(own.encoders[0](query), answer)


def test_fine_tuning_is_the_inner_loop_from_the_encoder():
    support, labels, query, _ = task()
    own = learner(steps=4, learning_rate=0.05)
    network = own.encoders[0]
    adapted = adapt(network, parameters_of(network), support, labels, steps=4, learning_rate=0.05)
    expected = functional_call(network, adapted, (query,)).detach()
    found = own.adapt(support, labels, rule="finetune", batch_norm="transductive")(query)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_task_is_learned_also_where_gradients_are_switched_off():
    support, labels, query, _ = task()
    expected = learner().adapt(support, labels, rule="finetune")(query)
    with torch.no_grad():
        found = learner().adapt(support, labels, rule="finetune")(query)
    assert torch.equal(found, expected)


def test_bytes_and_fractions_of_one_are_the_same_images():
    support, labels, query, _ = task()
    support, query = ((255 * images).round().byte() for images in (support, query))
    classify = learner().adapt(support.float() / 255, labels)
    torch.testing.assert_close(learner().adapt(support, labels)(query), classify(query.float() / 255))


def test_images_are_normalised():
    images = task()[0]
    own = Learner(
        [encoder()],
        mean=torch.tensor([0.1, 0.2, 0.3]),
        std=torch.tensor([0.5, 1.0, 2.0]),
        finetune=True,
        steps=1,
        learning_rate=0.1,
    )
    expected = (images[:, 2] - 0.3) / 2.0
    torch.testing.assert_close(own.prepare(images)[:, 2], expected)


def test_a_known_data_set_is_normalised_as_its_own_images_were():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    plain = learner(encoder(0))
    taught = Learner(
        plain.encoders,
        mean=plain.mean,
        std=plain.std,
        finetune=True,
        steps=1,
        learning_rate=0.1,
        domains={"a": (mean, std), "b": (std, mean)},
    )
    by_hand = (images - mean[None, :, None, None]) / std[None, :, None, None]
    torch.testing.assert_close(taught.for_domain("a").prepare(images), by_hand)
    torch.testing.assert_close(taught.for_domain("b").for_domain("a").prepare(images), by_hand)
    torch.testing.assert_close(taught.for_domain("unknown").prepare(images), plain.prepare(images))


@pytest.mark.parametrize("ways", [2, WAYS, 7])
@pytest.mark.parametrize("head_only", [False, True])
def test_a_head_for_another_number_of_classes(ways, head_only):
    own = learner()
    own.head_only = head_only
    support = torch.rand(2 * ways, 3, SPEC.side, SPEC.side, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(ways).repeat_interleave(2)
    assert own.adapt(support, labels)(support).shape == (2 * ways, ways)
    changed = own.for_ways(ways)
    assert (changed is own) == (ways == WAYS)
    assert own.encoders[0].head.out_features == WAYS
    if changed is not own:
        # Every class begins with the mean of the learned rows: the softmax cannot tell that from zeros.
        rows = own.for_ways(ways)
        with torch.no_grad():
            rows.encoders[0].head.weight.copy_(own.encoders[0].head.weight.mean(0).expand(ways, -1))
        scores = [
            each.finetuned_scores(each.finetuned(support, labels), support, support, "support")
            for each in (changed, rows)
        ]
        torch.testing.assert_close(scores[0].softmax(1), scores[1].softmax(1), rtol=1e-3, atol=1e-4)


def test_the_first_rule_offered_is_the_default():
    support, labels, query, _ = task()
    for own, rule in ((learner(), "finetune"), (learner(finetune=False), "centroid_euclidean")):
        assert torch.equal(
            own.adapt(support, labels)(query), own.adapt(support, labels, rule=rule, batch_norm="support")(query)
        )


def test_what_is_not_offered_is_refused():
    support, labels, _, _ = task()
    with pytest.raises(DfmlError, match="cannot adapt by 'finetune'; it offers centroid_euclidean, centroid_cosine"):
        learner(finetune=False).adapt(support, labels, rule="finetune")
    with pytest.raises(DfmlError, match="batch_norm must be one of transductive, support, not 'running'"):
        learner().adapt(support, labels, batch_norm="running")


@pytest.mark.parametrize("mode", BATCH_NORM_MODES)
def test_several_encoders_stand_side_by_side_at_unit_length(mode):
    support, _, query, _ = task()
    wide = encoder(1, NetworkSpec(**{**SPEC.model_dump(), "width": 6}))
    pair = learner(encoder(0), wide, finetune=False).features(support, query, mode)
    alone = [learner(one, finetune=False).features(support, query, mode) for one in (encoder(0), wide)]
    for both, first, second in zip(pair, *alone, strict=True):
        expected = torch.cat([F.normalize(first, dim=1), F.normalize(second, dim=1)], 1)
        torch.testing.assert_close(both, expected)


def test_support_features_do_not_depend_on_the_queries_under_support_statistics():
    support, _, query, _ = task()
    own = learner()
    few, many = (own.features(support, images, "support")[0] for images in (query[:2], query))
    torch.testing.assert_close(few, many, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(many, own.encoders[0].features(support).detach(), rtol=1e-4, atol=1e-5)


SUPPORT = torch.tensor([[1.0, 0.0], [4.0, 4.0], [3.0, 0.0], [4.0, 8.0]])
LABELS = torch.tensor([0, 1, 0, 1])  # centroids (2, 0) and (4, 6)
QUERIES = torch.tensor([[2.0, 1.0], [0.0, 3.0]])


def test_euclidean_scores_by_hand():
    expected = torch.tensor([[-1.0, -(4.0 + 25.0)], [-(4.0 + 9.0), -(16.0 + 9.0)]])
    torch.testing.assert_close(centroid_scores(SUPPORT, QUERIES, LABELS, 2, "centroid_euclidean"), expected)


def test_cosine_scores_by_hand():
    # Class 0: both images lie along (1, 0). Class 1: the mean of the unit vectors (1, 1)/√2 and (1, 2)/√5.
    x, y = 1 / math.sqrt(2) + 1 / math.sqrt(5), 1 / math.sqrt(2) + 2 / math.sqrt(5)
    length = math.hypot(x, y)
    expected = torch.tensor([[2 / math.sqrt(5), (2 * x + y) / (math.sqrt(5) * length)], [0.0, y / length]])
    torch.testing.assert_close(centroid_scores(SUPPORT, QUERIES, LABELS, 2, "centroid_cosine"), expected)


@pytest.mark.parametrize("rule", CENTROID_RULES)
def test_centroid_scores_do_not_depend_on_the_order_of_the_support(rule):
    order = torch.tensor([3, 0, 2, 1])
    torch.testing.assert_close(
        centroid_scores(SUPPORT[order], QUERIES, LABELS[order], 2, rule),
        centroid_scores(SUPPORT, QUERIES, LABELS, 2, rule),
    )


def test_a_query_at_a_centroid_has_distance_zero():
    scores = centroid_scores(1e4 + SUPPORT, torch.tensor([[1e4 + 2.0, 1e4]]), LABELS, 2, "centroid_euclidean")
    torch.testing.assert_close(scores, torch.tensor([[0.0, -40.0]]))
