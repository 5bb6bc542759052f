"""ICFIL's two halves: images that the learner takes for its classes, and the corrective steps on them."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from dfml.config.icfil import IcfilSettings
from dfml.icfil.correction import corrected, cross_contrast, inverted
from dfml.metalearning.inner_loop import parameters_of
from support.learners import SIDE, WAYS, encoder, generator

BOUNDS = (torch.full((1, 3, 1, 1), -1.5), torch.full((1, 3, 1, 1), 2.0))


def settings(**own):
    return IcfilSettings(episodes=1, images_per_class=3, inversion_steps=30, steps=2, **own)


def invert(network, **own):
    adapted = parameters_of(network)
    return inverted(network, adapted, BOUNDS, side=SIDE, settings=settings(**own), draws=generator(3))


def test_recovered_images_are_valid_and_taken_for_their_classes():
    network = encoder()
    images, labels = invert(network)
    assert labels.tolist() == [place for place in range(WAYS) for _ in range(3)]
    assert images.shape == (WAYS * 3, 3, SIDE, SIDE)
    assert images.min() >= BOUNDS[0].min() and images.max() <= BOUNDS[1].max()
    noise = torch.randn(images.shape, generator=generator(3)).clamp(-1.5, 2.0)
    with torch.no_grad():
        before, after = (F.cross_entropy(network(x), labels) for x in (noise, images))
    assert after < 0.7 * before


def test_the_learner_inverted_stays_as_it_was():
    network = encoder()
    adapted = parameters_of(network)
    kept = {name: p.detach().clone() for name, p in adapted.items()}
    inverted(network, adapted, BOUNDS, side=SIDE, settings=settings(), draws=generator(3))
    assert all(torch.equal(adapted[name], p) and adapted[name].grad is None for name, p in kept.items())


def test_a_heavy_total_variation_smooths():
    def roughness(images):
        return (images[..., 1:] - images[..., :-1]).abs().mean()

    rough, smooth = (invert(encoder(), tv_weight=weight)[0] for weight in (0.0, 10.0))
    assert roughness(smooth) < roughness(rough) / 2


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_steps_descend_the_sum_of_the_three_losses(weight):
    network = encoder().double()
    draws = generator(1)
    support, recovered = (
        (
            torch.randn(WAYS * n, 3, SIDE, SIDE, dtype=torch.float64, generator=draws),
            torch.arange(WAYS).repeat_interleave(n),
        )
        for n in (2, 3)
    )
    own = settings(contrast_weight=weight, temperature=0.5, learning_rate=0.1)
    found = corrected(network, parameters_of(network), support, recovered, own)

    # The same by hand, on a network whose own parameters move.
    labels = torch.cat([support[1], recovered[1]])
    pseudo = torch.arange(len(labels)) >= len(support[1])
    for _ in range(own.steps):
        features = [network.features(images) for images, _ in (support, recovered)]
        losses = [F.cross_entropy(network.head(f), y) for f, (_, y) in zip(features, (support, recovered), strict=True)]
        loss = sum(losses) + weight * by_hand(torch.cat(features), labels, pseudo, 0.5)
        moving = list(network.parameters())
        with torch.no_grad():
            for p, gradient in zip(moving, torch.autograd.grad(loss, moving), strict=True):
                p.sub_(0.1 * gradient)
    for name, p in network.named_parameters():
        torch.testing.assert_close(found[name], p.detach(), rtol=1e-8, atol=1e-10)
    assert not torch.equal(found["head.weight"], parameters_of(encoder().double())["head.weight"])


def by_hand(features, labels, pseudo, temperature):
    """Khosla et al. (2020), equation 2, term by term; positives are of the other origin."""
    total = 0
    for i in range(len(labels)):
        cosine = [F.cosine_similarity(features[i], features[j], dim=0) / temperature for j in range(len(labels))]
        everything = sum(torch.exp(cosine[j]) for j in range(len(labels)) if j != i)
        positives = [j for j in range(len(labels)) if labels[j] == labels[i] and pseudo[j] != pseudo[i]]
        total = total - sum(torch.log(torch.exp(cosine[j]) / everything) for j in positives) / len(positives)
    return total / len(labels)


def test_the_contrast_is_that_of_the_definition():
    features = torch.randn(10, 4, dtype=torch.float64, generator=generator(2))
    labels, pseudo = torch.tensor([0, 1] * 5), torch.arange(10) >= 4
    expected = by_hand(features, labels, pseudo, 0.1)
    torch.testing.assert_close(cross_contrast(features, labels, pseudo, 0.1), expected)


def test_the_contrast_of_a_perfect_embedding():
    # Two classes at right angles, one image of each origin: one positive with cosine 1, two others with 0.
    features, labels = torch.tensor([[1.0, 0], [0, 1], [2, 0], [0, 3]]), torch.tensor([0, 1, 0, 1])
    loss = cross_contrast(features, labels, torch.tensor([False, False, True, True]), 1.0)
    assert loss.item() == pytest.approx(-math.log(math.e / (math.e + 2)), rel=1e-6)


def test_normalisation_is_of_each_set_alone():
    # Batch statistics: the answers to the support set do not depend on what was recovered.
    network = encoder()
    support = torch.randn(WAYS, 3, SIDE, SIDE, generator=generator(5))
    alone = functional_call(network, parameters_of(network), (support,))
    together = functional_call(network, parameters_of(network), (torch.cat([support, support * 4]),))[:WAYS]
    assert not torch.allclose(alone, together)
    labels = torch.arange(WAYS)
    own = settings(contrast_weight=0.0)
    results = [
        corrected(network, parameters_of(network), (support, labels), (support * scale, labels), own)
        for scale in (1.0, 4.0)
    ]
    # A batch norm takes the scale away, but for its epsilon, if it sees the recovered images alone.
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name], rtol=1e-2, atol=1e-4)
