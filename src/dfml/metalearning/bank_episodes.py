"""Cross-task episodes of a bank as a learner sees them (docs/method.md §5.2)."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor

from dfml.compute.placement import send
from dfml.imaging.colour import recolour
from dfml.imaging.pixels import resized
from dfml.metalearning.settings import EpisodeSettings
from dfml.zoo.pool import Pool

Trait = TypeVar("Trait", int, str)


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
        generator: torch.Generator,
        among: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`dfml.inversion.bank.ImageBank.sample_episodes`."""


class BankEpisodes:
    """Draws batches of episodes; classes of any models of a data set are mixed.

    Args:
        bank: where the images are.
        pool: whose classes they are of; every image is normalised as its own data set is (F19).
        shots, queries: images per class of an episode.
        recolour: vary the colours at random.
        domains: in a pool of several data sets, ``one`` gives an episode classes of one, drawn for each episode, as in
            meta-test; with ``mixed`` they are of any, and it is enough to tell the data sets apart (F19).
        side: in a pool of several resolutions, ``native`` gives all episodes of a batch one side, drawn anew each time,
            with classes of data sets of that side; ``canvas`` leaves every image as large as it was recovered (F19).
        learner_side: the side to which all images are then brought, as the learner's own; None leaves them.
    """

    def __init__(
        self,
        bank: ImageSource,
        pool: Pool,
        *,
        shots: int,
        queries: int,
        recolour: bool = False,
        domains: Literal["one", "mixed"] = "one",
        side: Literal["native", "canvas"] = "native",
        learner_side: int | None = None,
    ) -> None:
        self.bank, self.pool = bank, pool
        self.shots, self.queries, self.recolour, self.domains, self.side = shots, queries, recolour, domains, side
        self.learner_side = learner_side
        self.mean, self.std = pool.class_normalisation

    @classmethod
    def for_replay(
        cls,
        bank: ImageSource,
        pool: Pool,
        settings: EpisodeSettings,
        *,
        shots: int,
        learner_side: int | None,
    ) -> "BankEpisodes":
        """The episodes that a section `replay` asks for; ``learner_side`` is the setting `learner.side`."""
        return cls(
            bank,
            pool,
            shots=shots,
            queries=settings.queries,
            recolour=settings.recolour,
            domains=settings.domains,
            side=settings.side,
            learner_side=learner_side,
        )

    def draw(self, episodes: int, *, ways: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normalised support ``[episodes, ways · shots, 3, side, side]`` and query images, class-major.

        Raises:
            DfmlError: too few classes or images in the bank.
        """
        return self.draw_labelled(episodes, ways=ways, generator=generator)[1:]

    def draw_labelled(self, episodes: int, *, ways: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The same after the pool-wide ids of the classes, ``[episodes, ways]`` on the CPU.

        Raises:
            DfmlError: as :meth:`draw`.
        """
        side, among = self._resolution(ways, generator)
        if self.domains == "one" and len(self.pool.domains) > 1:
            each = [self._sampled(1, ways, generator, self._domain(among, ways, generator)) for _ in range(episodes)]
            classes, support, query = (torch.cat(parts) for parts in zip(*each, strict=True))
        else:
            classes, support, query = self._sampled(episodes, ways, generator, among)
        if self.recolour:
            support, query = _recoloured(support, generator), _recoloured(query, generator)
        ids = send(classes, self.mean.device)
        return classes, self._seen(support, ids, side), self._seen(query, ids, side)

    def _resolution(self, ways: int, generator: torch.Generator) -> tuple[int, Tensor | None]:
        if self.side == "canvas" or len(self.pool.sides) == 1:
            return self.pool.canvas, None
        # A side is as likely as it has data sets, so that each of these is replayed as often as the others.
        ready = self.bank.ready.tolist()
        enough = [own for own in _groups(ready, self.pool.dataset_of).values() if len(own) >= ways]
        return _draw_group(ready, self.pool.side_of, ways, generator, [self.pool.side_of(own[0]) for own in enough])

    def _domain(self, among: Tensor | None, ways: int, generator: torch.Generator) -> Tensor:
        labels = self.bank.ready if among is None else among
        return _draw_group(labels.tolist(), self.pool.dataset_of, ways, generator)[1]

    def _sampled(
        self, episodes: int, ways: int, generator: torch.Generator, among: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        sizes = {"ways": ways, "shots": self.shots, "queries": self.queries}
        return self.bank.sample_episodes(episodes, **sizes, generator=generator, among=among)

    def _seen(self, images: Tensor, classes: Tensor, side: int) -> Tensor:
        def each(values: Tensor) -> Tensor:
            return values[classes].repeat_interleave(images.shape[1] // classes.shape[1], dim=1)[..., None, None]

        # As in meta-test: a small image has lost its details before it is brought to a larger side.
        at_last = resized(resized(images, side), self.learner_side)
        return (at_last - each(self.mean)) / each(self.std)


def _groups(labels: Sequence[int], trait: Callable[[int], Trait]) -> dict[Trait, list[int]]:
    """Classes by a trait that they share, sorted by it."""
    groups: dict[Trait, list[int]] = {}
    for label in labels:
        groups.setdefault(trait(label), []).append(label)
    return dict(sorted(groups.items()))


def _draw_group(
    labels: Sequence[int],
    trait: Callable[[int], Trait],
    ways: int,
    generator: torch.Generator,
    tickets: Sequence[Trait] = (),
) -> tuple[Trait, Tensor]:
    """One of the groups of classes that share a trait, those too small for an episode left out.

    Each is as likely, or as it has ``tickets``.
    """
    groups = _groups(labels, trait)
    enough = {key: members for key, members in groups.items() if len(members) >= ways} or groups
    keys = sorted(tickets) or list(enough)
    key = keys[int(torch.randint(len(keys), (), generator=generator))]
    return key, torch.tensor(enough[key])


def _recoloured(episodes: Tensor, generator: torch.Generator) -> Tensor:
    return recolour(episodes.flatten(0, 1), generator).view_as(episodes)
