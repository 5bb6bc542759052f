"""Does it work: inversion finds images of the asked classes, and meta-training makes it quicker."""

import torch
import torch.nn.functional as F

from dfml.compute.seeds import torch_generator
from support.inversion import linear_model, meta_generator, objective

MODEST = {"dtype": torch.float32, "learning_rate": 0.005, "latent_learning_rate": 0.005}


def test_cross_entropy_falls_block_by_block_until_every_label_is_right():
    five = meta_generator(steps=40, keep="final", **MODEST)
    curves, right = [], []
    for seed in range(8):
        model = linear_model(seed=seed)
        item, _ = five.adapt(model, objective(), images_per_class=4, generator=torch_generator(seed))
        curves.append(item.curve)
        right.append((model.logits(item.images).argmax(1) == item.targets).float().mean())
    blocks = torch.stack(curves).mean(0).view(8, 5).mean(1)
    assert (blocks.diff() < 0).all()
    assert torch.stack(right).mean() >= 0.99


def test_a_trained_meta_generator_adapts_further_in_as_many_steps():
    settings = {"dtype": torch.float32, "steps": 5, "keep": "final", "outer_rule": "fomaml_last"}
    rates = {"learning_rate": 0.001, "latent_learning_rate": 0.001}
    fresh, trained = meta_generator(**settings, **rates), meta_generator(**settings, **rates)
    draws = torch_generator(0)
    for iteration in range(20):
        models = [linear_model(seed=1000 + 4 * iteration + i) for i in range(4)]
        trained.step(models, objective(), images_per_class=4, generator=draws)
    wins = sum(adapted_loss(trained, seed) < adapted_loss(fresh, seed) for seed in range(20))
    assert wins >= 16


def adapted_loss(five, seed):
    """Cross-entropy of the images recovered from a model that took no part in the training."""
    model = linear_model(seed=seed)
    item, _ = five.adapt(model, objective(), images_per_class=4, generator=torch_generator(seed))
    return F.cross_entropy(model.logits(item.images), item.targets)
