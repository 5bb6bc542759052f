"""Several models in training at once on a GPU: each is the model that trains alone."""

import pytest
import torch

from dfml.artefacts.zoo import NetworkSpec
from dfml.zoo.training import ModelTraining, make_task, train_together
from support.zoo import MEAN, SIDE, STD, WAYS, pattern_images, zoo_settings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def trained(device, seeds, **settings):
    spec = NetworkSpec(family="conv4", width=4, ways=WAYS, side=SIDE)
    facts = {"mean": torch.tensor(MEAN, device=device), "std": torch.tensor(STD, device=device)}
    chosen = zoo_settings(epochs=4, **settings)
    images = pattern_images()
    tasks = [make_task(images, [s, s + 1, s + 2], chosen, device) for s in seeds]
    models = [
        ModelTraining(task.train, task.selection, spec, chosen, **facts, seed=s)
        for s, task in zip(seeds, tasks, strict=True)
    ]
    train_together(models)
    results = [model.result() for model in models]
    return [
        (state, {**scores, "accuracy": model.own_accuracy(task.test)})
        for model, task, (state, scores) in zip(models, tasks, results, strict=True)
    ]


@pytest.mark.parametrize("settings", [{}, {"augment": "affine", "recolour": True}])
def test_together_is_alone_to_the_bit(settings):
    device = torch.device("cuda")
    together = trained(device, range(4), **settings)
    for seed, (state, scores) in enumerate(together):
        ((alone, alone_scores),) = trained(device, [seed], **settings)
        assert scores == alone_scores
        assert all(torch.equal(state[name], t) for name, t in alone.items())


def test_the_device_learns_what_the_cpu_learns():
    for (_, on_gpu), (_, on_cpu) in zip(
        trained(torch.device("cuda"), range(3)), trained(torch.device("cpu"), range(3)), strict=True
    ):
        assert abs(on_gpu["selection_accuracy_best"] - on_cpu["selection_accuracy_best"]) < 10
