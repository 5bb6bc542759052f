"""FREE (CVPR 2024): online inversion, BELL, cross-task replay (docs/method.md §6)."""

import torch
from torch import Tensor
from torch.func import functional_call

from dfml.artefacts.inversion import BANK
from dfml.compute.seeds import torch_generator
from dfml.compute.workers import private_copy
from dfml.errors import DfmlError
from dfml.inversion.bank import ImageBank
from dfml.inversion.five import MetaGenerator, load_meta_generator
from dfml.inversion.inner_steps import draw_generator
from dfml.inversion.objective import Adversary, Objective, Views
from dfml.inversion.recovered import Recovered, interleaved_targets
from dfml.inversion.sampling import ModelSampler
from dfml.inversion.settings import FiveSettings, InversionSettings
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.inner_loop import Parameters
from dfml.metalearning.meta_step import MetaStep
from dfml.metalearning.replay import ReplayReport, last_fast_weights, replay
from dfml.methods.base import Context, Fitted, Snapshot
from dfml.methods.free.bell import BellSteps, distance, heads_of_models, outer_step
from dfml.methods.free.settings import BellSettings, FreeSettings
from dfml.methods.training import LearnerLoop, iterate
from dfml.networks.classifier import Classifier
from dfml.zoo.model import PoolModel


def fit(context: Context) -> Fitted:
    """Meta-train a learner that begins as the setting ``start`` says: random, a zoo model, or another method's."""
    settings = context.own(FreeSettings)
    loop = FreeLoop(context, settings, context.starting_learner(settings.start))
    snapshots, history = loop.run()
    return Fitted.of_learner(
        context,
        snapshots,
        teacher_passes=loop.teacher_passes,
        train_episodes=loop.train_episodes,
        history=history,
        stages=loop.timeline.seconds,
    )


