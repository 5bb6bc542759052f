"""Distillation with one head per zoo model on a shared backbone (docs/method.md §7).

Every image is a valid question to every model, whatever model it was recovered from. With a head of its own, each
model teaches the shared features without contradicting the others, which number their classes differently.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dfml.compute.capture import Recorded
from dfml.compute.optimisers import Adam
from dfml.compute.placement import channels_last, send
from dfml.imaging.crop_flip import CropFlips, crop_flip, draw_crop_flips
from dfml.imaging.pixels import normalise
from dfml.metalearning.distillation import draw_heads
from dfml.methods.heads.settings import HeadsSettings
from dfml.networks.classifier import Classifier

WARMUP_STEPS = 20


class HeadsDistillation:
    """The backbone, a linear head for each model, and their optimiser.

    The questions are asked beforehand, once: a step then costs one pass of the backbone, however many models teach.

    Args:
        backbone: an episodic network with ``features`` and ``feature_size``; trained in place.
        questions: images ``[n, 3, side, side]`` in [0, 1].
        answers: the models' logits, ``[models, n, ways]``.
        settings: of the distillation.
        crop_padding: of the random crop of a question, pixels.
        mean, std: the backbone's normalisation of every question, ``[n, 3]``, or of all of them, ``[3]`` each (F19).
        generator: source of every random choice (a CPU generator).
    """

    MOVES = ("body", "weights", "biases", "optimiser", "generator", "steps_done")

    def __init__(
        self,
        backbone: Classifier,
        questions: Tensor,
        answers: Tensor,
        settings: HeadsSettings,
        *,
        crop_padding: int,
        mean: Tensor,
        std: Tensor,
        generator: torch.Generator,
    ) -> None:
        self.backbone, self.questions, self.settings = backbone, questions, settings
        self.targets = F.log_softmax(answers, 2).transpose(0, 1).contiguous()
        self.crop_padding, self.generator = crop_padding, generator
        self.mean, self.std = (values.expand(len(questions), 3) for values in (mean, std))
        size, outputs = backbone.feature_size, answers.shape[0] * answers.shape[2]
        weights, biases = draw_heads(outputs, size, generator)
        self.weights = weights.to(questions.device).requires_grad_()
        self.biases = biases.to(questions.device).requires_grad_()
        self.body = [p for name, p in backbone.named_parameters() if not name.startswith("head.")]
        self.optimiser = Adam([[*self.body, self.weights, self.biases]], [settings.learning_rate])
        self._step = Recorded(self._compute, questions.device)
        self.steps_done = 0
        self.loss = torch.zeros((), device=questions.device)  # of the last step

    def step(self) -> Tensor:
        """One gradient step; returns the loss, the mean KL(model‖head) over images and models, on the device."""
        device, size = self.questions.device, self.settings.batch_size
        rows = torch.randint(0, len(self.questions), (size,), generator=self.generator)
        crop_flips = draw_crop_flips(
            images=size,
            padding=self.crop_padding,
            flip=self.crop_padding > 0,
            per_sample=True,
            generator=self.generator,
        ).to(device)
        self.optimiser.set_rate(self._rate())
        (self.loss,) = self._step(send(rows, device), crop_flips.shift, crop_flips.flipped)
        self.steps_done += 1
        return self.loss

    def _compute(self, rows: Tensor, shift: Tensor, flipped: Tensor) -> tuple[Tensor]:
        images = self.questions[rows]
        if self.crop_padding:
            images = crop_flip(images, CropFlips(shift, flipped))
        inputs = channels_last(normalise(images, self.mean[rows], self.std[rows]))
        targets = self.targets[rows]
        logits = F.linear(self.backbone.features(inputs), self.weights, self.biases)
        own = F.log_softmax(logits.view_as(targets), 2)
        loss = F.kl_div(own.flatten(0, 1), targets.flatten(0, 1), reduction="batchmean", log_target=True)
        (moved,) = self.optimiser.groups
        for parameter, gradient in zip(moved, torch.autograd.grad(loss, moved), strict=True):
            parameter.grad = gradient
        self.optimiser.step()
        self.optimiser.zero_grad()
        return (loss.detach(),)

    def _rate(self) -> float:
        done = self.steps_done / self.settings.steps
        rise = min(1.0, (self.steps_done + 1) / WARMUP_STEPS)
        return self.settings.learning_rate * rise * (1 + math.cos(math.pi * done)) / 2
