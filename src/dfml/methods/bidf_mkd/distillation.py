"""Bi-level distillation: the learner adapts by a model's answers and is judged by them (BiDf-MKD)."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dfml.compute.workers import private_copy
from dfml.imaging.crop_flip import CropFlips
from dfml.inversion.objective import Views
from dfml.inversion.recovered import Recovered
from dfml.metalearning.distillation import distillation_loss
from dfml.metalearning.inner_loop import Parameters, descend
from dfml.metalearning.meta_gradient import MetaGradient
from dfml.networks.batch_norm import second_derivatives


class BilevelDistillation:
    """Distils a model's support set in an inner loop, its query set in the outer one.

    Learner and model see the same images, moved at random anew for every pass. The labels are the model's answers.

    Args:
        network: gives the learner's form.
        parameters: where every inner loop starts; never changed here.
        views: the augmentation.
        steps, learning_rate, first_order: of the inner loop, as in :func:`dfml.metalearning.inner_loop.adapt`.
        loss: as in :func:`dfml.metalearning.distillation.distillation_loss` (B1).
    """

    def __init__(
        self,
        network: nn.Module,
        parameters: Parameters,
        views: Views,
        *,
        steps: int,
        learning_rate: float,
        first_order: bool,
        loss: str,
    ) -> None:
        self.network, self.parameters, self.views = network, parameters, views
        self.steps, self.learning_rate, self.first_order, self.loss = steps, learning_rate, first_order, loss

    @property
    def teacher_passes(self) -> int:
        """Batches that one task asks of its model."""
        return self.steps + 1

    def inner(self, support: Recovered, generator: torch.Generator) -> Parameters:
        """The learner adapted to a model by its support set, with the graph that leads back to the parameters."""
        crop_flips = self._crop_flips(self.steps, support, generator)
        lessons = (self._lesson(support, crop_flips[step]) for step in range(self.steps))
        with private_copy(self.network) as form, second_derivatives(form):
            losses = (partial(self._distance, form, *lesson) for lesson in lessons)
            return descend(losses, self.parameters, learning_rate=self.learning_rate, first_order=self.first_order)

    def outer(self, adapted: Parameters, query: Recovered, generator: torch.Generator) -> MetaGradient:
        """What the adapted learner has missed on the query set, differentiated through :meth:`inner`, which it ends.

        The accuracy is that of hitting the asked classes.
        """
        inputs, teacher = self._lesson(query, self._crop_flips(1, query, generator)[0])
        with private_copy(self.network) as form, second_derivatives(form):
            logits = functional_call(form, adapted, (inputs,))
            loss = distillation_loss(logits, teacher, self.loss)
            gradients = torch.autograd.grad(loss, list(self.parameters.values()))
        accuracy = (logits.argmax(1) == query.targets).float().mean()
        return MetaGradient(loss.detach(), accuracy, dict(zip(self.parameters, gradients, strict=True)))

    def _crop_flips(self, batches: int, item: Recovered, generator: torch.Generator) -> CropFlips:
        images = item.images
        crop_flips = self.views.draw(
            batches, images=len(images), canvas=images.shape[-1], side=item.model.side, generator=generator
        )
        return crop_flips.to(images.device)

    def _lesson(self, item: Recovered, crop_flips: CropFlips) -> tuple[Tensor, Tensor]:
        """Images as the learner sees them, and the model's answers; neither with a graph."""
        with torch.no_grad():
            inputs = self.views.inputs(item.model, item.images, crop_flips)
            return self.views.of_learner(inputs), item.model.network(inputs)

    def _distance(self, form: nn.Module, inputs: Tensor, teacher: Tensor, parameters: Parameters) -> Tensor:
        return distillation_loss(functional_call(form, parameters, (inputs,)), teacher, self.loss)
