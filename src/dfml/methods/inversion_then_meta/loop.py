"""Recover a bank once, model by model, then meta-learn from it alone: GEN-CE, GEN-BN, CMI, DeepInversion, Fast."""

from torch import Tensor

from dfml.artefacts.inversion import BANK
from dfml.compute.seeds import torch_generator
from dfml.inversion.bank import ImageBank
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.meta_step import make_outer_step
from dfml.metalearning.replay import replay
from dfml.methods.base import Context, Fitted
from dfml.methods.inversion_then_meta.settings import InversionThenMetaSettings
from dfml.methods.training import LearnerLoop, iterate


def fit(context: Context) -> Fitted:
    """MAML, ANIL or ProtoNet on cross-task episodes of the bank that the method's own inverter filled."""
    settings = context.own(InversionThenMetaSettings)
    loop = StaticBankLoop(context, settings)
    snapshots, history = iterate(context, loop, iterations=settings.iterations, snapshots=settings.snapshots)
    return Fitted.of_learner(
        context,
        snapshots,
        train_episodes=loop.train_episodes,
        history=history,
        stages=loop.timeline.seconds,
        finetune=settings.learner != "protonet",
        head_only=settings.learner == "anil",
    )


class StaticBankLoop(LearnerLoop):
    """Replay phases on a bank that never changes; resumable after any of them."""

    def __init__(self, context: Context, settings: InversionThenMetaSettings) -> None:
        assert context.inversion is not None
        section = "inversion_then_meta.replay"
        super().__init__(
            context,
            context.starting_learner(settings.start),
            outer=settings.replay,
            generator=torch_generator(context.seed, "inversion_then_meta", context.shots),
            stages=("replay",),
            remedy=f"`{section}.learning_rate` or `{section}.inner_learning_rate`",
        )
        self.settings = settings
        self.step = make_outer_step(
            settings.learner, self.network, self.parameters, self.optimiser, settings.replay, ways=context.ways
        )
        bank = ImageBank.load(context.inversion / BANK, context.job.device)
        self.episodes = BankEpisodes.for_replay(
            bank, context.pool, settings.replay, shots=context.shots, learner_side=context.learner.side
        )

    def iteration(self, iteration: int) -> dict[str, Tensor]:
        """One replay phase; no model is asked anything."""
        with self.timeline.stage("replay"):
            report = replay(self.step, self.episodes, self.settings.replay, generator=self.generator)
        self.train_episodes += report.episodes
        if not report.steps:
            return {}
        self.watch(report.loss)
        return {"replay_loss": report.loss, "replay_accuracy": report.accuracy}
