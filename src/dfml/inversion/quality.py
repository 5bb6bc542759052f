"""How good recovered images are, without a real image: accuracies, diversity, a picture."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dfml.files.atomic import atomic_write
from dfml.inversion.bank import ImageBank
from dfml.inversion.recovered import Recovered
from dfml.networks.classifier import Classifier
from dfml.zoo.pool import Pool

CROSS_IMAGES = 100


@torch.no_grad()
def cross_model_accuracy(pool: Pool, bank: ImageBank, generator: torch.Generator) -> float | None:
    """How often a model that knows a recovered image's class, but did not recover it, agrees; percent.

    At most ``CROSS_IMAGES`` images per model are asked. Services are not: what they are asked is counted and kept
    elsewhere. None when no two models share a class.
    """
    images, labels, sources = bank.everything()
    right = asked = 0
    for model in pool.invertible:
        candidates = (torch.isin(labels, model.classes) & (sources != model.index)).nonzero().flatten()
        chosen = candidates[torch.randperm(len(candidates), generator=generator)[:CROSS_IMAGES].to(candidates.device)]
        if len(chosen):
            answers = model.classes[model.logits(images[chosen].float().div_(255)).argmax(1)]
            right += int((answers == labels[chosen]).sum())
            asked += len(chosen)
    return 100 * right / asked if asked else None


@torch.no_grad()
def teacher_scores(recovered: Recovered) -> tuple[float, float]:
    """Cross-entropy and accuracy (percent) of the kept images under the model they came from, no augmentation."""
    logits = recovered.model.logits(recovered.images)
    loss = F.cross_entropy(logits, recovered.targets).item()
    return loss, 100 * (logits.argmax(1) == recovered.targets).float().mean().item()


@torch.no_grad()
def judge_scores(recovered: Sequence[Recovered], judges: Sequence[Classifier]) -> tuple[float, float | None]:
    """Accuracy (percent) of recovered images under independently trained models of the same classes, and diversity.

    Diversity is the mean cosine distance between the judge's features of two images of one class; None where there
    is only one.
    """
    accuracies, distances = [], []
    for item, judge in zip(recovered, judges, strict=True):
        inputs = item.model.inputs(item.images)
        accuracies.append((judge(inputs).argmax(1) == item.targets).float().mean().item())
        features = F.normalize(judge.features(inputs), dim=1)
        classes = [features[item.targets == label] for label in item.targets.unique()]
        distances += [_spread(own) for own in classes if len(own) > 1]
    diversity = sum(distances) / len(distances) if distances else None
    return 100 * sum(accuracies) / len(accuracies), diversity


def _spread(features: Tensor) -> float:
    count = len(features)
    similarity = features @ features.T
    return 1 - ((similarity.sum() - similarity.trace()) / (count * (count - 1))).item()


def save_grid(images: Tensor, path: Path, *, columns: int, scale: int = 2, gap: int = 2) -> None:
    """Write images ``[n, 3, side, side]`` in [0, 1] as a PNG, row by row, enlarged ``scale`` times."""
    pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy(force=True)
    side = pixels.shape[1] * scale
    rows = -(-len(pixels) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), "white")
    for index, picture in enumerate(pixels):
        tile = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(tile, (gap + (index % columns) * (side + gap), gap + (index // columns) * (side + gap)))
    atomic_write(path, sheet.save)


def rows_of_classes(recovered: Sequence[Recovered], columns: int) -> Tensor:
    """At most ``columns`` images of each class of each recovered task, class after class, ``[n, 3, side, side]``."""
    rows = []
    for item in recovered:
        ways = len(item.model.class_ids)
        per_class = item.images.view(-1, ways, *item.images.shape[1:]).transpose(0, 1)
        rows.append(per_class[:, :columns].flatten(0, 1))
    return torch.cat(rows)
