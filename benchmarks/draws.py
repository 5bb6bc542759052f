"""The random choices of dfml's loops, handed to a plain loop that is to make the same ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dfml.compute.seeds import torch_generator
from dfml.imaging.crop_flip import draw_crop_flips
from dfml.inversion.bank import ImageBank
from dfml.inversion.sampling import ModelSampler
from dfml.inversion.settings import FiveSettings
from dfml.zoo.pool import Pool

# Rows and columns by which the window lies below and to the right of the image, and whether the crop is mirrored.
Crop = tuple[int, int, bool]
PADDING = 4


class InversionDraws:
    """What a step of FIVE draws for one model after another: latents, then the crop and flip of every inner step."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def latents(self, images: int, size: int) -> Tensor:
        """Where the latents of one model start, ``[images, size]``."""
        return torch.randn(images, size, generator=self.generator)

    def crops(self, count: int) -> list[Crop]:
        """One crop and flip for each of ``count`` batches."""
        drawn = draw_crop_flips(count, images=1, padding=PADDING, flip=True, per_sample=False, generator=self.generator)
        return [
            (down, right, flipped)
            for ((down, right),), (flipped,) in zip(drawn.shift.tolist(), drawn.flipped.tolist(), strict=True)
        ]


class FreeDraws(InversionDraws):
    """What FREE draws at one seed: models and replay episodes as well.

    Args:
        pool: what the models are drawn from.
        settings: of FIVE.
        seed, shots: of the cell.
        slots, per_class: sizes of the bank.
    """

    def __init__(
        self, pool: Pool, settings: FiveSettings, *, seed: int, shots: int, slots: int, per_class: int
    ) -> None:
        super().__init__(torch_generator(seed, "free", shots))
        self.sampler = ModelSampler(pool, settings, seed, hetero="shared_last", stream="free")
        self.iteration = 0
        # A bank whose pixels say where they lie, (slot, number, 0): its episodes are those of a bank of images.
        cpu = torch.device("cpu")
        self.bank = ImageBank(len(pool.class_names), slots=slots, images_per_class=per_class, side=1, device=cpu)
        places = torch.cartesian_prod(torch.arange(slots), torch.arange(per_class), torch.zeros(1, dtype=torch.int64))
        self.bank.pixels = places.byte().view(1, slots, per_class, 3, 1, 1).repeat(len(pool.class_names), 1, 1, 1, 1, 1)

    def models(self) -> list[int]:
        """The models of the next iteration."""
        self.iteration += 1
        return [model.index for model in self.sampler.draw(self.iteration - 1)]

    def episodes(
        self, count: int, held: Mapping[int, int], *, ways: int, shots: int, queries: int
    ) -> list[dict[int, list[int]]]:
        """For each episode, and each of its classes in order, the numbers of its images: ``shots``, then ``queries``.

        Args:
            count: episodes of an outer step.
            held: images of every class that has some; they are numbered slot by slot.
            ways, shots, queries: of an episode.
        """
        per_class = self.bank.images_per_class
        for label, images in held.items():
            self.bank.written[label] = images // per_class
        classes, *sets = self.bank.sample_episodes(
            count, ways=ways, shots=shots, queries=queries, generator=self.generator
        )
        support, query = (
            (255 * places.view(count, ways, -1, 3)).round().long() @ torch.tensor([per_class, 1, 0]) for places in sets
        )
        chosen = torch.cat([support, query], 2).tolist()
        return [dict(zip(*episode, strict=True)) for episode in zip(classes.tolist(), chosen, strict=True)]
