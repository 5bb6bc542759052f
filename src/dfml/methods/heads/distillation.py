"""Distillation with one head per zoo model on a shared backbone (docs/method.md §7).

Every image is a valid question to every model, whatever model it was recovered from. With a head of its own, each
model teaches the shared features without contradicting the others, which number their classes differently.
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from dfml.compute.capture import Recorded
from dfml.compute.optimisers import Adam
from dfml.compute.placement import channels_last, send
from dfml.compute.traced import Traced
from dfml.imaging.pixels import normalise
from dfml.metalearning.closed_loop import can_loop, grid_of
from dfml.metalearning.distillation import draw_heads
from dfml.methods.heads.questions import ABSENT, Questions
from dfml.methods.heads.settings import HeadsSettings
from dfml.networks.classifier import Classifier
from dfml.networks.conv4_passes import NAMES, Weights, backward_from, forward

WARMUP_STEPS = 20

Gradients = Iterable[tuple[Tensor, Tensor]]
"""Parameters and their gradients."""


class HeadsDistillation:
    """The backbone, a linear head for each model, and their optimiser.

    The questions are asked beforehand, once: a step then costs one pass of the backbone, however many models teach.

    Args:
        backbone: an episodic network with ``features`` and ``feature_size``; trained in place.
        questions: what was asked, at the side at which the backbone sees it.
        answers: the models' logits, ``[models, n, ways]``, or ``[count, n, ways]`` of those in ``who``.
        settings: of the distillation.
        who: which models answered each question, ``[n, count]``; None where all did.
        models: how many there are, if that is not the first size of ``answers``.
        generator: source of every random choice (a CPU generator).
    """

    MOVES = ("body", "weights", "biases", "optimiser", "generator", "steps_done")

    def __init__(
        self,
        backbone: Classifier,
        questions: Questions,
        answers: Tensor,
        settings: HeadsSettings,
        *,
        who: Tensor | None = None,
        models: int | None = None,
        generator: torch.Generator,
    ) -> None:
        self.backbone, self.questions, self.settings = backbone, questions, settings
        self.targets = F.log_softmax(answers / settings.temperature, 2).transpose(0, 1).contiguous()
        self.generator, device = generator, answers.device
        self.models, self.ways = models or answers.shape[0], answers.shape[2]
        self.who = None if who is None else who.to(device)
        self.weighting = torch.ones_like(answers[:, :, 0])
        if settings.balance:
            self.weighting = _balanced(answers) if self.who is None else _balanced_among(answers, self.who.T)
        self.weighting = self.weighting.T.contiguous()
        size, outputs = backbone.feature_size, self.models * self.ways
        weights, biases = draw_heads(outputs, size, generator)
        self.weights = weights.to(device).requires_grad_()
        self.biases = biases.to(device).requires_grad_()
        self.body: list[Tensor] = [p for name, p in backbone.named_parameters() if not name.startswith("head.")]
        self.optimiser = Adam(
            [[*self.body, self.weights, self.biases]], [settings.learning_rate], averaging=settings.averaging
        )
        # One row for all questions, or where their models differ one for each.
        lacks = (answers == ABSENT).all(1)[None] if who is None else (answers == ABSENT).transpose(0, 1)
        self._absent = ABSENT * lacks.to(answers.dtype) if lacks.any() else None
        self._closed = can_loop(backbone, device) and self._absent is None and who is None
        self._step = Recorded(self._compute, device)
        self.steps_done = 0
        self.loss = torch.zeros((), device=device)  # of the last step

    def step(self) -> Tensor:
        """One gradient step; returns the loss, the mean KL(model‖head) over images and models, on the device."""
        rows = torch.randint(0, len(self.questions.images), (self.settings.batch_size,), generator=self.generator)
        self.optimiser.set_rate(self._rate())
        (self.loss,) = self._step(send(rows, self.loss.device))
        self.steps_done += 1
        return self.loss

    def _compute(self, rows: Tensor) -> tuple[Tensor]:
        asked = self.questions
        inputs = channels_last(normalise(asked.images[rows].float() / 255, asked.mean[rows], asked.std[rows]))
        lesson = (inputs, self.targets[rows], self.weighting[rows])
        loss, gradients = self._by_closed_forms(*lesson) if self._closed else self._by_autograd(*lesson, rows)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        self.optimiser.step()
        self.optimiser.zero_grad()
        return (loss,)

    def _by_autograd(
        self, inputs: Tensor, targets: Tensor, weighting: Tensor, rows: Tensor
    ) -> tuple[Tensor, Gradients]:
        features = self.backbone.features(inputs)
        if self.who is None:
            logits = F.linear(features, self.weights, self.biases)
        else:
            who = self.who[rows]
            weights = self.weights.view(self.models, self.ways, -1)[who]  # [B, count, ways, size]
            biases = self.biases.view(self.models, self.ways)[who]
            logits = (torch.einsum("bmws,bs->bmw", weights, features) + biases).flatten(1)
        if self._absent is not None:
            logits = logits + (self._absent if self.who is None else self._absent[rows]).flatten(1)
        loss, _ = _divergence(logits, targets, weighting, self.settings.temperature)
        (moved,) = self.optimiser.groups
        return loss.detach(), zip(moved, torch.autograd.grad(loss, moved), strict=True)

    @torch.no_grad()
    def _by_closed_forms(self, inputs: Tensor, targets: Tensor, weighting: Tensor) -> tuple[Tensor, Gradients]:
        parameters = dict(self.backbone.named_parameters())
        moved = [*(parameters[name] for name in NAMES[:-2]), self.weights, self.biases]
        weights = tuple(p.detach() for p in moved)
        grid, temperature = grid_of(self.backbone), self.settings.temperature
        loss, gradients = _lesson(inputs, targets, weighting, weights, temperature=temperature, grid=grid)
        return loss, zip(moved, gradients, strict=True)

    @torch.no_grad()
    def finish(self) -> None:
        """Leave in the backbone what the distillation ends with."""
        kept = self.optimiser.averaged(dict(enumerate(self.body)))
        torch._foreach_copy_(self.body, list(kept.values()))

    def _rate(self) -> float:
        done = self.steps_done / self.settings.steps
        rise = min(1.0, (self.steps_done + 1) / WARMUP_STEPS)
        return self.settings.learning_rate * rise * (1 + math.cos(math.pi * done)) / 2


def _divergence(logits: Tensor, targets: Tensor, weighting: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The mean of KL(model‖head), weighted, and its gradient with respect to the logits.

    Args:
        logits: of the heads side by side, ``[B, models · ways]``.
        targets: log-probabilities of their models, ``[B, models, ways]``.
        weighting: ``[B, models]``.
        temperature: of both; the square of it keeps the size of gradients.
    """
    own = F.log_softmax(logits.view_as(targets) / temperature, 2)
    divergence = F.kl_div(own, targets, reduction="none", log_target=True).sum(2)
    error = (own.exp() - targets.exp()) * (weighting * (temperature / weighting.numel()))[..., None]
    return (divergence * weighting).mean() * temperature**2, error.flatten(1)


