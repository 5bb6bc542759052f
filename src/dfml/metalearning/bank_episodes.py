"""Cross-task episodes of a bank as a learner sees them (docs/method.md §5.2)."""

from typing import Literal, Protocol

import torch
from torch import Tensor

from dfml.data.resize import resized
from dfml.metalearning.variation import recolour
from dfml.runtime.transfer import send
from dfml.zoo.pool import Pool


class ImageSource(Protocol):
    """Where images of the pool's classes are: a bank, or a set that is still being trained."""

    @property
    def ready(self) -> Tensor:
        """Ids of the classes that have images, ``[ready]``, on the CPU."""

    def sample_episodes(
        self,
        episodes: int,
        *,
        ways: int,
        shots: int,
        queries: int,
        draws: torch.Generator,
        among: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`dfml.inversion.bank.ImageBank.sample_episodes`."""


class EpisodeSettings(Protocol):
    """The part of a method's settings that says what a replay episode is."""

    queries: int
    recolour: bool
    side: Literal["native", "canvas"]


class BankEpisodes:
    """Draws batches of episodes; classes of any models are mixed.

    Args:
        bank: where the images are.
        pool: whose classes they are of; every image is normalised as its own data set is (F19).
        shots, queries: images per class of an episode.
        recolour: vary the colours at random.
        side: in a pool of several resolutions, ``native`` gives all episodes of a batch one side, drawn anew each time,
            with classes of data sets of that side; ``canvas`` leaves every image as large as it was recovered (F19).
    """

    def __init__(
        self,
        bank: ImageSource,
        pool: Pool,
        *,
        shots: int,
        queries: int,
        recolour: bool = False,
        side: Literal["native", "canvas"] = "native",
    ) -> None:
        self.bank, self.pool = bank, pool
        self.shots, self.queries, self.recolour, self.side = shots, queries, recolour, side
        self.mean, self.std = pool.class_normalisation

    @classmethod
    def for_replay(cls, bank: ImageSource, pool: Pool, settings: EpisodeSettings, *, shots: int) -> "BankEpisodes":
        """The episodes that a section `replay` asks for."""
        facts = {"queries": settings.queries, "recolour": settings.recolour, "side": settings.side}
        return cls(bank, pool, shots=shots, **facts)

    def draw(self, episodes: int, *, ways: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normalised support ``[episodes, ways · shots, 3, side, side]`` and query images, class-major.

        Raises:
            DfmlError: too few classes or images in the bank.
        """
        return self.draw_labelled(episodes, ways=ways, draws=draws)[1:]

    def draw_labelled(self, episodes: int, *, ways: int, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The same after the pool-wide ids of the classes, ``[episodes, ways]`` on the CPU.

        Raises:
            DfmlError: as :meth:`draw`.
        """
        side, among = self._resolution(ways, draws)
        classes, support, query = self.bank.sample_episodes(
            episodes, ways=ways, shots=self.shots, queries=self.queries, draws=draws, among=among
        )
        if self.recolour:
            support, query = _recoloured(support, draws), _recoloured(query, draws)
        ids = send(classes, self.mean.device)
        return classes, self._seen(support, ids, side), self._seen(query, ids, side)

    def _resolution(self, ways: int, draws: torch.Generator) -> tuple[int, Tensor | None]:
        if self.side == "canvas" or len(self.pool.sides) == 1:
            return self.pool.canvas, None
        by_side: dict[int, list[int]] = {}
        for label in self.bank.ready.tolist():
            by_side.setdefault(self.pool.side_of(label), []).append(label)
        enough = {side: labels for side, labels in sorted(by_side.items()) if len(labels) >= ways} or by_side
        side = list(enough)[int(torch.randint(len(enough), (), generator=draws))]
        return side, torch.tensor(enough[side])

    def _seen(self, images: Tensor, classes: Tensor, side: int) -> Tensor:
        def each(values: Tensor) -> Tensor:
            return values[classes].repeat_interleave(images.shape[1] // classes.shape[1], dim=1)[..., None, None]

        return (resized(images, side) - each(self.mean)) / each(self.std)


def _recoloured(episodes: Tensor, draws: torch.Generator) -> Tensor:
    return recolour(episodes.flatten(0, 1), draws).view_as(episodes)
