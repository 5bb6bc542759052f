"""PURER (Hu et al., CVPR 2023): a step on synthetic images, then one on the learner (docs/methods/purer.md)."""

import torch
from torch import Tensor

from dfml.compute.seeds import numpy_rng, torch_generator
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.meta_step import make_outer_step
from dfml.metalearning.patience import Patience
from dfml.methods.base import Context, Fitted
from dfml.methods.fusion.average import averaged
from dfml.methods.purer.dynamic_set import DynamicImages, DynamicSet
from dfml.methods.purer.pixel_loss import PixelLoss, Question
from dfml.methods.purer.settings import PurerSettings
from dfml.methods.training import LearnerLoop, iterate
from dfml.networks.classifier import Classifier
from dfml.zoo.model import PoolModel


def fit(context: Context) -> Fitted:
    """Meta-train MAML, ANIL or ProtoNet, as the catalogue says, on episodes of images trained meanwhile."""
    settings = context.own(PurerSettings)
    learner = context.adapts or "maml"
    loop = PurerLoop(context, settings, learner)
    snapshots, history = iterate(
        context, loop, iterations=settings.iterations, snapshots=settings.snapshots, warmup=settings.warmup
    )
    return Fitted.of_learner(
        context,
        snapshots,
        teacher_passes=loop.teacher_passes,
        train_episodes=loop.train_episodes,
        history=history,
        stages=loop.timeline.seconds,
        finetune=learner != "protonet",
        head_only=learner == "anil",
    )


class PurerLoop(LearnerLoop):
    """PURER's state and its iteration; resumable at any iteration.

    Args:
        context: the cell.
        settings: of PURER.
        learner: ``maml``, ``anil`` or ``protonet``.
    """

    MOVES = ("set", "patience")

    def __init__(self, context: Context, settings: PurerSettings, learner: str) -> None:
        super().__init__(
            context,
            _start(context, settings),
            outer=settings,
            generator=torch_generator(context.seed, "purer", context.shots),
            stages=("inversion", "meta_learning"),
            remedy="`purer.image_learning_rate`, `purer.learning_rate` or `purer.adversarial_weight`, or keep "
            "`purer.clip: true`",
        )
        self.settings = settings
        pool = context.pool
        self.set = DynamicSet(
            pool,
            images_per_class=settings.images_per_class or context.shots + settings.queries,
            learning_rate=settings.image_learning_rate,
            clip=settings.clip,
            sparse=settings.sparse,
            roles=settings.roles,
            generator=self.generator,
        )
        self.loss = PixelLoss(settings.tv_weight, settings.bn_weight, settings.l2_weight)
        self.meta_step = make_outer_step(
            learner, self.network, self.parameters, self.optimiser, settings, ways=context.ways
        )
        self.episodes = self._episodes_of(self.set.images)
        self.patience = Patience(settings.curriculum_patience, after=settings.curriculum_after)

    def iteration(self, iteration: int) -> dict[str, Tensor]:
        """One meta-iteration; returns the quantities that matter, on the device."""
        with self.timeline.stage("inversion"):
            quantities = self._move_images(iteration)
        if iteration < self.settings.warmup:
            return quantities
        with self.timeline.stage("meta_learning"):
            support, query = self.episodes.draw(
                self.settings.episodes, ways=self.context.ways, generator=self.generator
            )
            loss, accuracy = self.meta_step(support, query)
            self.patience.take(accuracy)
            self.train_episodes += self.settings.episodes
        self.watch(loss)
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
        if self.patience.used_up():
            quantities["adversarial_loss"] = self._make_harder(total)
        self.set.step(total)
        self.teacher_passes += len(models)
        self.watch(losses.sum())
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
        down, right = torch.randint(-reach, reach + 1, (2,), generator=self.generator).tolist()
        return Question(model, self.set.images_of(self._asked(model)), (down, right))

    def _make_harder(self, total: dict[int, Tensor]) -> Tensor:
        """Take the ascent of a random episode's outer loss into ``total``; returns that loss."""
        variable = self.set.variable()
        episodes = self._episodes_of(variable)
        classes, support, query = episodes.draw_labelled(1, ways=self.context.ways, generator=self.generator)
        loss = self.meta_step.episode_loss(support[0], query[0])
        (ascent,) = torch.autograd.grad(loss, variable.pixels)
        for label in classes.flatten().tolist():
            row = self.set.row_of[label]
            step = -self.settings.adversarial_weight * ascent[row]
            total[row] = total[row] + step if row in total else step
        return loss.detach()

    def _episodes_of(self, images: DynamicImages) -> BankEpisodes:
        context, settings = self.context, self.settings
        side = context.learner.side
        return BankEpisodes.for_replay(images, context.pool, settings, shots=context.shots, learner_side=side)


def _start(context: Context, settings: PurerSettings) -> Classifier:
    """The learner at first; there is an average only of models that all are of its own network."""
    if settings.start != "average":
        return context.starting_learner(settings.start)
    network = context.starting_learner("random")
    if len(context.models_like_the_learner()) == len(context.pool):
        network.load_state_dict(averaged(context, settings.head))
    return network
