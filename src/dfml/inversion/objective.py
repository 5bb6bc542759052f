"""What one inversion step minimises for one model."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dfml.imaging.crop_flip import Moves
from dfml.inversion.losses import MovingStatistics, StatisticsGap, adversarial_loss
from dfml.inversion.settings import InversionSettings
from dfml.inversion.views import Views
from dfml.zoo.pool import PoolModel

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

    def __call__(self, model: PoolModel, images: Tensor, targets: Tensor, moves: Moves) -> tuple[Tensor, Tensor]:
        """Loss to minimise and, detached, the cross-entropy alone.

        Args:
            model: the frozen classifier.
            images: ``[B, 3, canvas, canvas]`` in [0, 1].
            targets: positions of the asked outputs, ``[B]``.
            moves: the augmentation of this batch.
        """
        inputs = self.views.inputs(model, images, moves)
        if self.bn_weight:
            with StatisticsGap(model.network, self.moving) as gap:
                logits = model.network(inputs)
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
            loss = loss + self.adversary.weight * adversarial_loss(logits, student, self.adversary.loss)
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
