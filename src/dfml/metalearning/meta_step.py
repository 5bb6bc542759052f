"""The outer steps of MAML and ANIL: episodes in, parameters moved (docs/method.md §5.3)."""

from contextlib import nullcontext

from torch import Tensor, nn

from dfml.compute.capture import Recorded
from dfml.compute.optimisers import Optimiser
from dfml.compute.placement import channels_last
from dfml.compute.workers import private_copy
from dfml.metalearning.episode_forms import EpisodeForm
from dfml.metalearning.inner_loop import Parameters, query_loss
from dfml.metalearning.meta_gradient import meta_gradient, set_gradients
from dfml.metalearning.prototypes import PrototypeStep
from dfml.metalearning.settings import OuterStepSettings
from dfml.networks.batch_norm import second_derivatives
from dfml.networks.classifier import Classifier


class MetaStep:
    """Adapts to every episode of a batch, differentiates the query losses and moves the parameters.

    On a GPU the whole step, optimiser included, is one CUDA graph for each shape of episodes.

    Args:
        network: gives the form; its own parameters are not used.
        parameters: moved in place; held by ``optimiser``.
        optimiser: of the parameters.
        ways: classes of an episode.
        steps, learning_rate, first_order, reduce, head_only, form: as in
            :func:`dfml.metalearning.meta_gradient.meta_gradient`.
    """

    def __init__(
        self,
        network: nn.Module,
        parameters: Parameters,
        optimiser: Optimiser,
        *,
        ways: int,
        steps: int,
        learning_rate: float,
        first_order: bool,
        reduce: str = "mean",
        head_only: bool = False,
        form: EpisodeForm | None = None,
    ) -> None:
        self.network, self.parameters, self.optimiser = network, parameters, optimiser
        self.ways, self.steps, self.learning_rate = ways, steps, learning_rate
        self.first_order, self.reduce, self.head_only, self.form = first_order, reduce, head_only, form
        self._step = Recorded(self._compute, next(iter(parameters.values())).device)

    def __call__(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """One step on class-major episodes ``[episodes, ways · shots, 3, side, side]``, normalised.

        Returns:
            Query loss and accuracy (a fraction), scalars on the device; reading them waits for it.
        """
        loss, accuracy = self._step(support, query)
        return loss, accuracy

    def episode_loss(self, support: Tensor, query: Tensor) -> Tensor:
        """The query loss of one episode after adaptation, from which gradients reach the images; nothing moves.

        Args:
            support, query: normalised class-major images ``[ways · shots, 3, side, side]`` and ``[ways · queries, …]``.
        """
        with private_copy(self.network) as form, nullcontext() if self.first_order else second_derivatives(form):
            loss, _ = query_loss(
                form,
                self.parameters,
                channels_last(support),
                channels_last(query),
                ways=self.ways,
                steps=self.steps,
                learning_rate=self.learning_rate,
                first_order=self.first_order,
                head_only=self.head_only,
            )
            return loss

    def _compute(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        result = meta_gradient(
            self.network,
            self.parameters,
            support,
            query,
            ways=self.ways,
            steps=self.steps,
            learning_rate=self.learning_rate,
            first_order=self.first_order,
            reduce=self.reduce,
            head_only=self.head_only,
            form=self.form,
        )
        set_gradients(self.parameters, result.gradients)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return result.loss, result.accuracy


def make_outer_step(
    learner: str,
    network: Classifier,
    parameters: Parameters,
    optimiser: Optimiser,
    settings: OuterStepSettings | None,
    *,
    ways: int,
) -> MetaStep | PrototypeStep:
    """The step of a ``maml``, ``anil`` or ``protonet``; the last has no inner loop and needs no settings.

    Args:
        learner: its kind.
        network: gives the form; its own parameters are not used.
        parameters: moved in place; held by ``optimiser``.
        optimiser: of the parameters.
        settings: inner loop of MAML and ANIL; a ProtoNet needs none.
        ways: classes of an episode.

    Raises:
        ValueError: there is no such kind, or settings are missing.
    """
    if learner == "protonet":
        return PrototypeStep(network, parameters, optimiser, ways=ways)
    if learner not in ("maml", "anil"):
        raise ValueError(f"unknown learner {learner!r}")
    if settings is None:
        raise ValueError(f"{learner!r} needs settings of its inner loop")
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
