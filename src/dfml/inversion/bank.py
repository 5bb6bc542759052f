"""The bank of recovered images: a ring per class, 8-bit, on the device (docs/method.md §5.1)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfml.compute.placement import send
from dfml.errors import DfmlError, FileFormatError
from dfml.files.arrays import read_arrays, texts, whole
from dfml.files.atomic import atomic_write
from dfml.inversion.recovered import Recovered
from dfml.inversion.settings import InversionSettings
from dfml.zoo.pool import Pool

FORMAT, VERSION = "dfml.bank", 1
_TENSORS = ("pixels", "sources", "written")
_ARRAYS = frozenset({"format", "version", "slots", *_TENSORS})


class ImageBank:
    """Per class a ring of ``slots`` slots, each the ``images_per_class`` images of one inversion.

    ``pixels`` ``[classes, slots, images_per_class, 3, side, side]`` uint8; ``sources`` ``[classes, slots]`` the
    index of the model that each slot came from, −1 while empty; ``written`` ``[classes]`` slots ever written.
    """

    MOVES = ("written",)
    GROWS = ("pixels", "sources")

    def __init__(self, classes: int, *, slots: int, images_per_class: int, side: int, device: torch.device) -> None:
        self.slots = slots
        # Grown on demand: most runs never fill every slot of every class.
        self.pixels = torch.zeros(classes, 1, images_per_class, 3, side, side, dtype=torch.uint8, device=device)
        self.sources = torch.full((classes, 1), -1, device=device)
        self.written = torch.zeros(classes, dtype=torch.int64)

    @classmethod
    def empty(cls, pool: Pool, settings: InversionSettings, device: torch.device) -> "ImageBank":
        """A bank for what is recovered from a pool."""
        return cls(
            len(pool.class_names),
            slots=settings.slots,
            images_per_class=settings.images_per_class,
            side=pool.canvas,
            device=device,
        )

    @property
    def images_per_class(self) -> int:
        """Images in one slot."""
        return self.pixels.shape[2]

    @property
    def filled(self) -> Tensor:
        """Filled slots per class, ``[classes]``."""
        return self.written.clamp(max=self.slots)

    @property
    def images(self) -> int:
        """Images held."""
        return int(self.filled.sum()) * self.images_per_class

    @property
    def ready(self) -> Tensor:
        """Classes that hold images, ``[ready]``."""
        return self.written.nonzero().flatten()

    @torch.no_grad()
    def add(self, recovered: Recovered) -> None:
        """Store one inversion's images under the classes of its model, over the oldest slot of each class."""
        ways = len(recovered.model.class_ids)
        batch = (recovered.images * 255).round_().clamp_(0, 255).to(torch.uint8)
        per_class = batch.view(self.images_per_class, ways, *batch.shape[1:]).transpose(0, 1)
        for position, label in enumerate(recovered.model.class_ids):
            slot = int(self.written[label]) % self.slots
            if slot >= self.pixels.shape[1]:
                self._grow()
            self.pixels[label, slot] = per_class[position]
            self.sources[label, slot] = recovered.model.index
            self.written[label] += 1

    def _grow(self) -> None:
        held = self.pixels.shape[1]
        wanted = min(self.slots, 2 * held)
        pixels = self.pixels.new_zeros(self.pixels.shape[0], wanted, *self.pixels.shape[2:])
        sources = self.sources.new_full((self.sources.shape[0], wanted), -1)
        pixels[:, :held], sources[:, :held] = self.pixels, self.sources
        self.pixels, self.sources = pixels, sources

    def everything(self) -> tuple[Tensor, Tensor, Tensor]:
        """All images ``[n, 3, side, side]`` uint8, their classes ``[n]`` and the models they came from ``[n]``."""
        label, slot = (self.sources >= 0).nonzero(as_tuple=True)
        images = self.pixels[label, slot].flatten(0, 1)
        repeat = self.images_per_class
        return images, label.repeat_interleave(repeat), self.sources[label, slot].repeat_interleave(repeat)

    def of_model(self, classes: Sequence[int], count: int, generator: torch.Generator) -> Tensor:
        """``count`` images of each class, interleaved as an inversion returns them, float in [0, 1].

        Args:
            classes: pool-wide class ids.
            count: images per class, drawn with replacement.
            generator: source of the draw (a CPU generator).

        Raises:
            DfmlError: the bank holds no image of some class.
        """
        held = torch.tensor(classes)
        room = self.filled[held] * self.images_per_class
        if not room.all():
            raise DfmlError(
                "the bank lacks some classes of the models that are drawn from it; recover every model "
                "(`inversion.five.iterations`, `inversion.per_model.models`)"
            )
        index = (torch.rand(count, len(held), generator=generator) * room).long()
        flat = self.pixels.flatten(1, 2)
        chosen = send(torch.stack([held.expand(count, -1), index]), flat.device)
        return flat[chosen[0], chosen[1]].flatten(0, 1).float().div_(255)

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
        """Cross-task episodes: classes of any models mixed, distinct images within a class (docs/method.md §5.2).

        Args:
            episodes, ways, shots, queries: how many.
            generator: source of the draw (a CPU generator).
            among: ids of the ready classes that may be drawn; by default all.

        Returns:
            Classes ``[episodes, ways]`` on the CPU, support ``[episodes, ways · shots, 3, side, side]`` and query
            ``[episodes, ways · queries, …]`` images, float in [0, 1], class-major; labels are positions of classes.

        Raises:
            DfmlError: fewer ready classes than ways, or too few images of a class.
        """
        ready, taken = self.ready if among is None else among, shots + queries
        if len(ready) < ways:
            raise DfmlError(f"the bank holds {len(ready)} classes, {ways}-way replay needs more; recover more models")
        if self.images_per_class < taken:
            raise DfmlError(
                f"{self.images_per_class} recovered images per class cannot give {shots} shots and {queries} queries; "
                "raise `inversion.images_per_class` or lower `replay.queries`"
            )
        order = torch.rand(episodes, len(ready), generator=generator).argsort(1)[:, :ways]
        classes = ready[order]
        room = self.filled * self.images_per_class
        keys = torch.rand(episodes, ways, int(room.max()), generator=generator)
        keys.masked_fill_(torch.arange(keys.shape[2]) >= room[classes][..., None], 2.0)
        index = keys.argsort(2)[..., :taken]
        flat = self.pixels.flatten(1, 2)
        chosen = send(torch.stack([classes[..., None].expand_as(index), index]), flat.device)
        images = flat[chosen[0], chosen[1]].float().div_(255)
        return classes, images[:, :, :shots].flatten(1, 2), images[:, :, shots:].flatten(1, 2)

    def save(self, path: Path) -> None:
        """Write the bank as an npz file of plain arrays."""
        arrays = {name: getattr(self, name).numpy(force=True) for name in _TENSORS}
        facts = {"format": np.array(FORMAT), "version": np.array(VERSION), "slots": np.array(self.slots)}
        atomic_write(path, lambda partial: np.savez(partial, allow_pickle=False, **facts, **arrays))

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "ImageBank":
        """Read a bank.

        Raises:
            FileFormatError: missing, truncated, of another version or not a bank.
        """
        remedy = "run the inversion again"
        arrays = read_arrays(path, _ARRAYS, remedy=remedy)
        try:
            found = f"{' '.join(texts(arrays['format']))} version {whole(arrays['version'])}"
        except ValueError:
            found = "something else"
        if found != f"{FORMAT} version {VERSION}":
            raise FileFormatError(f"{path} is {found}, not {FORMAT} version {VERSION}; {remedy}")
        if not _sound(arrays):
            raise FileFormatError(f"{path}: its arrays do not fit together; {remedy}")
        classes, _, count, _, side, _ = arrays["pixels"].shape
        bank = cls(classes, slots=int(arrays["slots"]), images_per_class=count, side=side, device=device)
        pixels, sources, bank.written = (torch.from_numpy(arrays[name]) for name in _TENSORS)
        bank.pixels, bank.sources = pixels.to(device), sources.to(device)
        return bank


def _sound(arrays: dict[str, np.ndarray]) -> bool:
    pixels, sources, written, slots = (arrays[name] for name in ("pixels", "sources", "written", "slots"))
    if [a.dtype for a in (pixels, sources, written, slots)] != [np.uint8, np.int64, np.int64, np.int64]:
        return False
    if pixels.ndim != 6 or pixels.shape[3] != 3 or pixels.shape[4] != pixels.shape[5] or slots.shape != ():
        return False
    if sources.shape != pixels.shape[:2] or written.shape != pixels.shape[:1] or pixels.shape[1] > slots:
        return False
    # A bank is made with one slot: were there none, its other sizes could be any.
    if 0 in pixels.shape:
        return False
    # The first slots are filled, the others empty: sampling relies on it.
    filled = np.arange(pixels.shape[1]) < np.minimum(written, slots)[:, None]
    return bool(np.array_equal(sources >= 0, filled) and (written >= 0).all())
