"""The steps of FIVE's inner loop by first-order rules, and which iterate's images are kept."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, where

from dfml.compute.optimisers import SGD, Adam
from dfml.compute.workers import still_wanted
from dfml.inversion.settings import FiveSettings

BETAS = (0.5, 0.999)

# Images, cross-entropies [k], losses [k], then the pseudo-gradient of each parameter.
Found = tuple[Tensor, ...]


class Keeper:
    """Decides on the device which iterate's images are kept (F10)."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.losses: list[Tensor] = []
        self._best: Tensor | None = None
        self._images: Tensor | None = None

    def offer(self, images: Tensor, loss: Tensor) -> None:
        """Take an iterate: its images ``[n, 3, side, side]``, which nobody may change later, and its loss, a scalar.

        Or those of several models, ``[models, n, 3, side, side]`` and ``[models]``, of each of which its own is kept.
        """
        self.losses.append(loss)
        if self.rule == "best" and self._best is not None and self._images is not None:
            better = loss < self._best
            of_each = better.view(*better.shape, *(1 for _ in range(images.dim() - better.dim())))
            self._images = where(of_each, images, self._images)
            self._best = loss.minimum(self._best)
        else:
            self._best, self._images = loss, images

    def replace(self, images: Tensor) -> None:
        """Keep these images, whatever was offered."""
        self._images = images

    @property
    def images(self) -> Tensor:
        """The kept images, of the shape that was offered."""
        assert self._images is not None
        return self._images


def inner_optimiser(settings: FiveSettings, working: list[Tensor], latents: Tensor) -> SGD | Adam:
    """The optimiser of the inner steps, for a generator's parameters and the latents."""
    groups, rates = [working, [latents]], [settings.learning_rate, settings.latent_learning_rate]
    return Adam(groups, rates, betas=BETAS) if settings.inner_optimiser == "adam" else SGD(groups, rates)


def descend(
    settings: FiveSettings,
    origin: Sequence[Tensor],
    working: Sequence[Tensor],
    latents: Tensor,
    optimiser: SGD | Adam,
    *,
    ask: Callable[[int], tuple[Tensor, Tensor, Tensor]],
    render: Callable[[], Tensor],
) -> Found:
    """The inner steps of a first-order rule: of one model, or of several along a first dimension of everything.

    Args:
        settings: of FIVE; `outer_rule` is any but `maml`.
        origin: the generator's parameters.
        working: those that are moved, which start at ``origin``.
        latents: moved as well.
        optimiser: of ``working`` and ``latents``.
        ask: images, loss and cross-entropy at step ``i``, by way of ``working`` and ``latents``.
        render: images alone.

    Returns:
        As :meth:`InnerSteps.__call__`; curves of several models are ``[k, models]``.
    """
    optimiser.reset()
    keep = Keeper(settings.keep)
    meta = [torch.zeros_like(p) for p in working] if settings.outer_rule == "fomaml_sum" else []
    curve = []
    for step in range(settings.steps):
        still_wanted()
        images, loss, cross_entropy = ask(step)
        # Each model's loss depends on its own part of everything alone.
        *gradients, of_latents = torch.autograd.grad(loss.sum(), [*working, latents])
        keep.offer(images.detach(), loss.detach())
        curve.append(cross_entropy)
        if settings.outer_rule == "fomaml_sum":
            torch._foreach_add_(meta, gradients)
        elif settings.outer_rule == "fomaml_last":
            meta = gradients
        for parameter, gradient in zip([*working, latents], [*gradients, of_latents], strict=True):
            parameter.grad = gradient
        optimiser.step()
    optimiser.zero_grad()
    with torch.no_grad():
        if settings.outer_rule == "reptile":
            meta = [start - end for start, end in zip(origin, working, strict=True)]
        if settings.keep == "final":
            keep.replace(render())
    return (keep.images, torch.stack(curve), torch.stack(keep.losses), *meta)
