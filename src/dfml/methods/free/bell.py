"""BELL: implicit gradient alignment by sequential distillation (docs/method.md §4)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dfml.compute.capture import Recorded
from dfml.compute.optimisers import SGD, Adam, Optimiser
from dfml.inversion.objective import Views
from dfml.inversion.recovered import Recovered
from dfml.metalearning.distillation import distillation_loss
from dfml.metalearning.inner_loop import Parameters, set_gradients
from dfml.methods.free.settings import BellSettings


class SequentialSteps:
    """A walk over recovered sets, one distillation step (or more) on each, that starts anew every time.

    The displacement of the whole walk rewards inner products between the sets' gradients (docs/method.md §4.2).

    Args:
        network: gives the student's form.
        parameters: where every walk starts; never changed here.
        settings: of BELL.
        views: the augmentation; student and teacher see the same tensor.
    """

    def __init__(
        self,
        network: nn.Module,
        parameters: Parameters,
        settings: BellSettings,
        views: Views,
    ) -> None:
        self.network, self.parameters, self.settings, self.views = network, parameters, settings, views
        self._fast = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}
        kind = Adam if settings.fast_optimiser == "adam" else SGD
        self._optimiser = kind([list(self._fast.values())], [settings.fast_learning_rate])
        self._step = Recorded(self._distil, next(iter(parameters.values())).device)

    def walk(self, sets: Sequence[Recovered], generator: torch.Generator) -> tuple[Parameters, Tensor]:
        """The end of a walk over ``sets`` and the mean loss met on the way.

        The end is overwritten by the next walk.
        """
        with torch.no_grad():
            torch._foreach_copy_(list(self._fast.values()), list(self.parameters.values()))
        self._optimiser.reset()
        order = torch.arange(len(sets))
        if self.settings.order == "shuffled":
            order = torch.randperm(len(sets), generator=generator)
        losses: list[Tensor] = []
        for index in order.tolist():
            model, images = sets[index].model, sets[index].images
            for _ in range(self.settings.fast_steps):
                crop_flips = self.views.draw(
                    images=len(images), canvas=images.shape[-1], side=model.side, generator=generator
                )
                inputs = self.views.inputs(model, images, crop_flips.to(images.device))
                with torch.no_grad():
                    teacher = model.network(inputs)
                losses += self._step(inputs, teacher)
        return {name: p.detach() for name, p in self._fast.items()}, torch.stack(losses).mean()

    def _distil(self, inputs: Tensor, teacher: Tensor) -> tuple[Tensor]:
        loss = distillation_loss(functional_call(self.network, self._fast, (inputs,)), teacher, self.settings.kd_loss)
        set_gradients(
            self._fast, dict(zip(self._fast, torch.autograd.grad(loss, list(self._fast.values())), strict=True))
        )
        self._optimiser.step()
        self._optimiser.zero_grad()
        return (loss.detach(),)


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
