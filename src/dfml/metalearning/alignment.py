"""BELL: implicit gradient alignment by sequential distillation (docs/method.md §4)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from dfml.config.methods import BellSettings
from dfml.data.augment import random_crop_flip
from dfml.inversion.meta_generator import Recovered
from dfml.metalearning.inner_loop import Parameters
from dfml.runtime.optimisers import SGD, Adam, Optimiser


def distillation_loss(student: Tensor, teacher: Tensor, kind: str) -> Tensor:
    """How far the student is from the teacher; logits ``[B, ways]`` both.

    ``kl`` is KL(teacher‖student) at temperature 1, the batch mean. ``linear_prob`` is the published expression: a KL
    of probabilities in place of log-probabilities, averaged over elements, which reduces to minus the mean of their
    product plus a constant (F02).
    """
    if kind == "kl":
        return F.kl_div(F.log_softmax(student, 1), F.log_softmax(teacher, 1), reduction="batchmean", log_target=True)
    if kind == "linear_prob":
        targets = F.softmax(teacher, 1)
        return (targets * (F.log_softmax(teacher, 1) - F.softmax(student, 1))).mean()
    raise ValueError(f"unknown distillation loss {kind!r}")


def sequential_steps(
    network: nn.Module,
    parameters: Parameters,
    sets: Sequence[Recovered],
    settings: BellSettings,
    *,
    crop_padding: int,
    per_sample: bool,
    draws: torch.Generator,
) -> tuple[Parameters, Tensor]:
    """Walk from ``parameters`` over the recovered sets, one distillation step (or more) on each.

    The displacement of the whole walk rewards inner products between the sets' gradients (docs/method.md §4.2).

    Returns:
        The end of the walk and the mean loss met on the way; ``parameters`` are unchanged.
    """
    fast = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}
    values = list(fast.values())
    kind = Adam if settings.fast_optimiser == "adam" else SGD
    optimiser = kind([values], [settings.fast_learning_rate])
    order = torch.arange(len(sets))
    if settings.order == "shuffled":
        order = torch.randperm(len(sets), generator=draws)
    losses = []
    for index in order.tolist():
        model, images = sets[index].model, sets[index].images
        for _ in range(settings.fast_steps):
            views = images
            if crop_padding:
                views = random_crop_flip(
                    images, padding=crop_padding, flip=True, per_sample=per_sample, generator=draws
                )
            inputs = model.normalise(views).contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                teacher = model.network(inputs)
            loss = distillation_loss(functional_call(network, fast, (inputs,)), teacher, settings.kd_loss)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
    return {name: p.detach() for name, p in fast.items()}, torch.stack(losses).mean()


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
