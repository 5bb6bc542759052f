"""The smallest learners and wrapped classifiers that tests of meta-learning need, made in memory."""

import torch
from torch import Tensor, nn

from dfml.inversion.meta_generator import Recovered, interleaved_targets
from dfml.metalearning.learner import Learner
from dfml.networks.build import NetworkSpec, build_network
from dfml.zoo.pool import PoolModel

WAYS, SIDE = 3, 16
SPEC = NetworkSpec(family="conv4", width=4, ways=WAYS, side=SIDE)


def generator(seed: int) -> torch.Generator:
    """A seeded CPU generator."""
    return torch.Generator().manual_seed(seed)


def encoder(seed: int = 0, spec: NetworkSpec = SPEC) -> nn.Module:
    """An episodic network with seeded weights."""
    return build_network(spec, generator=generator(seed), episodic=True)


def learner(*encoders: nn.Module, finetune: bool = True, steps: int = 3, learning_rate: float = 0.1) -> Learner:
    """A learner of these encoders, by default of one tiny Conv4, that does not normalise."""
    return Learner(
        encoders or (encoder(),),
        mean=torch.zeros(3),
        std=torch.ones(3),
        finetune=finetune,
        steps=steps,
        learning_rate=learning_rate,
    )


def task(seed: int = 0, *, shots: int = 2, queries: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Support images, their labels, query images and their labels: noise around one colour per class."""
    draws = generator(seed)
    colours = torch.linspace(0.2, 0.8, WAYS)[:, None, None, None]

    def images(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(WAYS).repeat_interleave(count)
        noise = 0.2 * torch.rand(len(labels), 3, SIDE, SIDE, generator=draws)
        return colours[labels] + noise - 0.1, labels

    return *images(shots), *images(queries)


def pool_model(network: nn.Module, classes: Tensor, *, index: int = 0, side: int = SIDE) -> PoolModel:
    """Any module as a frozen classifier of a pool; it does not normalise."""
    dtype = next((p.dtype for p in network.parameters()), torch.float32)
    return PoolModel(
        index=index,
        network=network.requires_grad_(False).eval(),
        spec=SPEC,
        classes=classes,
        mean=torch.zeros(3, dtype=dtype),
        std=torch.ones(3, dtype=dtype),
        side=side,
        dataset="toy",
        architecture="toy",
        accuracy=50.0,
    )


def recovered(model: PoolModel, images: Tensor) -> Recovered:
    """Images as if an inversion of ``model`` had returned them."""
    ways = len(model.classes)
    return Recovered(model, images, interleaved_targets(ways, len(images) // ways, images.device), torch.zeros(1))
