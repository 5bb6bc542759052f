"""BiDf-MKD (ICML 2023): bi-level distillation from one model after another, replay in between."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call

from dfml.compute.capture import Recorded
from dfml.compute.seeds import derive_seed, numpy_rng, torch_generator
from dfml.compute.workers import private_copy
from dfml.inversion.bank import ImageBank
from dfml.inversion.objective import Adversary, Objective, Views
from dfml.inversion.per_model import FromScratch
from dfml.inversion.settings import InversionSettings
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.inner_loop import Parameters
from dfml.metalearning.meta_gradient import MetaGradient, meta_gradient, set_gradients
from dfml.metalearning.patience import Patience
from dfml.methods.base import Context, Fitted
from dfml.methods.bidf_mkd.distillation import BilevelDistillation
from dfml.methods.bidf_mkd.settings import BidfMkdBlackBoxSettings, BidfMkdSettings
from dfml.methods.bidf_mkd.zeroth_order import BlackBoxObjective
from dfml.methods.training import LearnerLoop, iterate
from dfml.zoo.model import PoolModel


def fit(context: Context) -> Fitted:
    """Meta-train a learner; with the settings of the black box no model's gradient is asked for."""
    settings = context.own(BidfMkdSettings)
    loop = BidfMkdLoop(context, settings)
    snapshots, history = iterate(context, loop, iterations=settings.iterations, snapshots=settings.snapshots)
    return Fitted.of_learner(
        context,
        snapshots,
        teacher_passes=loop.teacher_passes,
        train_episodes=loop.train_episodes,
        history=history,
        stages=loop.timeline.seconds,
    )


