"""How good recovered images are, without a real image: teacher, cross-model and judge accuracy, diversity."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.inversion.bank import ImageBank
from dfml.inversion.meta_generator import Recovered
from dfml.zoo.pool import Pool

CROSS_IMAGES = 100


@torch.no_grad()
def cross_model_accuracy(pool: Pool, bank: ImageBank, draws: torch.Generator) -> float | None:
    """How often a model that knows a recovered image's class, but did not recover it, agrees; percent.

    At most ``CROSS_IMAGES`` images per model are asked. None when no two models share a class.
    """
    images, labels, sources = bank.everything()
    right = asked = 0
    for model in pool:
        candidates = (torch.isin(labels, model.classes) & (sources != model.index)).nonzero().flatten()
        chosen = candidates[torch.randperm(len(candidates), generator=draws)[:CROSS_IMAGES].to(candidates.device)]
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
def judge_scores(recovered: Sequence[Recovered], judges: Sequence[nn.Module]) -> tuple[float, float | None]:
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
