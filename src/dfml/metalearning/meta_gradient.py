"""The meta-gradient of MAML and ANIL over a batch of episodes, in every form that it is computed in."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vmap

from dfml.compute.capture import overlapped
from dfml.compute.placement import channels_last
from dfml.compute.workers import private_copy, side_by_side
from dfml.metalearning import closed_loop
from dfml.metalearning.episode_forms import EpisodeForm, can_be_closed, form_of
from dfml.metalearning.inner_loop import Parameters, class_major, query_loss
from dfml.networks.batch_norm import second_derivatives
from dfml.networks.batching_rules import ConvolutionsAsProducts, MissingRules
from dfml.networks.conv4_passes import NAMES, weights_of


class MetaGradient(NamedTuple):
    """Query loss and accuracy (a fraction) of a set of episodes, scalars, and the gradient by parameter name."""

    loss: Tensor
    accuracy: Tensor
    gradients: Parameters


Found = tuple[Tensor, Tensor, tuple[Tensor, ...]]
"""Loss, accuracy and gradients in the order of the parameters: of one episode, or with a first axis for all."""


def meta_gradient(
    network: nn.Module,
    parameters: Parameters,
    support: Tensor,
    query: Tensor,
    *,
    ways: int,
    steps: int,
    learning_rate: float,
    first_order: bool,
    reduce: str = "mean",
    head_only: bool = False,
    form: EpisodeForm | None = None,
) -> MetaGradient:
    """Gradient of the query loss after adaptation, over a batch of class-major episodes.

    Args:
        network: gives the form; its own parameters are not used.
        parameters: where every episode begins, which require gradients.
        support: normalised images ``[episodes, ways · shots, 3, side, side]``.
        query: likewise ``[episodes, ways · queries, …]``.
        ways: classes of an episode.
        steps, learning_rate, first_order: as in :func:`dfml.metalearning.inner_loop.adapt`.
        reduce: ``mean`` or ``sum`` over episodes (F27).
        head_only: adapt the head alone (ANIL); the gradient is still of all parameters.
        form: how it is computed; by default what :mod:`dfml.metalearning.episode_forms` says of the device and shape.

    Raises:
        ValueError: ``form`` asks for closed forms where there are none.
    """
    form = form or form_of(network, support.shape, query.shape, support.device, head_only=head_only)
    closed = can_be_closed(network, head_only=head_only)
    if form.way in ("streams", "closed") and not closed:
        raise ValueError(f"no closed forms of this network's inner loop: {form.way!r} is for Conv4 and MAML")
    episode = _Episode(network, parameters, ways, steps, learning_rate, first_order, head_only)
    if form.way == "autograd":
        loss, accuracy, totals = _differentiated(episode, support, query, form.products)
    elif form.way == "closed":
        loss, accuracy, totals = _closed(episode, support, query, form.products)
    else:
        totals = [torch.zeros_like(p) for p in parameters.values()]
        loss = torch.zeros((), dtype=totals[0].dtype, device=support.device)
        accuracy = torch.zeros((), device=support.device)
        for own_loss, own_accuracy, gradients in _each(episode, support, query, form, closed=closed):
            torch._foreach_add_(totals, list(gradients))
            loss, accuracy = loss + own_loss, accuracy + own_accuracy / len(support)
    if reduce == "mean":
        torch._foreach_div_(totals, len(support))
        loss = loss / len(support)
    return MetaGradient(loss, accuracy, dict(zip(parameters, totals, strict=True)))


def set_gradients(parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
    """Hand gradients to an optimiser that holds ``parameters``."""
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]


@dataclass(frozen=True)
class _Episode:
    """What an episode is adapted and judged by; see :func:`meta_gradient`."""

    network: nn.Module
    parameters: Parameters
    ways: int
    steps: int
    learning_rate: float
    first_order: bool
    head_only: bool

    def loss(
        self, network: nn.Module, support: Tensor, query: Tensor, *, in_transform: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Query loss and accuracy of one episode, to be differentiated; ``network``: one that is not shared."""
        return query_loss(
            network,
            self.parameters,
            support,
            query,
            ways=self.ways,
            steps=self.steps,
            learning_rate=self.learning_rate,
            first_order=self.first_order,
            head_only=self.head_only,
            in_transform=in_transform,
        )

    def by_autograd(self, support: Tensor, query: Tensor) -> Found:
        """One episode, differentiated by torch."""
        with private_copy(self.network) as own, self.derivatives(own):
            loss, accuracy = self.loss(own, channels_last(support), channels_last(query))
            return loss.detach(), accuracy, torch.autograd.grad(loss, list(self.parameters.values()))

    def by_closed_forms(self, support: Tensor, query: Tensor, *, products: int | None = None) -> Found:
        """One episode by closed forms; ``products`` as in :func:`dfml.metalearning.closed_loop.fine_tuned`."""
        support, query = (images.contiguous(memory_format=torch.channels_last) for images in (support, query))
        loss, accuracy, found = closed_loop.episode_gradient(
            support,
            class_major(support, self.ways),
            query,
            class_major(query, self.ways),
            weights_of(self.parameters),
            steps=self.steps,
            learning_rate=self.learning_rate,
            first_order=self.first_order,
            grid=closed_loop.grid_of(self.network),
            products=products,
        )
        known = dict(zip(NAMES, found, strict=True))
        return (
            loss,
            accuracy,
            tuple(known[name] if name in known else torch.zeros_like(p) for name, p in self.parameters.items()),
        )

    def derivatives(self, network: nn.Module) -> AbstractContextManager[None]:
        """The batch norm's own second derivatives, where any are taken."""
        return nullcontext() if self.first_order else second_derivatives(network)


def _differentiated(
    episode: _Episode, support: Tensor, query: Tensor, products: int
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Sum of the losses, mean accuracy and the gradient of that sum: one ``vmap``, differentiated by torch."""
    with episode.derivatives(episode.network), ConvolutionsAsProducts(products) if products else nullcontext():
        losses, accuracies = vmap(partial(episode.loss, episode.network, in_transform=True))(support, query)
    loss = losses.sum()
    return loss.detach(), accuracies.mean(), list(torch.autograd.grad(loss, list(episode.parameters.values())))


def _closed(episode: _Episode, support: Tensor, query: Tensor, products: int) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The same by closed forms in one ``vmap``."""
    with MissingRules():
        losses, accuracies, gradients = vmap(partial(episode.by_closed_forms, products=products))(support, query)
    return losses.sum(), accuracies.mean(), [own.sum(0) for own in gradients]


def _each(episode: _Episode, support: Tensor, query: Tensor, form: EpisodeForm, *, closed: bool) -> Iterable[Found]:
    """Loss, accuracy and gradient of every episode by itself."""
    if form.way == "one_by_one":
        one = episode.by_closed_forms if closed else episode.by_autograd
        return side_by_side(lambda index: one(support[index], query[index]), range(len(support)))
    streamed = partial(episode.by_closed_forms, products=form.products)
    calls = [partial(streamed, *images) for images in zip(support, query, strict=True)]
    return overlapped(calls, _streams(support.device, len(calls)))


@cache
def _streams(device: torch.device, count: int) -> list[torch.cuda.Stream | None]:
    return [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in range(count)]
