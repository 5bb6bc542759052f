"""BELL: implicit gradient alignment by sequential distillation (docs/method.md §4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from dfml.compute.capture import Recorded
from dfml.compute.optimisers import SGD, Adam, Optimiser
from dfml.compute.placement import send
from dfml.inversion.objective import Views
from dfml.inversion.recovered import Recovered
from dfml.metalearning.distillation import distillation_loss, draw_heads
from dfml.metalearning.inner_loop import Parameters
from dfml.metalearning.meta_gradient import set_gradients
from dfml.methods.free.settings import BellSettings
from dfml.networks.classifier import Classifier

HEAD = "head."
HEADS = "heads."


@dataclass(frozen=True)
class Walked:
    """What the steps on several sets came to, all of it on the device.

    Attributes:
        end: where they lead, by the names of :attr:`BellSteps.start`.
        loss: the mean distillation loss met on the way.
        cosine: the mean over pairs of sets of the cosine between the learner's displacements on them, each from where
            the steps on its set began; None for fewer than two sets. Heads of the models do not count.
    """

    end: Parameters
    loss: Tensor
    cosine: Tensor | None


class BellSteps:
    """Distillation steps on recovered sets, that begin at the learner anew every time.

    In sequence the steps on a set begin where those on the set before ended; the displacement of the whole walk then
    rewards inner products between the sets' gradients. In parallel all begin at the learner, and the displacements are
    added up: the same to first order in the learning rate, without that reward (docs/method.md §4.2).

    Args:
        network: gives the student's form; its own parameters are not used.
        parameters: the learner's, where the steps begin; never changed here.
        settings: of BELL.
        views: the augmentation; student and teacher see the same images.
        heads: of the models, as :func:`heads_of_models` gives them; the student then answers model ``i`` through head
            ``i`` and not through the learner's own. Without any, through that.

    Attributes:
        start: all that the steps move, by name, and :func:`outer_step` afterwards: ``parameters``; with heads of the
            models those in the place of the learner's own.
    """

    MOVES = ("heads",)  # the parameters are the learner's, and everything else begins anew

    def __init__(
        self,
        network: Classifier,
        parameters: Parameters,
        settings: BellSettings,
        views: Views,
        heads: Mapping[str, Tensor] | None = None,
        *,
        ways: int | None = None,
    ) -> None:
        self.network, self.settings, self.views, self.heads = network, settings, views, dict(heads or {})
        self._ways = ways
        learners = {name: p for name, p in parameters.items() if not (self.heads and name.startswith(HEAD))}
        self.start: Parameters = learners | self.heads
        self._fast = {name: p.detach().clone().requires_grad_() for name, p in self.start.items()}
        self._counting = len(learners)  # the first so many are the learner's
        kind = Adam if settings.fast_optimiser == "adam" else SGD
        self._optimiser = kind([list(self._fast.values())], [settings.fast_learning_rate])
        self._step = Recorded(self._distil, next(iter(parameters.values())).device)

    def walk(self, sets: Sequence[Recovered], generator: torch.Generator) -> Walked:
        """The steps on all ``sets``, of which there is one at least; ``generator`` draws order and augmentation."""
        order = torch.arange(len(sets))
        if self.settings.order == "shuffled":
            order = torch.randperm(len(sets), generator=generator)
        parallel = self.settings.mode == "parallel"
        fast = list(self._fast.values())
        losses: list[Tensor] = []
        moved: list[list[Tensor]] = []
        for index in order.tolist():
            if parallel or not moved:
                self._begin()
            began = [p.detach().clone() for p in fast]
            losses += self._steps_on(sets[index], generator)
            with torch.no_grad():
                moved.append(list(torch._foreach_sub(fast, began)))
        end = [p.detach().clone() for p in fast]
        if parallel:
            for others in moved[:-1]:
                torch._foreach_add_(end, others)
        cosine = mean_cosine([one[: self._counting] for one in moved]) if len(moved) > 1 else None
        return Walked(dict(zip(self._fast, end, strict=True)), torch.stack(losses).mean(), cosine)

    @torch.no_grad()
    def _begin(self) -> None:
        torch._foreach_copy_(list(self._fast.values()), list(self.start.values()))
        self._optimiser.reset()

    def _steps_on(self, item: Recovered, generator: torch.Generator) -> list[Tensor]:
        """The loss met at each step on one set."""
        model, (images, classes) = item.model, self._asked(item, generator)
        losses: list[Tensor] = []
        which = [send(torch.tensor([model.index]), images.device)] if self.heads else []
        for _ in range(self.settings.fast_steps):
            crop_flips = self.views.draw(
                images=len(images), canvas=images.shape[-1], side=model.side, generator=generator
            )
            inputs = self.views.inputs(model, images, crop_flips.to(images.device))
            with torch.no_grad():
                teacher = model.network(inputs)
            # Models from elsewhere may have any side and number of classes; a recording of each would stay in memory.
            step = self._distil if model.spec is None else self._step
            losses += step(self.views.of_learner(inputs), teacher if classes is None else teacher[:, classes], *which)
        return losses

    def _asked(self, item: Recovered, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The images of a set that the student can answer, and the model's outputs for their classes; None for all.

        Of a model with more classes than the learner has outputs, as many are drawn; answers are then probabilities
        among these. A head of the model's own has an output for each.
        """
        if self.heads or self._ways is None or len(item.model.class_ids) <= self._ways:
            return item.images, None
        drawn = torch.randperm(len(item.model.class_ids), generator=generator)[: self._ways]
        classes = send(drawn.sort().values, item.images.device)
        return item.images[torch.isin(item.targets, classes)], classes

    def _distil(self, inputs: Tensor, teacher: Tensor, *which: Tensor) -> tuple[Tensor]:
        student = self._fast
        if which:
            # A model's head has the form of the learner's own, in whose place it stands.
            student = {name: p for name, p in self._fast.items() if not name.startswith(HEADS)}
            for name in self.heads:
                student[HEAD + name.removeprefix(HEADS)] = self._fast[name].index_select(0, *which)[0]
        answers = functional_call(self.network, student, (inputs,))
        # A model of fewer classes than the learner has outputs teaches the first of them.
        loss = distillation_loss(answers[:, : teacher.shape[1]], teacher, self.settings.kd_loss)
        set_gradients(
            self._fast, dict(zip(self._fast, torch.autograd.grad(loss, list(self._fast.values())), strict=True))
        )
        self._optimiser.step()
        self._optimiser.zero_grad()
        return (loss.detach(),)


