"""The bank of recovered images: a ring per class, 8-bit, on the device (free.md §7)."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfml.errors import DfmlError, FileFormatError
from dfml.inversion.meta_generator import Recovered
from dfml.runtime.files import atomic_write


class ImageBank:
    """Per class a ring of ``slots`` slots, each the ``images_per_class`` images of one inversion.

    ``pixels`` ``[classes, slots, images_per_class, 3, side, side]`` uint8; ``sources`` ``[classes, slots]`` the
    index of the model that each slot came from, −1 while empty; ``written`` ``[classes]`` slots ever written.
    """

    def __init__(self, classes: int, *, slots: int, images_per_class: int, side: int, device: torch.device) -> None:
        self.slots = slots
        # Grown on demand: most runs never fill every slot of every class.
        self.pixels = torch.zeros(classes, 1, images_per_class, 3, side, side, dtype=torch.uint8, device=device)
        self.sources = torch.full((classes, 1), -1, device=device)
        self.written = torch.zeros(classes, dtype=torch.int64)

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
        ways = len(recovered.model.classes)
        batch = (recovered.images * 255).round_().clamp_(0, 255).to(torch.uint8)
        per_class = batch.view(self.images_per_class, ways, *batch.shape[1:]).transpose(0, 1)
        for position, label in enumerate(recovered.model.classes.tolist()):
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

    def of_model(self, classes: Tensor, count: int, draws: torch.Generator) -> Tensor:
        """``count`` images of each class, interleaved as an inversion returns them, float in [0, 1].

        Args:
            classes: pool-wide class ids, ``[ways]``, all of them in the bank.
            count: images per class, drawn with replacement.
            draws: source of the draw (a CPU generator).
        """
        room = self.filled[classes.cpu()] * self.images_per_class
        index = (torch.rand(count, len(classes), generator=draws) * room).long()
        flat = self.pixels.flatten(1, 2)
        return flat[classes.expand(count, -1), index.to(flat.device)].flatten(0, 1).float().div_(255)

    def sample_episodes(
        self, episodes: int, *, ways: int, shots: int, queries: int, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Cross-task episodes: classes of any models mixed, distinct images within a class (free.md §7).

        Returns:
            Support ``[episodes, ways · shots, 3, side, side]`` and query ``[episodes, ways · queries, …]`` images,
            float in [0, 1], class-major; labels are the positions of the classes.

        Raises:
            DfmlError: fewer ready classes than ways, or too few images of a class.
        """
        ready, taken = self.ready, shots + queries
        if len(ready) < ways:
            raise DfmlError(f"the bank holds {len(ready)} classes, {ways}-way replay needs more; recover more models")
        if self.images_per_class < taken:
            raise DfmlError(
                f"{self.images_per_class} recovered images per class cannot give {shots} shots and {queries} queries; "
                "raise `inversion.images_per_class` or lower `replay.queries`"
            )
        order = torch.rand(episodes, len(ready), generator=draws).argsort(1)[:, :ways]
        classes = ready[order]
        room = self.filled * self.images_per_class
        keys = torch.rand(episodes, ways, int(room.max()), generator=draws)
        keys.masked_fill_(torch.arange(keys.shape[2]) >= room[classes][..., None], 2.0)
        index = keys.argsort(2)[..., :taken].to(self.pixels.device)
        flat = self.pixels.flatten(1, 2)
        images = flat[classes.to(flat.device)[..., None].expand_as(index), index].float().div_(255)
        return images[:, :, :shots].flatten(1, 2), images[:, :, shots:].flatten(1, 2)

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed run needs."""
        return {"pixels": self.pixels, "sources": self.sources, "written": self.written}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from :meth:`state`."""
        device = self.pixels.device
        self.pixels, self.sources = state["pixels"].to(device), state["sources"].to(device)
        self.written = state["written"].clone()

    def save(self, path: Path) -> None:
        """Write the bank as an npz file of plain arrays."""
        arrays = {name: tensor.numpy(force=True) for name, tensor in self.state().items()}

        def write(partial: Path) -> None:
            with partial.open("wb") as stream:
                np.savez(stream, slots=self.slots, **arrays)

        atomic_write(path, write)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "ImageBank":
        """Read a bank.

        Raises:
            FileFormatError: missing, truncated or not a bank.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                state = {name: torch.from_numpy(arrays[name]) for name in ("pixels", "sources", "written")}
                slots = int(arrays["slots"])
            classes, _, count, channels, side, _ = state["pixels"].shape
            if state["pixels"].dtype != torch.uint8 or channels != 3 or len(state["written"]) != classes:
                raise ValueError("its arrays do not fit together")
        except (OSError, ValueError, KeyError, EOFError, NotImplementedError) as error:
            raise FileFormatError(f"{path}: not a readable bank ({error}); run the inversion again") from None
        except Exception as error:  # zipfile and zlib raise types of their own on damaged archives
            raise FileFormatError(f"{path}: damaged ({error}); run the inversion again") from None
        bank = cls(classes, slots=slots, images_per_class=count, side=side, device=device)
        bank.load_state(state)
        return bank
