"""The inner loop of MAML: one functional adaptation, used in training, evaluation and by users."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dfml.networks.batch_norm import affine_apart

Parameters = dict[str, Tensor]


def parameters_of(network: nn.Module) -> Parameters:
    """The network's parameters by name, detached copies that require gradients."""
    return {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}


def adapt(
    network: nn.Module,
    parameters: Parameters,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    learning_rate: float,
    first_order: bool = True,
    in_transform: bool = False,
) -> Parameters:
    """Adapt to one task by gradient steps on the support set (MAML; docs/method.md §5.3, §8.2).

    Args:
        network: the module that gives the form; its own parameters are not used.
        parameters: the starting point; must require gradients unless ``in_transform``.
        images: support images, normalised, ``[ways · shots, 3, side, side]``.
        labels: ``[ways · shots]``.
        steps: gradient steps.
        learning_rate: of every step.
        first_order: cut the graph through the gradients (F43).
        in_transform: the call is inside a ``torch.func`` transform such as ``vmap``. The same gradients are then
            taken with ``torch.func.grad``, which costs a third more outside of one.

    Returns:
        Adapted parameters; the given ones are unchanged.
    """

    def loss(current: Parameters) -> Tensor:
        return F.cross_entropy(functional_call(network, current, (images,)), labels)

    adapted = parameters
    for _ in range(steps):
        if in_transform:
            gradients = grad(loss)(adapted)
        else:
            found = torch.autograd.grad(loss(adapted), list(adapted.values()), create_graph=not first_order)
            gradients = dict(zip(adapted, found, strict=True))
        if first_order:
            gradients = {name: gradient.detach() for name, gradient in gradients.items()}
        adapted = {name: torch.sub(p, gradients[name], alpha=learning_rate) for name, p in adapted.items()}
    return adapted


class MetaGradient(NamedTuple):
    """Query loss and accuracy (a fraction) of a set of episodes, scalars, and the gradient by parameter name."""

    loss: Tensor
    accuracy: Tensor
    gradients: Parameters


def meta_gradient(
    network: nn.Module,
    parameters: Parameters,
    support: Tensor,
    query: Tensor,
    *,
    ways: int,
    steps: int,
    learning_rate: float,
    first_order: bool,
    reduce: str = "mean",
    batched: bool | None = None,
) -> MetaGradient:
    """Gradient of the query loss after adaptation, over a batch of class-major episodes.

    Args:
        support: normalised images ``[episodes, ways · shots, 3, side, side]``.
        query: likewise ``[episodes, ways · queries, …]``.
        reduce: ``mean`` or ``sum`` over episodes (F27).
        batched: all episodes in one ``vmap``; by default on CUDA only. On a CPU the episodes run one after another,
            each graph freed before the next: as fast, and the memory of one.
    """
    device = support.device
    support_labels = torch.arange(ways, device=device).repeat_interleave(support.shape[1] // ways)
    query_labels = torch.arange(ways, device=device).repeat_interleave(query.shape[1] // ways)
    batched = device.type == "cuda" if batched is None else batched

    def episode(own_support: Tensor, own_query: Tensor) -> tuple[Tensor, Tensor]:
        adapted = adapt(
            network,
            parameters,
            own_support,
            support_labels,
            steps=steps,
            learning_rate=learning_rate,
            first_order=first_order,
            in_transform=batched,
        )
        logits = functional_call(network, adapted, (own_query,))
        return F.cross_entropy(logits, query_labels), (logits.argmax(-1) == query_labels).float().mean()

    values = list(parameters.values())
    if batched:
        with affine_apart(network):
            losses, accuracies = vmap(episode)(support, query)
        totals = list(torch.autograd.grad(losses.sum(), values))
        loss, accuracy = losses.sum().detach(), accuracies.mean()
    else:
        totals = [torch.zeros_like(p) for p in values]
        loss = torch.zeros((), dtype=values[0].dtype, device=device)
        accuracy = torch.zeros((), device=device)
        for own_support, own_query in zip(support, query, strict=True):
            own_loss, own_accuracy = episode(_channels_last(own_support), _channels_last(own_query))
            torch._foreach_add_(totals, list(torch.autograd.grad(own_loss, values)))
            loss, accuracy = loss + own_loss.detach(), accuracy + own_accuracy / len(support)
    if reduce == "mean":
        torch._foreach_div_(totals, len(support))
        loss = loss / len(support)
    return MetaGradient(loss, accuracy, dict(zip(parameters, totals, strict=True)))


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def set_gradients(parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
    """Hand gradients to an optimiser that holds ``parameters``."""
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]
