"""Small generators, objectives and recovered images for tests of inversion."""

from typing import Any

import torch
from torch import Tensor, nn

from dfml.compute.seeds import torch_generator
from dfml.inversion.five import MetaGenerator
from dfml.inversion.objective import Objective, Views
from dfml.inversion.recovered import Recovered, interleaved_targets
from dfml.inversion.settings import FiveSettings, InversionSettings
from dfml.networks.generator import Generator
from dfml.zoo.model import PoolModel
from support.zoo import SIDE, WAYS, random_model

LATENT, GENERATOR_WIDTH = 8, 4


def generator(*, seed: int = 0, dtype: torch.dtype = torch.float64) -> Generator:
    """A small generator with weights of its own seed."""
    network = Generator(latent=LATENT, width=GENERATOR_WIDTH, side=SIDE)
    network.initialise(torch_generator(seed, "generator"))
    return network.to(dtype)


def meta_generator(*, seed: int = 0, dtype: torch.dtype = torch.float64, **settings: Any) -> MetaGenerator:
    """A meta-generator; three inner steps that move far unless `settings` say otherwise."""
    quick = {"steps": 3, "learning_rate": 0.01, "latent_learning_rate": 0.01}
    return MetaGenerator(generator(seed=seed, dtype=dtype), FiveSettings(**{**quick, **settings}))


def objective(**changes: Any) -> Objective:
    """Cross-entropy alone, without augmentation, unless `changes` say otherwise; those of the views among them."""
    views = {"crop_padding": 0, "per_sample": True}
    views |= {name: changes.pop(name) for name in ("crop_padding", "per_sample", "resize") if name in changes}
    return Objective(**{"ce_weight": 1.0, "bn_weight": 0.0, "views": Views(**views), **changes})


def inversion_settings(**changes: Any) -> InversionSettings:
    """A whole inversion that takes a moment."""
    quick = {
        "latent": LATENT,
        "width": GENERATOR_WIDTH,
        "images_per_class": 4,
        "slots": 3,
        "five": FiveSettings(iterations=4, warmup=1, models_per_iteration=2, steps=2),
        "per_model": {"steps": 4},
        "cmi": {"steps": 3, "batches": 2, "projection": 8, "negatives": 7},
        "deep_inversion": {"steps": 3},
        "fast": {"iterations": 5, "warmup": 1, "models_per_iteration": 1, "steps": 2, "restart_at": 2},
        "speed": {"models": 2, "steps": (3,)},
    }
    return InversionSettings.model_validate({**quick, **changes})


def linear_model(*, seed: int = 0, ways: int = WAYS, dtype: torch.dtype = torch.float32) -> PoolModel:
    """A model of a pool whose network is a random linear map of the pixels."""
    head = nn.Linear(3 * SIDE * SIDE, ways)
    with torch.no_grad():
        head.weight.normal_(0, 0.1, generator=torch_generator(seed, "linear"))
        head.bias.zero_()
    network = nn.Sequential(nn.Flatten(), head).to(dtype).requires_grad_(False).eval()
    return random_model(seed=seed, ways=ways, network=network)


def recovered(model: PoolModel, images: Tensor) -> Recovered:
    """Images ``[B, 3, side, side]`` as if they had been recovered from ``model``, in the order of its outputs."""
    ways = len(model.classes)
    return Recovered(model, images, interleaved_targets(ways, len(images) // ways, images.device), torch.zeros(1))


def parameters(network: nn.Module) -> list[Tensor]:
    """Copies of the network's parameters."""
    return [p.detach().clone() for p in network.parameters()]
