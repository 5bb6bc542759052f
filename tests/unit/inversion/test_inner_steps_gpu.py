"""FIVE on a GPU: recorded loops on several streams recover what the CPU recovers."""

from dataclasses import replace

import pytest
import torch

from dfml.compute.capture import WARM_UP
from dfml.compute.seeds import torch_generator
from dfml.inversion.five import MetaGenerator
from dfml.inversion.settings import FiveSettings
from dfml.inversion.together import CANDIDATES
from support.inversion import generator, objective
from support.zoo import random_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("form", CANDIDATES)
@pytest.mark.parametrize("rule", ["fomaml_last", "fomaml_sum", "reptile", "maml"])
def test_recorded_inversion_is_the_one_on_the_cpu(rule, form):
    found = {}
    for name in ("cpu", "cuda"):
        device = torch.device(name)
        # Two architectures, one model twice: each place meets several of them.
        models = [
            random_model(seed=seed, family=family, dtype=torch.float32)
            for seed, family in ((0, "conv4"), (1, "resnet10"))
        ]
        models = [
            replace(
                m.carrying(m.network.to(device)),
                **{k: getattr(m, k).to(device) for k in ("classes", "mean", "std")},
            )
            for m in (models[0], models[1], models[0])
        ]
        settings = FiveSettings(steps=3, outer_rule=rule, learning_rate=0.003, latent_learning_rate=0.003)
        five = MetaGenerator(generator(dtype=torch.float32).to(device), settings, CANDIDATES[form])
        asked, draws, curves = objective(bn_weight=0.1, crop_padding=2), torch_generator(0), []
        for turn in range(WARM_UP + 3):
            order = models if turn % 2 else models[::-1]
            sets = five.step(order, asked, images_per_class=4, generator=draws)
            curves += [item.curve.cpu() for item in sets]
        five.check()
        found[name] = torch.stack(curves)
    torch.testing.assert_close(found["cuda"], found["cpu"], rtol=5e-2, atol=5e-3)
    torch.testing.assert_close(found["cuda"][:3], found["cpu"][:3], rtol=1e-3, atol=1e-4)
