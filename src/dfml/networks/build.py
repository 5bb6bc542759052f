"""One place that turns a description into a network."""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from dfml.networks.conv4 import Conv4
from dfml.networks.initialise import initialise
from dfml.networks.resnet import ResNet


class NetworkSpec(BaseModel):
    """All that is needed to rebuild a classifier's module; stored beside its weights."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    family: Literal["conv4", "resnet10", "resnet18"]
    width: int = Field(ge=1, le=4096)
    ways: int = Field(ge=1, le=100_000)
    side: int | None = Field(ge=16, le=1024)
    stem_relu: bool = True


def build_network(spec: NetworkSpec, *, generator: torch.Generator | None = None, episodic: bool = False) -> nn.Module:
    """Build a classifier with ``features(images)``, ``head`` and ``feature_size``.

    Args:
        spec: family, width, ways and side; ``side=None`` is Conv4's any-resolution form.
        generator: source of the initial weights; without it the weights are about to be loaded.
        episodic: batch norms use each batch's own statistics (see :class:`EpisodicBatchNorm2d`).
    """
    # PyTorch's own initialisation is replaced anyway; forked, it leaves the global random numbers alone.
    with torch.random.fork_rng(devices=[]):
        network: nn.Module
        if spec.family == "conv4":
            network = Conv4(ways=spec.ways, width=spec.width, side=spec.side, episodic=episodic)
        else:
            blocks = {"resnet10": 1, "resnet18": 2}[spec.family]
            network = ResNet(
                blocks=blocks, ways=spec.ways, width=spec.width, stem_relu=spec.stem_relu, episodic=episodic
            )
    if generator is not None:
        initialise(network, generator)
    return network


def outline(spec: NetworkSpec, *, episodic: bool = False) -> nn.Module:
    """The network that `build_network` would build, with tensors that have shapes and no content.

    However large a network a file asks for, its outline costs nothing.
    """
    with torch.device("meta"):
        return build_network(spec, episodic=episodic)
