"""TGR (ICML 2024): dissimilar models grouped by their embeddings, distilled together with regularised disagreement."""

import torch
from torch import Tensor

from dfml.compute.seeds import numpy_rng, torch_generator
from dfml.inversion.bank import ImageBank
from dfml.inversion.objective import Views, make_objective
from dfml.inversion.per_model import FromScratch
from dfml.inversion.recovered import Recovered
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.meta_step import make_outer_step
from dfml.metalearning.replay import replay
from dfml.methods.base import Context, Fitted, Snapshot
from dfml.methods.history import later
from dfml.methods.tgr.embedding import embed
from dfml.methods.tgr.grouping import DissimilarGroups
from dfml.methods.tgr.regularisation import RegularisedStep, TaughtSet
from dfml.methods.tgr.settings import TgrSettings
from dfml.methods.training import LearnerLoop, iterate


def fit(context: Context) -> Fitted:
    """Embed and group the models, then meta-train a learner on one group after another."""
    settings = context.own(TgrSettings)
    loop = TgrLoop(context, settings)
    embedded = embed(context, settings, loop.recover, loop.bank)
    loop.groups = DissimilarGroups(embedded.similarity, settings.groups, torch_generator(context.seed, "tgr", "groups"))
    kept, rows = iterate(context, loop, iterations=settings.iterations, snapshots=settings.snapshots)
    seconds = embedded.seconds
    return Fitted.of_learner(
        context,
        [Snapshot(s.iteration, s.seconds + seconds, s.states) for s in kept],
        teacher_passes=embedded.teacher_passes + loop.teacher_passes,
        train_episodes=loop.train_episodes,
        history=embedded.history + later(rows, seconds),
        stages={"embedding": seconds, **loop.timeline.seconds},
    )


class TgrLoop(LearnerLoop):
    """Meta-learner, bank and inverter with all that one iteration needs; resumable at any iteration.

    Args:
        context: the cell.
        settings: of TGR.
    """

    MOVES = ("bank",)  # the groups follow from the embeddings

    groups: DissimilarGroups  # made of the embeddings, after the bank that those fill

    def __init__(self, context: Context, settings: TgrSettings) -> None:
        assert context.inversion_settings is not None
        super().__init__(
            context,
            context.starting_learner(settings.start),
            outer=settings.replay,
            generator=torch_generator(context.seed, "tgr", context.shots),
            stages=("inversion", "regularisation", "replay"),
            remedy="`tgr.displacement`, `tgr.replay.learning_rate` or `tgr.replay.inner_learning_rate`",
        )
        self.settings = settings
        inversion, pool, device = context.inversion_settings, context.pool, context.job.device
        side = context.learner.side
        inversion = inversion.model_copy(update={"augment": settings.augment})
        objective = make_objective(inversion, ce_weight=inversion.per_model.ce_weight, bn_weight=settings.bn_weight)
        self.recover = FromScratch(
            inversion, objective, side=pool.canvas, device=device, steps=settings.inversion_steps
        )
        self.bank = ImageBank.empty(pool, inversion, device)
        self.views = Views(inversion.crop_padding, settings.augment == "per_sample", inversion.resize, side)
        self.step = RegularisedStep(
            self.network,
            self.parameters,
            self.optimiser,
            kd_loss=settings.kd_loss,
            ce_weight=settings.ce_weight,
            displacement=settings.displacement,
            second_order=settings.second_order,
        )
        self.meta_step = make_outer_step(
            "maml", self.network, self.parameters, self.optimiser, settings.replay, ways=context.ways
        )
        self.episodes = BankEpisodes.for_replay(
            self.bank, pool, settings.replay, shots=context.shots, learner_side=side
        )

    def iteration(self, iteration: int) -> dict[str, Tensor]:
        """Draw models of one group, recover a set of each, learn from all of them, then replay."""
        with self.timeline.stage("inversion"):
            rng = numpy_rng(self.context.seed, "tgr", "models", iteration)
            chosen = self.groups.draw(self.settings.models_per_iteration, rng)
            sets = [self.recover(self.context.pool[index], self.generator) for index in chosen]
            for item in sets:
                self.bank.add(item)
            self.teacher_passes += len(sets) * self.settings.inversion_steps
        with self.timeline.stage("regularisation"):
            loss, disagreement = self.step([self._taught(item) for item in sets])
            self.watch(loss)
            self.teacher_passes += len(sets)
        quantities = {
            "teacher_ce": torch.stack([item.curve[-1] for item in sets]).mean(),
            "distillation": loss,
            "disagreement": disagreement,
        }
        with self.timeline.stage("replay"):
            report = replay(self.meta_step, self.episodes, self.settings.replay, generator=self.generator)
        self.train_episodes += report.episodes
        if report.steps:
            quantities |= {"replay_loss": report.loss, "replay_accuracy": report.accuracy}
            self.watch(report.loss)
        return quantities

    def _taught(self, item: Recovered) -> TaughtSet:
        """A set moved at random, as the learner sees it, with the model's answers."""
        model, images = item.model, item.images
        crop_flips = self.views.draw(
            images=len(images), canvas=images.shape[-1], side=model.side, generator=self.generator
        )
        inputs = self.views.inputs(model, images, crop_flips.to(images.device))
        with torch.no_grad():
            return TaughtSet(self.views.of_learner(inputs), model.network(inputs), item.targets)
