"""One iteration of FREE as the published code runs it: recovered images go through PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmarks.draws import FreeDraws
from benchmarks.reference import inversion, maml

WAYS, PER_CLASS, QUERIES, SLOTS = 5, 20, 15, 20


class PublishedLoop:
    """FIVE, BELL and replay with the published options.

    Args:
        teachers: classifiers, four of which teach in an iteration.
        classes: the global class ids of each one's outputs.
        weights: of the learner, as :func:`benchmarks.reference.maml.conv4` takes them.
        generator: an :class:`benchmarks.reference.inversion.Upsampler`.
        folder: where the images are kept.
        draws: all random choices.
    """

    def __init__(
        self,
        teachers: Sequence[nn.Module],
        classes: Sequence[Sequence[int]],
        weights: list[Tensor],
        generator: inversion.Upsampler,
        folder: Path,
        draws: FreeDraws,
    ) -> None:
        self.teachers, self.classes, self.weights, self.folder = teachers, classes, weights, folder
        self.generator, self.draws = generator, draws
        self.optimiser = torch.optim.Adam(weights, 1e-3)
        self.written: dict[int, int] = {}
        # What the network carries from one iteration to the next, and the adversary asks: replay's last fast weights.
        self.left = [w.detach().clone() for w in weights]

    def iteration(self, *, outer_steps: int, episodes: int = 10, shots: int = 1) -> float:
        """One iteration with a fixed number of replay steps; returns the last query loss."""
        chosen = self.draws.models()
        sets = inversion.step(
            self.generator,
            [self.teachers[i] for i in chosen],
            self.draws,
            latent=self.generator.latent,
            ways=WAYS,
            per_class=PER_CLASS,
            steps=5,
            rate=1e-3,
            student=_Student(self.left),
        )
        self._write(sets[-1], self.classes[chosen[-1]])
        self._distil([self.teachers[i] for i in chosen], sets)
        loss = 0.0
        for _ in range(outer_steps):
            drawn = self._episodes(episodes, shots)
            loss, _, self.left = maml.outer_step(self.weights, self.optimiser, drawn, ways=WAYS, steps=5, rate=0.01)
        return loss

    def _write(self, images: Tensor, classes: Sequence[int]) -> None:
        pixels = (images * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        for position, label in enumerate(classes):
            slot = self.written.get(label, 0) % SLOTS
            self.written[label] = self.written.get(label, 0) + 1
            folder = self.folder / str(label)
            folder.mkdir(exist_ok=True)
            for number, image in enumerate(pixels[position :: len(classes)]):
                Image.fromarray(image).save(folder / f"{slot:02d}-{number:02d}.png")

    def _distil(self, teachers: Sequence[nn.Module], sets: Sequence[Tensor]) -> None:
        fast = [w.detach().clone().requires_grad_() for w in self.weights]
        optimiser = torch.optim.Adam(fast, 1e-3)
        for teacher, images in zip(teachers, sets, strict=True):
            (crop,) = self.draws.crops(1)
            views = (inversion.crop_and_flip(images, crop) - 0.5) / 0.25
            with torch.no_grad():
                targets = F.softmax(teacher(views), 1)
            loss = (targets * (targets.log() - F.softmax(maml.conv4(fast, views), 1))).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for weight, moved in zip(self.weights, fast, strict=True):
            weight.grad = 67 * (weight - moved).detach()
        self.optimiser.step()

    def _episodes(self, count: int, shots: int) -> list[tuple[Tensor, Tensor]]:
        held = {int(folder.name): len(list(folder.iterdir())) for folder in self.folder.iterdir()}
        chosen = self.draws.episodes(count, held, ways=WAYS, shots=shots, queries=QUERIES)
        return [self._episode(classes, shots) for classes in chosen]

    def _episode(self, classes: Mapping[int, Sequence[int]], shots: int) -> tuple[Tensor, Tensor]:
        support, query = [], []
        for label, numbers in classes.items():
            files = sorted((self.folder / str(label)).iterdir())
            taken = [self._read(files[i]) for i in numbers]
            support += taken[:shots]
            query += taken[shots:]
        like = self.weights[0]
        return torch.stack(support).to(like), torch.stack(query).to(like)

    @staticmethod
    def _read(file: Path) -> Tensor:
        with Image.open(file) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        return (pixels.float() / 255 - 0.5) / 0.25


class _Student(nn.Module):
    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, images: Tensor) -> Tensor:
        return maml.conv4(self.weights, images)
