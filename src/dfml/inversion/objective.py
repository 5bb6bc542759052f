"""What one inversion step minimises for one model, and how recovered images reach it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfml.compute.placement import channels_last
from dfml.imaging.crop_flip import CropFlips, crop_flip, draw_crop_flips
from dfml.imaging.pixels import resized
from dfml.inversion.losses import MovingStatistics, StatisticsGap, adversarial_loss
from dfml.inversion.settings import InversionSettings
from dfml.zoo.model import PoolModel


@dataclass(frozen=True)
class Views:
    """The augmentation of recovered images (docs/method.md §3.2).

    Args:
        crop_padding: largest shift of the random crop, pixels; 0 switches crop and flip off.
        per_sample: draw a shift and a flip for each image, not one for a batch (F17).
        resize: for a model that sees smaller images than are recovered: ``bilinear`` shows it the whole image reduced,
            ``crop`` a random window of its own side, as the published code does (F18).
        learner_side: the side at which a learner that is taught by the model sees the same; None for the model's.
    """

    crop_padding: int
    per_sample: bool
    resize: Literal["bilinear", "crop"] = "bilinear"
    learner_side: int | None = None

    def draw(self, *batches: int, images: int, canvas: int, side: int, generator: torch.Generator) -> CropFlips:
        """Crops and flips of batches of ``images`` made at ``canvas`` pixels for a model that sees ``side``."""
        crop_flips = draw_crop_flips(
            *batches,
            images=images,
            padding=self.crop_padding,
            flip=self.crop_padding > 0,
            per_sample=self.per_sample,
            generator=generator,
        )
        slack = canvas - side if self.resize == "crop" else 0
        if not slack:
            return crop_flips
        size = crop_flips.shift.shape
        low, high = -self.crop_padding, slack + self.crop_padding + 1
        return CropFlips(
            torch.randint(low, high, size, generator=generator, device=generator.device), crop_flips.flipped
        )

    def inputs(self, model: PoolModel, images: Tensor, crop_flips: CropFlips) -> Tensor:
        """What ``model`` sees of images ``[B, 3, canvas, canvas]`` in [0, 1]: ``[B, 3, side, side]``, normalised."""
        if self.resize == "crop" and images.shape[-1] != model.side:
            plain = CropFlips(crop_flips.shift, torch.zeros_like(crop_flips.flipped))
            window = crop_flip(images, plain)[..., : model.side, : model.side]
            views = crop_flip(window, CropFlips(torch.zeros_like(crop_flips.shift), crop_flips.flipped))
        else:
            views = crop_flip(images, crop_flips) if self.crop_padding else images
        return channels_last(model.inputs(views))

    def of_learner(self, inputs: Tensor) -> Tensor:
        """What a learner sees of the ``inputs`` of its model."""
        return channels_last(resized(inputs, self.learner_side))


Student = Callable[[PoolModel, Tensor], Tensor]


@dataclass(frozen=True)
class Adversary:
    """The adversarial term: its weight, form and student (a map from a model and its normalised images to logits)."""

    weight: float
    loss: str
    student: Student
    student_grad: bool


@dataclass(frozen=True)
class Objective:
    """Weighted cross-entropy, batch-norm statistics and adversarial terms on randomly cropped and flipped images.

    ``statistics_momentum`` above 0 compares moving estimates of the statistics with the stored ones: every inversion
    then needs its own copy, which :meth:`begun` gives.
    """

    ce_weight: float
    bn_weight: float
    views: Views
    adversary: Adversary | None = None
    statistics_momentum: float = 0.0
    moving: MovingStatistics | None = None

    def begun(self) -> "Objective":
        """The objective of one inversion: itself, or with a memory from step to step if it needs one."""
        if not (self.bn_weight and self.statistics_momentum):
            return self
        return replace(self, moving=MovingStatistics(self.statistics_momentum))

    def __call__(
        self, model: PoolModel, images: Tensor, targets: Tensor, crop_flips: CropFlips
    ) -> tuple[Tensor, Tensor]:
        """Loss to minimise and, detached, the cross-entropy alone.

        Args:
            model: the frozen classifier.
            images: ``[B, 3, canvas, canvas]`` in [0, 1].
            targets: positions of the asked outputs, ``[B]``.
            crop_flips: the augmentation of this batch.
        """
        inputs = self.views.inputs(model, images, crop_flips)
        if self.bn_weight:
            network = model.module
            with StatisticsGap(network, self.moving) as gap:
                logits = network(inputs)
                statistics = gap.value()
        else:
            logits = model.network(inputs)
        cross_entropy = F.cross_entropy(logits, targets)
        loss = self.ce_weight * cross_entropy
        if self.bn_weight:
            loss = loss + self.bn_weight * statistics
        if self.adversary is not None:
            with torch.set_grad_enabled(self.adversary.student_grad):
                student = self.adversary.student(model, inputs)
            # Of a model with another number of classes than the student, those that both have.
            both = min(logits.shape[1], student.shape[1])
            loss = loss + self.adversary.weight * adversarial_loss(
                logits[:, :both], student[:, :both], self.adversary.loss
            )
        return loss, cross_entropy.detach()


def make_objective(
    settings: InversionSettings, *, ce_weight: float, bn_weight: float, statistics_momentum: float = 0.0
) -> Objective:
    """The inversion objective without an adversary, as a bank is recovered with."""
    return Objective(
        ce_weight=ce_weight,
        bn_weight=bn_weight,
        views=Views(settings.crop_padding, settings.augment == "per_sample", settings.resize),
        statistics_momentum=statistics_momentum,
    )
