"""Inversion of models that only answer: gradients with respect to images are estimated from answers (BiDf-MKD)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfml.compute.placement import channels_last
from dfml.imaging.crop_flip import CropFlips
from dfml.inversion.losses import agreement, disagreement
from dfml.inversion.objective import Objective
from dfml.zoo.model import PoolModel

# Numbers of one question: it bounds the memory of the perturbed images and of the models' activations.
QUESTION = 2**22


@torch.no_grad()
def estimated_gradient(
    loss: Callable[[Tensor], Tensor],
    points: Tensor,
    values: Tensor,
    *,
    directions: int,
    radius: float,
    generator: torch.Generator,
) -> Tensor:
    """Forward differences of each image's own loss along random unit directions, averaged (BiDf-MKD).

    (d/q) Σ_j u_j [ℓ(x + μ u_j) − ℓ(x)] / μ with d the numbers of an image: without bias for the gradient of ℓ smoothed
    over a ball of radius μ.

    Args:
        loss: the losses ``[n, B]`` of images ``[n, B, ...]``.
        points: images x, ``[B, ...]``.
        values: ℓ(x), ``[B]``.
        directions: q, drawn anew for every image.
        radius: μ.
        generator: of the directions, on the device of ``points``.

    Returns:
        Estimates of the shape of ``points``.
    """
    total = torch.zeros_like(points)
    at_once = max(1, QUESTION // points.numel())
    for first in range(0, directions, at_once):
        count = min(at_once, directions - first)
        unit = torch.randn(count, *points.shape, generator=generator, dtype=points.dtype, device=points.device)
        flat = unit.flatten(2)
        flat /= flat.norm(dim=2, keepdim=True)
        slopes = (loss(torch.add(points, unit, alpha=radius)) - values) / radius
        total += torch.einsum("nb,nbd->bd", slopes, flat).view_as(total)
    return total * (points[0].numel() / directions)


@dataclass(frozen=True, kw_only=True)
class BlackBoxObjective(Objective):
    """The objective of models that cannot be differentiated; no statistics term.

    Directions are drawn in the space that the model sees: after augmentation and normalisation (B4). Back-propagated
    is the mean over images of ⟨x, ĝ⟩, with ĝ the estimate at x held fixed.

    Args:
        directions, radius, generator: as in :func:`estimated_gradient`.
        best_by: what is returned as the loss, and so decides which images are kept: ``loss`` the loss itself,
            ``surrogate`` the mean of ⟨x, ĝ⟩, as in the published code (B2). The gradient is the same.
        mask: where model and student agree, for the adversarial term: judged at x and ``fixed``, or ``recomputed`` at
            every perturbed image, which makes the loss jump (B3).
    """

    directions: int
    radius: float
    generator: torch.Generator
    best_by: Literal["loss", "surrogate"] = "loss"
    mask: Literal["fixed", "recomputed"] = "fixed"

    def __call__(
        self, model: PoolModel, images: Tensor, targets: Tensor, crop_flips: CropFlips
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`Objective.__call__`; ``directions`` + 1 passes through the model."""
        inputs = self.views.inputs(model, images, crop_flips)
        points = inputs.detach()
        with torch.no_grad():
            answers = model.network(points)
            student = None if self.adversary is None else self.adversary.student(model, points)
            mask = None if student is None else agreement(answers, student)
            cross_entropy, values = self._losses(answers, student, targets, mask)

            def loss(perturbed: Tensor) -> Tensor:
                near = model.network(channels_last(perturbed.flatten(0, 1))).unflatten(0, perturbed.shape[:2])
                rival = student
                if self.adversary is not None and self.adversary.student_grad:
                    # Batch by batch: its batch norm looks at all images of one.
                    rival = torch.stack([self.adversary.student(model, channels_last(batch)) for batch in perturbed])
                held = mask if rival is None or self.mask == "fixed" else agreement(near, rival)
                return self._losses(near, rival, targets, held)[1]

            gradient = estimated_gradient(
                loss, points, values, directions=self.directions, radius=self.radius, generator=self.generator
            )
        surrogate = (inputs * gradient).flatten(1).sum(1).mean()
        if self.best_by == "loss":
            surrogate = values.mean() + (surrogate - surrogate.detach())
        return surrogate, cross_entropy.mean()

    def _losses(
        self, answers: Tensor, student: Tensor | None, targets: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and loss of every image, ``[..., B]``, of logits ``[..., B, ways]``."""
        asked = targets.expand(answers.shape[:-1])
        flat = F.cross_entropy(answers.flatten(0, -2), asked.flatten(), reduction="none")
        cross_entropy = flat.view(asked.shape)
        loss = self.ce_weight * cross_entropy
        if self.adversary is not None and student is not None and mask is not None:
            loss = loss - self.adversary.weight * mask * disagreement(answers, student, self.adversary.loss)
        return cross_entropy, loss
