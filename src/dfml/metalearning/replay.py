"""Cross-task replay: MAML, ANIL or ProtoNet on episodes that mix the classes of many models (docs/method.md §5)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfml.compute.placement import channels_last
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.inner_loop import Parameters, class_major, fine_tuned
from dfml.metalearning.meta_step import MetaStep
from dfml.metalearning.patience import Patience
from dfml.metalearning.prototypes import PrototypeStep
from dfml.metalearning.settings import ReplaySettings


@dataclass(frozen=True)
class ReplayReport:
    """Outer steps taken and their episodes, mean loss and query accuracy in percent (on the device).

    ``last_episode``, if asked for, is where that began: the parameters before the last outer step and its last support
    set.
    """

    steps: int
    episodes: int
    loss: Tensor
    accuracy: Tensor
    last_episode: tuple[Parameters, Tensor] | None


def replay(
    step: MetaStep | PrototypeStep,
    source: BankEpisodes,
    settings: ReplaySettings,
    *,
    generator: torch.Generator,
    keep_last: bool = False,
) -> ReplayReport:
    """One replay phase; ``step`` moves its parameters in place.

    Images are not augmented (docs/method.md §5.2).
    ``keep_last`` remembers where the last outer step began, which :func:`last_fast_weights` of MAML asks for.
    """
    patience = Patience(settings.patience)
    losses: list[Tensor] = []
    accuracies: list[Tensor] = []
    last_episode = None
    while len(losses) < settings.max_outer:
        support, query = source.draw(settings.episodes, ways=step.ways, generator=generator)
        if keep_last:
            last_episode = ({name: p.detach().clone() for name, p in step.parameters.items()}, support[-1])
        loss, accuracy = step(support, query)
        losses.append(loss)
        accuracies.append(accuracy)
        if settings.mode == "patience":
            patience.take(accuracy)
            if patience.used_up():
                break
    if not losses:
        nothing = torch.full((), float("nan"))
        return ReplayReport(0, 0, nothing, nothing, None)
    accuracy = 100 * torch.stack(accuracies).mean()
    return ReplayReport(
        len(losses), len(losses) * settings.episodes, torch.stack(losses).mean(), accuracy, last_episode
    )


def last_fast_weights(step: MetaStep, parameters: Parameters, support: Tensor) -> Parameters:
    """The weights that the published code leaves on its student after replay: those of the last episode (F04).

    ``parameters`` are where the last outer step began, ``support`` its episode's ``[ways · shots, 3, side, side]``.
    """
    labels = class_major(support, step.ways)
    return fine_tuned(
        step.network, parameters, channels_last(support), labels, steps=step.steps, learning_rate=step.learning_rate
    )
