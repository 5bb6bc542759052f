"""Whose sensitivity to recovered images embeds the model they came from (T2)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.placement import channels_last, to_device
from dfml.errors import DfmlError
from dfml.files.tensors import layout_of, read_tensors
from dfml.imaging.pixels import normalise, resized
from dfml.networks.build import build_network, initialise
from dfml.zoo.model import PoolModel
from dfml.zoo.pool import Pool

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Probe:
    """A classifier that recovered images and their local labels are shown to.

    ``network`` is None for the model itself. ``stored`` says whether the statistics of its batch norms are worth
    keeping; those of a network that has none of its own are taken from the images it is shown. ``imagenet`` is whether
    images are normalised as those of ImageNet are, not as the model's own. ``side`` is that at which it sees them; None
    for the model's.
    """

    network: nn.Module | None
    stored: bool
    imagenet: bool = False
    side: int | None = None

    def of(self, model: PoolModel) -> nn.Module:
        """The network that embeds ``model``; not to be changed."""
        network = self.network or model.network
        assert isinstance(network, nn.Module)
        return network

    def inputs(self, model: PoolModel, images: Tensor) -> Tensor:
        """Images in [0, 1] as the probe sees them."""
        if not self.imagenet:
            return channels_last(resized(model.inputs(images), self.side))
        return channels_last(normalise(resized(images, model.side), IMAGENET_MEAN, IMAGENET_STD))


def self_probe(pool: Pool) -> Probe:
    """Every model probes itself.

    Raises:
        DfmlError: the models are not of one network, so that their parameters cannot be compared.
    """
    if len({model.form for model in pool}) > 1:
        raise DfmlError(
            "`tgr.probe: self` compares the models parameter by parameter, and this pool has several networks or image "
            "sides; use `meta_learner` or `random_r34`"
        )
    return Probe(None, stored=True)


def learner_probe(learner: nn.Module, spec: NetworkSpec, device: torch.device) -> Probe:
    """The meta-learner in the form of a zoo model: batch norms that can hold statistics.

    An episodic network normalises an image by the others around it, and has no gradient of a single image. Its
    statistics are therefore fixed at those of the whole set that it is shown.
    """
    network = build_network(spec)
    # What the learner lacks are the statistics, which are set anew for every model.
    network.load_state_dict(learner.state_dict(), strict=False)
    return Probe(to_device(network, device), stored=False, side=spec.side)


def random_resnet34(generator: torch.Generator, device: torch.device) -> Probe:
    """ResNet-34 with random weights; local labels are the first of its thousand classes."""
    network = _resnet34()
    initialise(network, generator)
    return Probe(to_device(network, device), stored=False, imagenet=True)


def imagenet_resnet34(path: Path, device: torch.device) -> Probe:
    """ResNet-34 trained on ImageNet, as published; local labels are taken for the first of its classes.

    Raises:
        FileFormatError: there is no such file, or it does not hold torchvision's weights of this network.
    """
    network = _resnet34()
    weights = read_tensors(
        path,
        layout_of(network.state_dict()),
        what="torchvision's ResNet-34",
        remedy="give its weights as a safetensors file in `tgr.probe_weights` (nothing is downloaded) or choose "
        "another `tgr.probe`",
    )
    network.load_state_dict(weights)
    return Probe(to_device(network, device), stored=True, imagenet=True)


def _resnet34() -> nn.Module:
    from torchvision.models import resnet34

    # PyTorch's own initialisation is replaced anyway; forked, it leaves the global random numbers alone.
    with torch.random.fork_rng(devices=[]):
        return resnet34(weights=None).eval()
