"""One iteration of FREE as the published code runs it: recovered images go through PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmarks.reference import inversion, maml

WAYS, PER_CLASS, QUERIES, SLOTS = 5, 20, 15, 20


class PublishedLoop:
    """FIVE, BELL and replay with the published options.

    Args:
        teachers: classifiers, four of which teach in an iteration.
        classes: the global class ids of each one's outputs.
        weights: of the learner, as :func:`benchmarks.reference.maml.conv4` takes them.
        folder: where the images are kept.
        latent, width, side: of the generator.
    """

    def __init__(
        self,
        teachers: Sequence[nn.Module],
        classes: Sequence[Sequence[int]],
        weights: list[Tensor],
        folder: Path,
        *,
        latent: int,
        width: int,
        side: int,
    ) -> None:
        self.teachers, self.classes, self.weights, self.folder = teachers, classes, weights, folder
        self.latent, self.device = latent, weights[0].device
        self.generator = inversion.Upsampler(latent, width, side).to(self.device)
        self.optimiser = torch.optim.Adam(weights, 1e-3)
        self.written: dict[int, int] = {}

    def iteration(self, *, outer_steps: int, episodes: int = 10, shots: int = 1) -> float:
        """One iteration with a fixed number of replay steps; returns the last query loss."""
        chosen = torch.randint(0, len(self.teachers), (4,)).tolist()
        sets = inversion.step(
            self.generator,
            [self.teachers[i] for i in chosen],
            latent=self.latent,
            ways=WAYS,
            per_class=PER_CLASS,
            steps=5,
            rate=1e-3,
            student=_Student(self.weights),
        )
        self._write(sets[-1], self.classes[chosen[-1]])
        self._distil([self.teachers[i] for i in chosen], sets)
        loss = 0.0
        for _ in range(outer_steps):
            drawn = [self._episode(shots) for _ in range(episodes)]
            loss, _ = maml.outer_step(self.weights, self.optimiser, drawn, ways=WAYS, steps=5, rate=0.01)
        return loss

    def _write(self, images: Tensor, classes: Sequence[int]) -> None:
        pixels = (images * 255).clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        for position, label in enumerate(classes):
            slot = self.written.get(label, 0) % SLOTS
            self.written[label] = self.written.get(label, 0) + 1
            folder = self.folder / str(label)
            folder.mkdir(exist_ok=True)
            for number, image in enumerate(pixels[position :: len(classes)]):
                Image.fromarray(image).save(folder / f"{slot}-{number}.png")

    def _distil(self, teachers: Sequence[nn.Module], sets: Sequence[Tensor]) -> None:
        fast = [w.detach().clone().requires_grad_() for w in self.weights]
        optimiser = torch.optim.Adam(fast, 1e-3)
        for teacher, images in zip(teachers, sets, strict=True):
            views = (inversion.crop_and_flip(images) - 0.5) / 0.25
            with torch.no_grad():
                targets = F.softmax(teacher(views), 1)
            loss = (targets * (targets.log() - F.softmax(maml.conv4(fast, views), 1))).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for weight, moved in zip(self.weights, fast, strict=True):
            weight.grad = 67 * (weight - moved).detach()
        self.optimiser.step()

    def _episode(self, shots: int) -> tuple[Tensor, Tensor]:
        folders = sorted(self.folder.iterdir())
        support, query = [], []
        for index in torch.randperm(len(folders))[:WAYS].tolist():
            files = sorted(folders[index].iterdir())
            taken = [self._read(files[i]) for i in torch.randperm(len(files))[: shots + QUERIES].tolist()]
            support += taken[:shots]
            query += taken[shots:]
        return torch.stack(support).to(self.device), torch.stack(query).to(self.device)

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