class BidfMkdLoop(LearnerLoop):
    """The state of BiDf-MKD and its outer step; resumable at any of them.

    An outer step adds up the gradients of ``tasks_per_step`` tasks. In an event one of them is a distillation task of a
    model drawn anew, the others are replay episodes of the bank, which then holds that model's images already.

    Args:
        context: the cell.
        settings: of the method, white or black box.
    """

    MOVES = ("bank", "patience")

    def __init__(self, context: Context, settings: BidfMkdSettings) -> None:
        assert context.inversion_settings is not None
        name = context.method
        super().__init__(
            context,
            context.starting_learner(settings.start),
            outer=settings,
            generator=torch_generator(context.seed, "bidf_mkd", context.shots),
            stages=("inversion", "distillation", "replay"),
            remedy=f"`{name}.learning_rate`, `{name}.inner_learning_rate` or `{name}.replay.inner_learning_rate`",
        )
        self.settings = settings
        self.inversion: InversionSettings = context.inversion_settings
        self.pool, self.device, side = context.pool, context.job.device, context.learner.side
        self.bank = ImageBank.empty(self.pool, self.inversion, self.device)
        # Directions are a hundred times as many numbers as the images: they are drawn where they are used. Seeded anew
        # for each event, so that the state of a device's generator is never part of a resume file.
        self.directions = torch.Generator(self.device)
        self.views = Views(self.inversion.crop_padding, settings.augment == "per_sample", settings.resize, side)
        self.recover = {adversarial: self._recovery(adversarial=adversarial) for adversarial in (False, True)}
        self.distillation = BilevelDistillation(
            self.network,
            self.parameters,
            self.views,
            steps=settings.inner_steps,
            learning_rate=settings.inner_learning_rate,
            first_order=settings.first_order,
            loss=settings.kd_loss,
        )
        self.episodes = BankEpisodes.for_replay(
            self.bank, self.pool, settings.replay, shots=context.shots, learner_side=side
        )
        self._gradient = Recorded(self._of_episodes, self.device)
        # What the learner reached on the old images says little about the new ones: each event begins a new record.
        self.patience = Patience(settings.patience, at_once=True)
        # The learner adapted to the support set, whom the adversary asks: at one place, as recorded work must find it.
        self.student: Parameters = {name: p.detach().clone() for name, p in self.parameters.items()}

    @property
    def _passes_per_step(self) -> int:
        """Batches that one step of the generator asks of a model."""
        return self.settings.directions + 1 if isinstance(self.settings, BidfMkdBlackBoxSettings) else 1

    def iteration(self, iteration: int) -> dict[str, Tensor]:
        """One outer step."""
        settings, quantities = self.settings, {}
        with self.timeline.stage("replay"):  # waits for the accuracies of the steps before
            event = self.patience.used_up()
        parts: list[tuple[float, MetaGradient]] = []
        if event:
            task, quantities["teacher_ce"] = self._distil(iteration)
            quantities["distillation"] = task.loss
            parts.append((settings.kd_weight, task))
        episodes = settings.tasks_per_step - len(parts)
        accuracies = [part.accuracy for _, part in parts]
        with self.timeline.stage("replay"):
            if episodes:
                self.train_episodes += episodes
                support, query = self.episodes.draw(episodes, ways=self.context.ways, generator=self.generator)
                loss, accuracy, *found = self._gradient(support, query)
                parts.append((1.0, MetaGradient(loss, accuracy, dict(zip(self.parameters, found, strict=True)))))
                accuracies += [accuracy] * episodes
                quantities |= {"replay_loss": loss / episodes, "replay_accuracy": 100 * accuracy}
            self._move(parts)
            self.patience.take(torch.stack(accuracies).mean())
        self.watch(*(part.loss for _, part in parts))
        return quantities

    def _distil(self, iteration: int) -> tuple[MetaGradient, Tensor]:
        """One task of distillation, and the last cross-entropy of its two inversions."""
        context = self.context
        (model,) = self.pool.sample(1, numpy_rng(context.seed, "bidf_mkd", "models", iteration))
        self.directions.manual_seed(derive_seed(context.seed, "bidf_mkd", "directions", context.shots, iteration))
        adversarial = self.settings.adversary.weight > 0 and iteration >= self.settings.adversary.after
        with self.timeline.stage("inversion"):
            support = self.recover[False](model, self.generator)
        with self.timeline.stage("distillation"):
            adapted = self.distillation.inner(support, self.generator)
            torch._foreach_copy_(list(self.student.values()), [adapted[name].detach() for name in self.student])
        with self.timeline.stage("inversion"):
            query = self.recover[adversarial](model, self.generator)
        with self.timeline.stage("distillation"):
            task = self.distillation.outer(adapted, query, self.generator)
        for item in (support, query):
            self.bank.add(item)
        self.teacher_passes += (
            2 * self.settings.inversion_steps * self._passes_per_step + self.distillation.teacher_passes
        )
        return task, torch.stack([support.curve[-1], query.curve[-1]]).mean()

    @torch.no_grad()
    def _move(self, parts: list[tuple[float, MetaGradient]]) -> None:
        """Adam along the weighted sum of the tasks' gradients."""
        total = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        for weight, part in parts:
            torch._foreach_add_(list(total.values()), [part.gradients[name] for name in total], alpha=weight)
        set_gradients(self.parameters, total)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def _of_episodes(self, support: Tensor, query: Tensor) -> tuple[Tensor, ...]:
        """Summed loss, mean accuracy and summed gradients of replay episodes."""
        replay = self.settings.replay
        result = meta_gradient(
            self.network,
            self.parameters,
            support,
            query,
            ways=self.context.ways,
            steps=replay.inner_steps,
            learning_rate=replay.inner_learning_rate,
            first_order=replay.first_order,
            reduce="sum",
        )
        return (result.loss, result.accuracy, *result.gradients.values())

    def _recovery(self, *, adversarial: bool) -> FromScratch:
        settings, adversary = self.settings, None
        if adversarial:
            chosen = settings.adversary
            adversary = Adversary(chosen.weight, chosen.loss, self._student, chosen.student_grad)
        make: Callable[..., Objective] = Objective
        if isinstance(settings, BidfMkdBlackBoxSettings):
            make = partial(
                BlackBoxObjective,
                directions=settings.directions,
                radius=settings.radius,
                generator=self.directions,
                best_by=settings.best_by,
                mask=settings.adversary.mask,
            )
        objective = make(
            ce_weight=self.inversion.per_model.ce_weight, bn_weight=0.0, views=self.views, adversary=adversary
        )
        return FromScratch(
            self.inversion, objective, side=self.pool.canvas, device=self.device, steps=settings.inversion_steps
        )

    def _student(self, model: PoolModel, inputs: Tensor) -> Tensor:
        with private_copy(self.network) as form:
            return functional_call(form, self.student, (self.views.of_learner(inputs),))
