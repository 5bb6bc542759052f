"""The task of one zoo model, and training one classifier of a zoo or several at once (docs/method.md §2.3)."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.capture import Recording
from dfml.compute.optimisers import SGD, Adam, Optimiser
from dfml.compute.placement import channels_last, send, to_device
from dfml.compute.seeds import torch_generator
from dfml.compute.workers import still_wanted
from dfml.data.images import ClassImages
from dfml.errors import DataError
from dfml.imaging.pixels import normalise
from dfml.networks.build import build_network
from dfml.networks.conv4 import Conv4
from dfml.zoo.augmentation import Augmentation
from dfml.zoo.closed_step import ClosedStep
from dfml.zoo.settings import OptimiserSettings, ZooSettings
from dfml.zoo.store import State


@dataclass(frozen=True)
class Part:
    """Some images of one model's classes, on the device: float in [0, 1] ``[N, 3, side, side]``, labels ``[N]``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ModelTask:
    """The images of one model's classes in three parts that share none.

    ``train`` trains the model; ``selection`` chooses its epoch and its place among other models; ``test`` measures its
    own accuracy, and chooses nothing.
    """

    train: Part
    selection: Part
    test: Part

    @property
    def counts(self) -> dict[str, int]:
        """Images of each part by its name."""
        return {"train": len(self.train), "selection": len(self.selection), "test": len(self.test)}


def shares(count: int, *fractions: float) -> list[int]:
    """Where a class's ``count`` images are cut: after the first floor(fraction · count), for sums of ``fractions``."""
    return [math.floor(total * count + 1e-9) for total in accumulate(fractions)]


def make_task(images: ClassImages, classes: list[int], settings: ZooSettings, device: torch.device) -> ModelTask:
    """Cut the images of ``classes`` into three parts, class by class; labels are positions in ``classes``.

    Images stay in the order of their source, so that what stands together there, such as the drawings of one icon set,
    mostly falls into one part.

    Raises:
        DataError: a class has too few images for the cut.
    """
    parts: list[tuple[list[Tensor], list[Tensor]]] = [([], []), ([], []), ([], [])]
    train, selection = settings.train_fraction, settings.selection_fraction
    for label, c in enumerate(classes):
        own = images.images[c]
        first, second = shares(len(own), train, selection)
        pieces = (own[:first], own[first:second], own[second:])
        if not all(len(piece) for piece in pieces):
            raise DataError(
                f"{images.dataset}: class {images.names[c]!r} has {len(own)} images, too few to train on "
                f"{train:.0%}, select on {selection:.0%} and test on the rest; add images or change "
                "`zoo.train_fraction` or `zoo.selection_fraction`"
            )
        for (found, labels), piece in zip(parts, pieces, strict=True):
            found.append(piece)
            labels.append(torch.full((len(piece),), label))
    return ModelTask(*(Part(_to_float(torch.cat(x), device), torch.cat(y).to(device)) for x, y in parts))


def _to_float(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device).float().div_(255)


def _optimiser(parameters: list[nn.Parameter], settings: OptimiserSettings) -> Optimiser:
    groups, rates = [parameters], [settings.learning_rate]
    if settings.optimiser == "adam":
        return Adam(groups, rates, weight_decay=settings.weight_decay)
    return SGD(groups, rates, momentum=settings.momentum, weight_decay=settings.weight_decay)