def lesson(
    inputs: Tensor, targets: Tensor, weighting: Tensor, weights: Weights, *, temperature: float, grid: int
) -> tuple[Tensor, Weights]:
    """The loss of a step on a Conv4 and its gradient, without autograd; ``weights`` end with those of the heads."""
    state = forward(inputs, inputs, weights, grid=grid)
    loss, error = _divergence(state.logits, targets, weighting, temperature)
    gradient, _ = backward_from(state, error, weights, grid=grid)
    return loss, gradient


_lesson = Traced(lesson)


def _balanced(answers: Tensor) -> Tensor:
    """A weight for every model and question, ``[models, n]``: the rarer a model's answer, the larger; of mean one."""
    chosen = answers.argmax(2)
    counts = F.one_hot(chosen, answers.shape[2]).sum(1)
    weights = 1 / counts.gather(1, chosen)
    return (weights / weights.mean(1, keepdim=True)).to(answers.dtype)


def _balanced_among(answers: Tensor, who: Tensor) -> Tensor:
    """The same, ``[count, n]``, where each question has models of its own, those in ``who`` ``[count, n]``."""
    models, ways = int(who.max()) + 1, answers.shape[2]
    place = (who * ways + answers.argmax(2)).flatten()
    weights = 1 / place.bincount(minlength=models * ways)[place].to(answers.dtype)
    sums = answers.new_zeros(models).index_add_(0, who.flatten(), weights)
    means = sums / who.flatten().bincount(minlength=models)
    return (weights / means[who.flatten()]).view_as(who)
