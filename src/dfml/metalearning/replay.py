"""Cross-task replay: MAML on episodes that mix the classes of many models (docs/method.md §5)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfml.config.methods import ReplaySettings
from dfml.data.augment import normalise
from dfml.inversion.bank import ImageBank
from dfml.metalearning.inner_loop import Parameters, adapt, meta_gradient, set_gradients
from dfml.metalearning.variation import recolour
from dfml.runtime.optimisers import Optimiser


class Patience:
    """Stops when ``limit`` values in a row have not improved on the best (F26)."""

    def __init__(self, limit: int) -> None:
        self.limit, self.best, self.waited = limit, float("-inf"), 0

    def exhausted(self, value: float) -> bool:
        """Take a value; True once the patience is used up."""
        self.waited = 0 if value > self.best else self.waited + 1
        self.best = max(self.best, value)
        return self.waited >= self.limit


@dataclass(frozen=True)
class ReplayReport:
    """Outer steps taken, their mean loss and query accuracy in percent (on the device).

    ``last_episode`` is where that began: the parameters before the last outer step and its last support set.
    """

    steps: int
    loss: Tensor
    accuracy: Tensor
    last_episode: tuple[Parameters, Tensor] | None


def replay(
    network: nn.Module,
    parameters: Parameters,
    bank: ImageBank,
    settings: ReplaySettings,
    optimiser: Optimiser,
    *,
    mean: Tensor,
    std: Tensor,
    ways: int,
    shots: int,
    draws: torch.Generator,
) -> ReplayReport:
    """One replay phase; moves ``parameters`` (held by ``optimiser``) in place.

    Images are normalised with ``mean`` and ``std``, ``[3]`` each, without augmentation (docs/method.md §5.2).
    """
    patience = Patience(settings.patience)
    losses, accuracies = [], []
    last_episode = None
    for _ in range(settings.max_outer):
        support, query = bank.sample_episodes(
            settings.episodes, ways=ways, shots=shots, queries=settings.queries, draws=draws
        )
        if settings.recolour:
            support, query = _recoloured(support, draws), _recoloured(query, draws)
        support, query = normalise(support, mean, std), normalise(query, mean, std)
        last_episode = ({name: p.detach().clone().requires_grad_() for name, p in parameters.items()}, support[-1])
        result = meta_gradient(
            network,
            parameters,
            support,
            query,
            ways=ways,
            steps=settings.inner_steps,
            learning_rate=settings.inner_learning_rate,
            first_order=settings.first_order,
            reduce=settings.reduce,
        )
        set_gradients(parameters, result.gradients)
        optimiser.step()
        losses.append(result.loss)
        accuracies.append(result.accuracy)
        # The published stopping rule looks at every step, so only this mode waits for the device.
        if settings.mode == "patience" and patience.exhausted(float(result.accuracy)):
            break
    optimiser.zero_grad()
    if not losses:
        nothing = torch.full((), float("nan"))
        return ReplayReport(0, nothing, nothing, None)
    return ReplayReport(len(losses), torch.stack(losses).mean(), 100 * torch.stack(accuracies).mean(), last_episode)


def last_fast_weights(
    network: nn.Module, parameters: Parameters, support: Tensor, settings: ReplaySettings, *, ways: int
) -> Parameters:
    """The weights that the published code leaves on its student after replay: those of the last episode (F04)."""
    labels = torch.arange(ways, device=support.device).repeat_interleave(len(support) // ways)
    adapted = adapt(
        network,
        parameters,
        support.contiguous(memory_format=torch.channels_last),
        labels,
        steps=settings.inner_steps,
        learning_rate=settings.inner_learning_rate,
    )
    return {name: p.detach() for name, p in adapted.items()}


def _recoloured(episodes: Tensor, draws: torch.Generator) -> Tensor:
    return recolour(episodes.flatten(0, 1), draws).view_as(episodes)
