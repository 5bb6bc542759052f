"""How the episodes of a step are computed, each with weights of its own: the one switch, and where it is set.

Weights of its own make the convolutions of a batch of episodes grouped ones, for which GPUs have slow kernels only.
What else can be done is listed here, and for each shape the fastest form that was measured. All forms give the same
gradient up to rounding (a test asks for 1e-5 in float32 and 1e-10 in float64).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import nn

from dfml.networks.conv4_passes import NAMES, has_closed_forms

Way = Literal["one_by_one", "streams", "autograd", "closed"]


class EpisodeForm(NamedTuple):
    """A way to compute a batch of episodes.

    Attributes:
        way: ``one_by_one``: each episode a piece of work of its own, as many at once as there are CPU threads, by
            closed forms where there are any; ``streams``: likewise, by closed forms, each on a CUDA stream of its own;
            ``autograd``: all in one ``vmap``, differentiated by torch; ``closed``: all in one, by closed forms.
        products: the most values of a channel of an episode (images times places) at which a convolution is a matrix
            product of patches, in one ``vmap`` a batched one; beyond, the library's convolution, in one ``vmap`` a
            grouped one. Not for ``one_by_one``.
    """

    way: Way
    products: int = 0


ALL = 2**62
# Support images of a few shots and what pooling has left of the queries.
SMALL = 10_000

ONE_BY_ONE = EpisodeForm("one_by_one")
GROUPED = EpisodeForm("autograd")

CANDIDATES: Mapping[str, EpisodeForm] = {
    "grouped": GROUPED,
    "small_products": EpisodeForm("autograd", SMALL),
    "products": EpisodeForm("autograd", ALL),
    "closed_grouped": EpisodeForm("closed"),
    "closed_small_products": EpisodeForm("closed", SMALL),
    "closed_products": EpisodeForm("closed", ALL),
    "streams": EpisodeForm("streams"),
}
"""What ``python -m benchmarks --only forms`` times on a GPU, side by side with the plain reference."""


class Shape(NamedTuple):
    """What the fastest form depends on: episodes, images of each, their side in pixels and the width of Conv4."""

    episodes: int
    support: int
    query: int
    side: int
    width: int


FASTEST: Mapping[Shape, str] = {}
"""The candidate that was measured to be the fastest on a GPU, by shape; a shape that is not here has ``grouped``.

Nothing was measured yet. The benchmark prints the lines that belong here.
"""


def form_of(
    network: nn.Module, support: torch.Size, query: torch.Size, device: torch.device, *, head_only: bool
) -> EpisodeForm:
    """The form for episodes of these shapes on their device.

    Args:
        network, head_only: as in :func:`dfml.metalearning.meta_gradient.meta_gradient`.
        support, query: shapes ``[episodes, images, 3, side, side]``.
        device: where they are.
    """
    if device.type != "cuda":
        return ONE_BY_ONE
    if not can_be_closed(network, head_only=head_only):
        return GROUPED
    shape = Shape(support[0], support[1], query[1], support[-1], len(network.get_parameter(NAMES[0])))
    return CANDIDATES[FASTEST.get(shape, "grouped")]


def can_be_closed(network: nn.Module, *, head_only: bool) -> bool:
    """Whether there are closed forms of the inner loop: of a Conv4 that adapts all of its weights."""
    return not head_only and has_closed_forms(network)