class FreeLoop(LearnerLoop):
    """FREE's state and its iteration; resumable at any iteration.

    Args:
        context: the cell.
        settings: of FREE.
        network: the meta-learner at first; its parameters are copied.
    """

    MOVES = ("five", "bank", "bell", "student")

    def __init__(self, context: Context, settings: FreeSettings, network: Classifier) -> None:
        heads = _heads(context, settings.bell, network)
        super().__init__(
            context,
            network,
            outer=settings.replay,
            generator=torch_generator(context.seed, "free", context.shots),
            stages=("inversion", "bell", "replay"),
            further=list(heads.values()),
        )
        assert context.inversion_settings is not None
        self.settings = settings
        self.inversion: InversionSettings = context.inversion_settings
        assert settings.five is not None  # written out by the configuration
        self.five_settings: FiveSettings = settings.five
        pool, device, side = context.pool, context.job.device, context.learner.side
        if settings.generator == "inversion":
            assert context.inversion is not None
            recovered_with = self.inversion.model_copy(update={"five": self.five_settings})
            self.five = load_meta_generator(
                context.inversion, recovered_with, pool.canvas, device, goes_on=settings.online
            )
            self.bank = ImageBank.load(context.inversion / BANK, device)
            self.warmup = 0
        else:
            generator = torch_generator(context.seed, "free", "generator")
            drawn = draw_generator(self.inversion, pool.canvas, generator, law="default")
            self.five = MetaGenerator(drawn.to(device), self.five_settings)
            self.bank = ImageBank.empty(pool, self.inversion, device)
            self.warmup = self.five_settings.warmup
        self.views = Views(self.inversion.crop_padding, settings.augment == "per_sample", settings.resize, side)
        self.bell = None
        if settings.bell.mode != "off":
            self.bell = BellSteps(self.network, self.parameters, settings.bell, self.views, heads, ways=context.ways)
        self.sampler = ModelSampler(
            pool, self.five_settings, context.seed, hetero=settings.hetero_sampling, stream="free"
        )
        self.meta_step = MetaStep(
            self.network,
            self.parameters,
            self.optimiser,
            ways=context.ways,
            steps=settings.replay.inner_steps,
            learning_rate=settings.replay.inner_learning_rate,
            first_order=settings.replay.first_order,
            reduce=settings.replay.reduce,
        )
        self.episodes = BankEpisodes.for_replay(
            self.bank, pool, settings.replay, shots=context.shots, learner_side=side
        )
        # The adversary's student: the learner itself, or what the published code leaves on it (F04).
        self.student: Parameters = self.parameters
        if settings.adversary.student == "stale_fast":
            self.student = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.objectives = {warm: self._objective(warm=warm) for warm in (True, False)}

    def run(self) -> tuple[list[Snapshot], list[dict[str, float]]]:
        """All iterations; returns the kept iterates, the start among them, and the history."""
        settings = self.settings
        return iterate(
            self.context, self, iterations=settings.iterations, snapshots=settings.snapshots, warmup=self.warmup
        )

    def check(self) -> None:
        """Wait for the device; raises DfmlError if an inversion since the last call went wrong."""
        super().check()
        self.five.check()

    def iteration(self, iteration: int) -> dict[str, Tensor]:
        """One iteration; returns the quantities that matter, on the device."""
        warm = iteration < self.warmup
        with self.timeline.stage("inversion"):
            sets = self._recover(iteration, warm=warm)
        quantities = {}
        if self.settings.online or warm:
            quantities["teacher_ce"] = torch.stack([s.curve[-1] for s in sets]).mean()
        if warm:
            return quantities
        if self.bell:
            with self.timeline.stage("bell"):
                quantities |= self._step_of_bell(self.bell, sets)
        between = self._place()
        with self.timeline.stage("replay"):
            report = self._replay()
            if report.steps:
                quantities |= {"replay_loss": report.loss, "replay_accuracy": report.accuracy}
            quantities["train_episodes"] = torch.tensor(self.train_episodes)
            if self.student is not self.parameters:
                self._leave_behind(report)
        if self.bell:
            way = quantities["bell_distance"]
            quantities["bell_share"] = way / (way + distance(list(self.parameters.values()), between))
        return quantities

    def _step_of_bell(self, bell: BellSteps, sets: list[Recovered]) -> dict[str, Tensor]:
        """Walk, and move the learner; what history.csv says of it (docs/method.md §4.4)."""
        before = self._place()
        walked = bell.walk(sets, self.generator)
        outer_step(bell.start, walked.end, self.settings.bell, self.optimiser)
        self.teacher_passes += len(sets) * self.settings.bell.fast_steps
        found = {"distillation": walked.loss, "bell_distance": distance(list(self.parameters.values()), before)}
        return found if walked.cosine is None else found | {"bell_cosine": walked.cosine}

    def _place(self) -> list[Tensor]:
        """Where the learner is, in tensors that it does not move."""
        return [p.detach().clone() for p in self.parameters.values()]

    def _replay(self) -> ReplayReport:
        report = replay(
            self.meta_step,
            self.episodes,
            self.settings.replay,
            generator=self.generator,
            keep_last=self.student is not self.parameters,
        )
        self.train_episodes += report.episodes
        return report

    @torch.no_grad()
    def _leave_behind(self, report: ReplayReport) -> None:
        """Make the student what replay's last episode left; the learner as it is where there was none."""
        left = self.parameters
        if report.last_episode is not None:
            left = last_fast_weights(self.meta_step, *report.last_episode)
        torch._foreach_copy_(list(self.student.values()), list(left.values()))

    def _recover(self, iteration: int, *, warm: bool) -> list[Recovered]:
        models = self.sampler.draw(iteration)
        per_class = self.inversion.images_per_class
        if not (self.settings.online or warm):
            if self.bell is None:
                return []  # no one would look at them
            return [self._from_bank(model, per_class) for model in self._readable(models, iteration)]
        sets = self.five.step(models, self.objectives[warm], images_per_class=per_class, generator=self.generator)
        self.teacher_passes += len(models) * self.five_settings.steps
        if not warm:
            for item in sets if self.settings.pool_add == "all" else sets[-1:]:
                self.bank.add(item)
        return sets

    def _readable(self, models: list[PoolModel], iteration: int) -> list[PoolModel]:
        """Those of the drawn models whose classes the bank holds; if it holds none's, one of the others in turn."""
        held = set(self.bank.ready.tolist())
        kept = [model for model in models if held.issuperset(model.class_ids)]
        if kept:
            return kept
        others = [model for model in self.context.pool.invertible if held.issuperset(model.class_ids)]
        if not others:
            raise DfmlError("the bank holds the classes of no model; raise `inversion.five.iterations`")
        return [others[iteration % len(others)]]

    def _from_bank(self, model: PoolModel, per_class: int) -> Recovered:
        targets = interleaved_targets(len(model.class_ids), per_class, model.classes.device)
        return Recovered(model, self.bank.of_model(model.class_ids, per_class, self.generator), targets, torch.empty(0))

    def _objective(self, *, warm: bool) -> Objective:
        adversary = None
        if self.settings.adversary.weight and not warm:
            chosen = self.settings.adversary
            adversary = Adversary(chosen.weight, chosen.loss, self._student, chosen.student_grad)
        return Objective(
            ce_weight=self.five_settings.ce_weight,
            bn_weight=self.five_settings.bn_weight,
            views=self.views,
            adversary=adversary,
        )

    def _student(self, model: PoolModel, inputs: Tensor) -> Tensor:
        fixed = {name: p.detach() for name, p in self.student.items()}
        with private_copy(self.network) as form:
            return functional_call(form, fixed, (self.views.of_learner(inputs),))


def _heads(context: Context, settings: BellSettings, network: Classifier) -> Parameters:
    """A head for each model, if BELL distils into such; they are trained and nobody else sees them."""
    if settings.mode == "off" or settings.heads != "per_model":
        return {}
    return heads_of_models(
        len(context.pool),
        ways=context.pool.ways,
        size=network.feature_size,
        generator=torch_generator(context.seed, "free", "heads"),
        device=context.job.device,
    )
