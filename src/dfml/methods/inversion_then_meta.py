"""Recover a bank once, model by model, then meta-learn from it alone: GEN-CE, GEN-BN, CMI, DeepInversion, Fast."""

from typing import Any

import torch
from torch import Tensor

from dfml.config.methods.inversion_then_meta import InversionThenMetaSettings
from dfml.errors import DfmlError
from dfml.inversion.bank import ImageBank
from dfml.inversion.recover import BANK
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.inner_loop import parameters_of
from dfml.metalearning.outer_steps import make_outer_step
from dfml.metalearning.replay import replay
from dfml.methods.base import Context, Fitted
from dfml.methods.iterate import iterate
from dfml.runtime.optimisers import Adam
from dfml.runtime.seeds import torch_generator
from dfml.runtime.timeline import Timeline


def fit(context: Context) -> Fitted:
    """MAML, ANIL or ProtoNet on cross-task episodes of the bank that the method's own inverter filled."""
    settings = InversionThenMetaSettings.model_validate(context.options)
    loop = StaticBankLoop(context, settings)
    snapshots, history = iterate(context, loop, iterations=settings.iterations, snapshots=settings.snapshots)
    return Fitted.of_learner(
        context,
        snapshots,
        history=history,
        stages=loop.timeline.seconds,
        finetune=settings.learner != "protonet",
        head_only=settings.learner == "anil",
    )


class StaticBankLoop:
    """Replay phases on a bank that never changes; resumable after any of them."""

    def __init__(self, context: Context, settings: InversionThenMetaSettings) -> None:
        assert context.inversion is not None
        self.settings = settings
        device, pool = context.job.device, context.pool
        network = context.starting_learner(settings.start)
        self.parameters = parameters_of(network)
        self.optimiser = Adam([list(self.parameters.values())], [settings.replay.learning_rate])
        self.step = make_outer_step(
            settings.learner, network, self.parameters, self.optimiser, settings.replay, ways=context.ways
        )
        self.episodes = BankEpisodes(
            ImageBank.load(context.inversion / BANK, device),
            pool,
            shots=context.shots,
            queries=settings.replay.queries,
            recolour=settings.replay.recolour,
            side=settings.replay.side,
        )
        self.draws = torch_generator(context.seed, "inversion_then_meta", context.shots)
        self.timeline = Timeline(device, {"replay": 0.0})
        self._unchecked: list[Tensor] = []

    def iteration(self, iteration: int) -> dict[str, Tensor]:
        """One replay phase; no model is asked anything."""
        with self.timeline.stage("replay"):
            report = replay(self.step, self.episodes, self.settings.replay, draws=self.draws)
        if not report.steps:
            return {}
        self._unchecked.append(report.loss)
        return {"replay_loss": report.loss, "replay_accuracy": report.accuracy}

    def check(self) -> None:
        """Raise DfmlError if a loss since the last call was infinite or not a number."""
        losses, self._unchecked = self._unchecked, []
        if losses and not torch.isfinite(torch.stack(losses)).all():
            raise DfmlError(
                "meta-learning from the bank: the loss is not finite; lower `inversion_then_meta.replay.learning_rate` "
                "or `inversion_then_meta.replay.inner_learning_rate`"
            )

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "parameters": {name: p.detach() for name, p in self.parameters.items()},
            "optimiser": self.optimiser.state(),
            "draws": self.draws.get_state(),
        }

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        for name, parameter in self.parameters.items():
            parameter.copy_(state["parameters"][name])
        self.optimiser.load_state(state["optimiser"])
        self.draws.set_state(state["draws"])
