"""Inverting a fine-tuned learner, and correcting it on what comes out (Hu et al., CVPR 2023; spec §5.4).

No released code has this part; the paper gives its idea, and the losses and numbers here are a reconstruction.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from dfml.config.icfil import IcfilSettings
from dfml.inversion.priors import total_variation
from dfml.metalearning.inner_loop import Parameters, descend
from dfml.metalearning.prototypes import FeaturesOf
from dfml.runtime.layout import laid_out
from dfml.runtime.optimisers import Adam
from dfml.runtime.transfer import send
from dfml.runtime.workers import still_wanted


def inverted(
    network: nn.Module,
    adapted: Parameters,
    bounds: tuple[Tensor, Tensor],
    *,
    side: int,
    settings: IcfilSettings,
    draws: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Images that a fine-tuned learner takes for its classes.

    Args:
        network, adapted: the learner's form and its weights after fine-tuning.
        bounds: the lowest and highest valid pixel in normalised units, ``[1, 3, 1, 1]`` each.
        side: of the images, pixels.
        settings: of ICFIL.
        draws: CPU generator of the noise they begin as.

    Returns:
        Normalised images ``[ways · images_per_class, 3, side, side]``, class-major, and their labels.
    """
    low, high = bounds
    ways = adapted["head.bias"].shape[0]
    labels = torch.arange(ways, device=low.device).repeat_interleave(settings.images_per_class)
    noise = send(torch.randn(len(labels), 3, side, side, generator=draws), low.device)
    pixels = laid_out(noise.clamp(low, high)).requires_grad_()
    fixed = {name: parameter.detach() for name, parameter in adapted.items()}
    optimiser = Adam([[pixels]], [settings.inversion_learning_rate])
    for _ in range(settings.inversion_steps):
        still_wanted()
        loss = F.cross_entropy(functional_call(network, fixed, (pixels,)), labels)
        loss = loss + settings.tv_weight * total_variation(pixels)
        (pixels.grad,) = torch.autograd.grad(loss, pixels)
        optimiser.step()
        with torch.no_grad():
            pixels.clamp_(low, high)
    return pixels.detach(), labels


def corrected(
    network: nn.Module,
    adapted: Parameters,
    support: tuple[Tensor, Tensor],
    recovered: tuple[Tensor, Tensor],
    settings: IcfilSettings,
) -> Parameters:
    """Weights after corrective steps on the support set and the recovered images; all of them move, head included.

    Args:
        network, adapted: as in :func:`inverted`.
        support, recovered: normalised images and labels; either set is normalised by its own batch statistics.
        settings: of ICFIL.
    """
    labels = torch.cat([support[1], recovered[1]])
    pseudo = torch.arange(len(labels), device=labels.device) >= len(support[1])

    form = FeaturesOf(network)

    def loss(current: Parameters) -> Tensor:
        named = {f"network.{name}": parameter for name, parameter in current.items()}
        features = [functional_call(form, named, (images,)) for images, _ in (support, recovered)]
        total = features[0].new_zeros(())
        for found, (_, own) in zip(features, (support, recovered), strict=True):
            total = total + F.cross_entropy(F.linear(found, current["head.weight"], current["head.bias"]), own)
        contrast = cross_contrast(torch.cat(features), labels, pseudo, settings.temperature)
        return total + settings.contrast_weight * contrast

    start = {name: parameter.detach().requires_grad_() for name, parameter in adapted.items()}
    walk = descend([loss] * settings.steps, start, learning_rate=settings.learning_rate, first_order=True)
    return {name: parameter.detach() for name, parameter in walk.items()}


def cross_contrast(features: Tensor, labels: Tensor, pseudo: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss whose positives are the images of the same class and of the other origin.

    The outer form of Khosla et al. (2020), equation 2: the mean over positives stands outside the logarithm.

    Args:
        features: ``[n, d]``, of any length.
        labels: ``[n]``; every class has images of both origins.
        pseudo: ``[n]``, whether an image was recovered.
        temperature: divides the cosines.
    """
    unit = F.normalize(features, dim=1)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    cosines = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)
    positive = (labels[:, None] == labels) & (pseudo[:, None] != pseudo)
    shares = F.log_softmax(cosines, dim=1).masked_fill(~positive, 0)
    return -(shares.sum(1) / positive.sum(1)).mean()
