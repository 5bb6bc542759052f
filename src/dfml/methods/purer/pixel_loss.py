"""What PURER's images are trained for: the inversion loss of each of several models, and its gradient."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from dfml.compute.placement import channels_last
from dfml.compute.workers import side_by_side
from dfml.imaging.pixels import denormalise
from dfml.inversion.losses import StatisticsGap, rolled, total_variation
from dfml.zoo.model import PoolModel


@dataclass(frozen=True, eq=False)
class Question:
    """Images asked about: of all classes of one model.

    ``images`` ``[ways, n, 3, canvas, canvas]``, normalised as the model's data set is; the ``n`` images of place ``i``
    are to be taken for output ``i``. ``shift``: how far they are rolled, down and right, before the model sees them.
    """

    model: PoolModel
    images: Tensor
    shift: tuple[int, int]


@dataclass(frozen=True)
class PixelLoss:
    """Cross-entropy, total variation, batch-norm statistics and size, weighted, of rolled images.

    All but the batch-norm term are of the normalised images at the side at which they are made; what the model sees is
    of its own side.
    """

    tv_weight: float
    bn_weight: float
    l2_weight: float

    def gradients(
        self, questions: Sequence[Question], *, batched: bool | None = None
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Gradients of every question's loss with respect to its images.

        Args:
            questions: of different models, since the statistics are read by hooks in their networks.
            batched: models of one architecture in one ``vmap``; by default on CUDA only. On a CPU, where that is
                slower, each model is a piece of work of its own, as many at once as there are threads.

        Returns:
            The gradients, losses ``[M]`` and, of them, the cross-entropies ``[M]``.
        """
        if batched is None:
            batched = questions[0].images.device.type == "cuda"
        groups: dict[object, list[int]] = {}
        for place, question in enumerate(questions):
            key = (question.model.form, question.images.shape) if batched else place
            groups.setdefault(key, []).append(place)
        found: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

        def of_group(places: list[int]) -> list[tuple[Tensor, Tensor, Tensor]]:
            return self._gradients([questions[place] for place in places])

        # A GPU takes its work from one thread.
        on_cpu = questions[0].images.device.type == "cpu"
        work = side_by_side(of_group, groups.values()) if on_cpu else map(of_group, groups.values())
        for places, results in zip(groups.values(), work, strict=True):
            for place, result in zip(places, results, strict=True):
                found[place] = result
        gradients, losses, entropies = zip(*(found[place] for place in range(len(questions))), strict=True)
        return list(gradients), torch.stack(losses), torch.stack(entropies)

    def _gradients(self, questions: Sequence[Question]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Gradient, loss and cross-entropy of questions to models of one architecture."""
        leaves = [question.images.detach().requires_grad_() for question in questions]
        moved = [rolled(leaf.flatten(0, 1), q.shift) for leaf, q in zip(leaves, questions, strict=True)]
        models = [question.model for question in questions]
        seen = [channels_last(m.inputs(denormalise(x, m.mean, m.std))) for m, x in zip(models, moved, strict=True)]
        form = _WithStatistics(models[0].module, wanted=bool(self.bn_weight))
        answers = [form(seen[0])] if len(models) == 1 else _together(form, models, torch.stack(seen))
        losses, entropies = [], []
        for leaf, images, (logits, statistics) in zip(leaves, moved, answers, strict=True):
            targets = torch.arange(leaf.shape[0], device=leaf.device).repeat_interleave(leaf.shape[1])
            entropy = F.cross_entropy(logits, targets)
            prior = self.tv_weight * total_variation(images) + self.l2_weight * images.norm()
            losses.append(entropy + prior + self.bn_weight * statistics)
            entropies.append(entropy.detach())
        # Every loss is of its own images alone, so the gradient of the sum is that of each.
        gradients = torch.autograd.grad(torch.stack(losses).sum(), leaves)
        return list(zip(gradients, [loss.detach() for loss in losses], entropies, strict=True))


class _WithStatistics(nn.Module):
    """A classifier that tells with its logits how far its features' statistics are from those stored.

    Zero if that is not ``wanted``.
    """

    def __init__(self, network: nn.Module, *, wanted: bool) -> None:
        super().__init__()
        self.network, self.wanted = network, wanted

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[B, ways]`` of normalised images, and the batch-norm term."""
        if not self.wanted:
            return self.network(inputs), inputs.new_zeros(())
        with StatisticsGap(self.network) as gap:
            logits = self.network(inputs)
            return logits, gap.value()


def _together(form: _WithStatistics, models: Sequence[PoolModel], inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The answers of every model of one architecture to its own inputs ``[M, B, 3, side, side]``."""
    weights, buffers = stack_module_state([model.module for model in models])
    state = {f"network.{name}": tensor.detach() for name, tensor in (weights | buffers).items()}
    answers = vmap(lambda own, images: functional_call(form, own, (images,)))(state, inputs)
    return list(zip(*answers, strict=True))
