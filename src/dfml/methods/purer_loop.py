"""The loop of PURER: a step on the images, then one on the learner (docs/methods/purer.md)."""

from typing import Any

import torch
from torch import Tensor

from dfml.config.methods.purer import PurerSettings
from dfml.errors import DfmlError
from dfml.inversion.dynamic_set import DynamicImages, DynamicSet
from dfml.inversion.pixel_loss import PixelLoss, Question
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.curriculum import Curriculum
from dfml.metalearning.inner_loop import Parameters, parameters_of
from dfml.metalearning.meta_step import MetaStep
from dfml.metalearning.prototypes import PrototypeStep
from dfml.methods.average import averaged
from dfml.methods.base import Context
from dfml.runtime.optimisers import Adam
from dfml.runtime.seeds import numpy_rng, torch_generator
from dfml.runtime.timeline import Timeline
from dfml.zoo.pool import PoolModel


class PurerLoop:
    """PURER's state and its iteration; resumable at any iteration.

    Args:
        context: the cell.
        settings: of PURER.
        learner: ``maml``, ``anil`` or ``protonet``.
    """

    def __init__(self, context: Context, settings: PurerSettings, learner: str) -> None:
        self.context, self.settings = context, settings
        pool = context.pool
        self.network = context.new_learner(pool.side)
        self.parameters = _start(context, settings)
        self.optimiser = Adam([list(self.parameters.values())], [settings.learning_rate])
        self.draws = torch_generator(context.seed, "purer", context.shots)
        self.set = DynamicSet(
            pool,
            images_per_class=settings.images_per_class or context.shots + settings.queries,
            learning_rate=settings.image_learning_rate,
            clip=settings.clip,
            sparse=settings.sparse,
            roles=settings.roles,
            draws=self.draws,
        )
        self.loss = PixelLoss(settings.tv_weight, settings.bn_weight, settings.l2_weight)
        self.meta_step: MetaStep | PrototypeStep
        if learner == "protonet":
            self.meta_step = PrototypeStep(self.network, self.parameters, self.optimiser, ways=context.ways)
        else:
            self.meta_step = MetaStep(
                self.network,
                self.parameters,
                self.optimiser,
                ways=context.ways,
                steps=settings.inner_steps,
                learning_rate=settings.inner_learning_rate,
                first_order=settings.first_order,
                reduce=settings.reduce,
                head_only=learner == "anil",
            )
        self.episodes = self._episodes_of(self.set.images)
        self.curriculum = Curriculum(settings.curriculum_after, settings.curriculum_patience)
        self.timeline = Timeline(context.job.device, {"inversion": 0.0, "meta_learning": 0.0})
        self.teacher_passes = 0
        self._unchecked: list[Tensor] = []

    def iteration(self, iteration: int) -> dict[str, Tensor]:
        """One meta-iteration; returns the quantities that matter, on the device."""
        with self.timeline.stage("inversion"):
            quantities = self._move_images(iteration)
        with self.timeline.stage("meta_learning"):
            support, query = self.episodes.draw(self.settings.episodes, ways=self.context.ways, draws=self.draws)
            loss, accuracy = self.meta_step(support, query)
            self.curriculum.observe(iteration, accuracy)
        self._unchecked.append(loss)
        return quantities | {"replay_loss": loss, "replay_accuracy": 100 * accuracy}

    def _move_images(self, iteration: int) -> dict[str, Tensor]:
        models = self._models(iteration)
        gradients, losses, entropies = self.loss.gradients([self._question(model) for model in models])
        total: dict[int, Tensor] = {}
        for place, (model, found) in enumerate(zip(models, gradients, strict=True)):
            weight = len(models) - place if self.settings.model_weight == "triangular" else 1
            for row, gradient in zip(self._asked(model), found, strict=True):
                total[row] = total[row] + weight * gradient if row in total else weight * gradient
        quantities = {"teacher_ce": entropies.mean()}
        if self.curriculum.harder():
            quantities["adversarial_loss"] = self._make_harder(total)
        self.set.step(total)
        self.teacher_passes += len(models)
        self._unchecked.append(losses.sum())
        return quantities

    def _models(self, iteration: int) -> list[PoolModel]:
        """Different models, data sets and architectures evenly; depends on seed and iteration alone."""
        pool, count = self.context.pool, self.settings.models_per_iteration
        if count is None:
            return list(pool)
        rng = numpy_rng(self.context.seed, "purer", "models", iteration)
        return [pool[int(index)] for index in pool.walk(rng)[:count]]

    def _asked(self, model: PoolModel) -> list[int]:
        """Rows of the set in the order in which they are to be the model's outputs (P2)."""
        rows = self.set.rows(model)
        return sorted(rows) if self.settings.label_order == "official" else rows

    def _question(self, model: PoolModel) -> Question:
        reach = self.settings.roll
        down, right = torch.randint(-reach, reach + 1, (2,), generator=self.draws).tolist()
        return Question(model, self.set.images_of(self._asked(model)), (down, right))

    def _make_harder(self, total: dict[int, Tensor]) -> Tensor:
        """Take the ascent of a random episode's outer loss into ``total``; returns that loss."""
        variable = self.set.variable()
        episodes = self._episodes_of(variable)
        classes, support, query = episodes.draw_labelled(1, ways=self.context.ways, draws=self.draws)
        loss = self.meta_step.episode_loss(support[0], query[0])
        (ascent,) = torch.autograd.grad(loss, variable.pixels)
        for label in classes.flatten().tolist():
            row = self.set.row_of[label]
            step = -self.settings.adversarial_weight * ascent[row]
            total[row] = total[row] + step if row in total else step
        return loss.detach()

    def _episodes_of(self, images: DynamicImages) -> BankEpisodes:
        settings = self.settings
        return BankEpisodes(
            images, self.context.pool, shots=self.context.shots, queries=settings.queries, side=settings.side
        )

    def check(self) -> None:
        """Raise DfmlError if a loss since the last call was not finite."""
        losses, self._unchecked = self._unchecked, []
        if losses and not torch.stack(losses).isfinite().all():
            raise DfmlError(
                "PURER: a loss is not finite; lower `purer.image_learning_rate`, `purer.learning_rate` or "
                "`purer.adversarial_weight`, or keep `purer.clip: true`"
            )

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "set": self.set.state(),
            "parameters": {name: p.detach() for name, p in self.parameters.items()},
            "optimiser": self.optimiser.state(),
            "draws": self.draws.get_state(),
            "curriculum": self.curriculum.state(),
            "teacher_passes": self.teacher_passes,
        }

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.set.load_state(state["set"])
        for name, parameter in self.parameters.items():
            parameter.copy_(state["parameters"][name])
        self.optimiser.load_state(state["optimiser"])
        self.draws.set_state(state["draws"])
        self.curriculum.load_state(state["curriculum"])
        self.teacher_passes = state["teacher_passes"]


def _start(context: Context, settings: PurerSettings) -> Parameters:
    """The learner at first; there is an average only of models that all are of its own network."""
    if settings.start != "average":
        return parameters_of(context.starting_learner(settings.start))
    network = context.starting_learner("random")
    if len(context.models_like_the_learner()) == len(context.pool):
        network.load_state_dict(averaged(context, settings.head))
    return parameters_of(network)
