"""The outer step of each kind of learner: MAML, ANIL, ProtoNet."""

from typing import Protocol

from torch import nn

from dfml.compute.optimisers import Optimiser
from dfml.metalearning.inner_loop import Parameters
from dfml.metalearning.meta_step import MetaStep
from dfml.metalearning.prototypes import PrototypeStep


class InnerLoop(Protocol):
    """The part of a method's settings that says how its learner adapts in training."""

    inner_steps: int
    inner_learning_rate: float
    first_order: bool
    reduce: str


def make_outer_step(
    learner: str,
    network: nn.Module,
    parameters: Parameters,
    optimiser: Optimiser,
    settings: InnerLoop,
    *,
    ways: int,
) -> MetaStep | PrototypeStep:
    """The step of a ``maml``, ``anil`` or ``protonet``; the last has no inner loop and ignores its settings.

    Args:
        learner: its kind.
        network: gives the form; its own parameters are not used.
        parameters: moved in place; held by ``optimiser``.
        optimiser: of the parameters.
        settings: inner loop of MAML and ANIL.
        ways: classes of an episode.
    """
    if learner == "protonet":
        return PrototypeStep(network, parameters, optimiser, ways=ways)
    if learner not in ("maml", "anil"):
        raise ValueError(f"unknown learner {learner!r}")
    return MetaStep(
        network,
        parameters,
        optimiser,
        ways=ways,
        steps=settings.inner_steps,
        learning_rate=settings.inner_learning_rate,
        first_order=settings.first_order,
        reduce=settings.reduce,
        head_only=learner == "anil",
    )