def learning_rate(settings: OptimiserSettings, step: int, *, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate of a step, counted from 0.

    ``one_cycle`` rises from 1/25 of the peak to the peak over the first 30 % of training and falls to almost nothing,
    both by half a cosine (Smith and Topin, 2018); ``multistep`` multiplies by ``gamma`` at each milestone epoch.
    """
    if settings.schedule == "multistep":
        passed = sum(step >= milestone * steps_per_epoch for milestone in settings.milestones)
        return settings.learning_rate * settings.gamma**passed
    start, end = settings.learning_rate / 25, settings.learning_rate / 25e4
    last, peak = max(1, epochs * steps_per_epoch - 1), 0.3 * max(1, epochs * steps_per_epoch - 1)
    if step < peak:
        low, high, done = start, settings.learning_rate, step / peak
    else:
        low, high, done = settings.learning_rate, end, (step - peak) / (last - peak)
    return low + (high - low) * (1 - math.cos(math.pi * done)) / 2


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Percent of ``images`` (normalised) whose largest logit is their label, in evaluation mode; a scalar tensor."""
    was_training = network.training
    network.eval()
    try:
        right = (network(images).argmax(1) == labels).double().mean()
    finally:  # a recording that is refused breaks off here, and training goes on step by step
        network.train(was_training)
    return 100 * right


class ModelTraining:
    """One classifier in training; all it needs is on the device before each epoch, nothing is fetched before the end.

    On a GPU its step is a CUDA graph on a stream of its own, so that several models train at once.

    Args:
        train: images that train it.
        selection: images that choose its epoch.
        spec: its network.
        settings: of the zoo.
        mean, std: normalisation, ``[3]`` each.
        seed: of weights, batches and augmentation.
    """

    def __init__(
        self,
        train: Part,
        selection: Part,
        spec: NetworkSpec,
        settings: ZooSettings,
        *,
        mean: Tensor,
        std: Tensor,
        seed: int,
    ) -> None:
        device, count = train.labels.device, len(train)
        self.train, self.selection, self.settings, self.mean, self.std = train, selection, settings, mean, std
        self.network = build_network(spec, generator=torch_generator(seed, "weights"))
        to_device(self.network, device).train()
        self.generator = torch_generator(seed, "batches")
        self.steps, self.batch = max(1, count // settings.batch_size), min(count, settings.batch_size)
        self._selection_inputs = channels_last(normalise(selection.images, mean, std))
        recipe: OptimiserSettings = getattr(settings, settings.recipe_of(spec.family))
        self.epochs = recipe.epochs or settings.epochs
        self.parameters = list(self.network.parameters())
        convolutions = {name for name, one in self.network.named_modules() if isinstance(one, nn.Conv2d)}
        self._normed_biases = [
            type(self.network) is Conv4 and name.removesuffix(".bias") in convolutions
            for name, _ in self.network.named_parameters()
        ]
        self._closed = None
        if device.type == "cpu" and type(self.network) is Conv4 and not recipe.bfloat16:
            self._closed = ClosedStep(self.network)
        self._autocast = partial(
            torch.autocast, device.type, torch.bfloat16, enabled=recipe.bfloat16, cache_enabled=False
        )
        self.optimiser = _optimiser(self.parameters, recipe)
        total = self.epochs * self.steps
        rates = [learning_rate(recipe, i, steps_per_epoch=self.steps, epochs=self.epochs) for i in range(total)]
        self._rates = torch.tensor(rates, dtype=torch.float64, device=device)
        self._order = torch.zeros(self.steps, self.batch, dtype=torch.int64, device=device)
        self._augmentation = Augmentation(settings, steps=self.steps, images=self.batch, device=device)
        # How many steps are done, over all and in this epoch, and how many epochs, as the recorded work counts them.
        self._done, self._within, self._epoch = (torch.zeros(1, dtype=torch.int64, device=device) for _ in range(3))
        self._accuracies = torch.full((self.epochs,), -1.0, dtype=torch.float64, device=device)
        self._best = torch.full((), -1.0, dtype=torch.float64, device=device)
        self._stored = [t.detach().clone() for t in self.network.state_dict().values()]
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(device))
        self.step = Recording(self._step, device, self.stream)
        self.score = Recording(self._score, device, self.stream)

    def begin_epoch(self) -> None:
        """Draw the batches and augmentations of an epoch and put them where its steps find them."""
        count, device = len(self.train), self._order.device
        order = torch.randperm(count, generator=self.generator)[: self.steps * self.batch].view(self.steps, self.batch)
        with torch.cuda.stream(self.stream) if self.stream is not None else nullcontext():
            self._order.copy_(send(order, device))
            self._within.zero_()
            self._augmentation.redraw(self.generator)

    def _step(self) -> None:
        def current(rows: Tensor, index: Tensor) -> Tensor:
            return rows.index_select(0, index)[0]

        batch = current(self._order, self._within)
        images = self._augmentation(self.train.images[batch], self._within)
        images = channels_last(normalise(images, self.mean, self.std))
        for parameter, gradient in zip(self.parameters, self._gradients(images, self.train.labels[batch]), strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        self.optimiser.set_rate(current(self._rates, self._done))
        self.optimiser.step()
        self.optimiser.zero_grad()
        self._within += 1
        self._done += 1

    def _gradients(self, images: Tensor, labels: Tensor) -> Sequence[Tensor]:
        """Those of the mean cross-entropy, parameter by parameter; the network's running statistics follow."""
        if self._closed is not None:
            return self._closed.gradients(images, labels)
        with self._autocast():
            loss = F.cross_entropy(self.network(images), labels)
        found = torch.autograd.grad(loss, self.parameters)
        # Batch norm takes a convolution's bias away. What rounding leaves of its gradient would make Adam walk.
        return [
            torch.zeros_like(one) if normed else one for one, normed in zip(found, self._normed_biases, strict=True)
        ]

    @torch.no_grad()
    def _score(self) -> None:
        """Measure the model after an epoch, and keep it if it is the one to store; kept ones are copies (F12)."""
        found = accuracy(self.network, self._selection_inputs, self.selection.labels)
        self._accuracies.index_copy_(0, self._epoch, found[None])
        keep = found > self._best if self.settings.checkpoint == "best" else torch.ones_like(found).bool()
        for kept, current in zip(self._stored, self.network.state_dict().values(), strict=True):
            kept.copy_(torch.where(keep, current, kept))
        self._best.copy_(torch.maximum(found, self._best))
        self._epoch += 1

    def result(self) -> tuple[State, dict[str, Any]]:
        """The stored weights, on the CPU, and the accuracies on the selection images in percent; waits for the device.

        The network of a finished training has the stored weights.
        """
        if self.stream is not None:
            self.stream.synchronize()
        accuracies = self._accuracies.tolist()
        best = max(accuracies)
        state = {}
        for (name, current), stored in zip(self.network.state_dict().items(), self._stored, strict=True):
            current.copy_(stored)
            state[name] = stored.cpu().clone().contiguous()
        return state, {
            "selection_accuracy": best if self.settings.checkpoint == "best" else accuracies[-1],
            "selection_accuracy_best": best,
            "selection_accuracy_last": accuracies[-1],
            "epoch_best": accuracies.index(best) + 1,
        }

    def own_accuracy(self, test: Part) -> float:
        """Percent of ``test`` images, which no step and no choice has seen, that the stored weights get right."""
        return float(accuracy(self.network, channels_last(normalise(test.images, self.mean, self.std)), test.labels))


def train_together(trainings: Sequence[ModelTraining]) -> None:
    """Train models of one zoo at once: on a GPU their steps overlap, on a CPU they take turns."""
    for _ in range(trainings[0].epochs):
        for training in trainings:
            training.begin_epoch()
        for step in range(max(training.steps for training in trainings)):
            still_wanted()
            for training in trainings:
                if step < training.steps:
                    training.step()
        for training in trainings:
            training.score()