def heads_of_models(
    models: int, *, ways: int, size: int, generator: torch.Generator, device: torch.device
) -> Parameters:
    """A linear head for each model of a pool: ``heads.weight`` ``[models, ways, size]``, ``heads.bias``.

    They are drawn as those of :class:`dfml.methods.heads.distillation.HeadsDistillation` are.
    """
    weights, biases = draw_heads(models * ways, size, generator)
    return {
        f"{HEADS}weight": weights.view(models, ways, size).to(device).requires_grad_(),
        f"{HEADS}bias": biases.view(models, ways).to(device).requires_grad_(),
    }


@torch.no_grad()
def outer_step(parameters: Parameters, end: Parameters, settings: BellSettings, shared: Optimiser) -> None:
    """Move ``parameters`` in place towards the end of the walk.

    ``own_sgd``: θ ← θ + scale · (end − θ). ``shared_adam``: scale · (θ − end) is given as a gradient to the optimiser
    that replay uses (F22).
    """
    for name, parameter in parameters.items():
        displacement = parameter - end[name]
        if settings.outer == "own_sgd":
            parameter.sub_(displacement, alpha=settings.outer_scale)
        else:
            parameter.grad = settings.outer_scale * displacement
    if settings.outer == "shared_adam":
        shared.step()
        shared.zero_grad()


@torch.no_grad()
def mean_cosine(vectors: Sequence[Sequence[Tensor]]) -> Tensor:
    """The mean over pairs of the cosine between vectors given in parts; one of no length counts as at right angles."""
    units = F.normalize(torch.stack([torch.cat([part.flatten() for part in one]) for one in vectors]))
    # The square of the sum holds every pair twice, and every vector with itself.
    pairs = units.sum(0).square().sum() - units.square().sum()
    return pairs / (len(vectors) * (len(vectors) - 1))


@torch.no_grad()
def distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """The Euclidean distance between two points given in parts, a scalar on their device."""
    return torch.stack(torch._foreach_norm(torch._foreach_sub(list(one), list(other)))).norm()
