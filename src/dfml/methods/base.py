"""What a method is given and what it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dfml.artefacts.base import Cell
from dfml.artefacts.imported_zoo import ImportedFeatures
from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.placement import to_device
from dfml.compute.seeds import torch_generator
from dfml.inversion.settings import InversionSettings
from dfml.jobs.checkpoint import Checkpoint
from dfml.jobs.job import Job
from dfml.metalearning.store import load_learner
from dfml.methods.history import GrowingHistory, Row
from dfml.methods.settings import MethodSettings
from dfml.networks.build import build_network
from dfml.networks.classifier import Classifier
from dfml.networks.custom import describe
from dfml.networks.settings import LearnerSettings
from dfml.settings import Access
from dfml.zoo.model import PoolModel
from dfml.zoo.pool import Pool

Own = TypeVar("Own", bound=MethodSettings)


@dataclass(frozen=True)
class Context:
    """The inputs of one cell.

    Attributes:
        cell: Pool, method, shots and seed.
        ways: Classes per task.
        label_space: As the key of the configuration (F16).
        learner: The meta-learner's network.
        access: What is given of each model of the pool.
        settings: The method's own section; None for a method without one.
        adapts: How the learner adapts, where the method leaves that open: ``maml``, ``anil`` or ``protonet``.
        zoos: Folders of the pool's zoos.
        inversion: Folder of the recovered images that the method starts from, if it does.
        base: Folder of the learner that the method begins with, if its setting `start` names a method.
        images: Prepared folders of real images; only a method outside the data-free wall gets any.
        inversion_settings: Settings of the inversion, for a method that has to do with recovered images.
        job: What it may know of its process.
        resume: Its resume file; None keeps nothing.
        digest: Of everything that led to the state in that file.
        history: What loops show of themselves while they run.
    """

    cell: Cell
    ways: int
    label_space: str
    learner: LearnerSettings
    access: Access
    settings: MethodSettings | None
    adapts: str | None
    zoos: Sequence[Path]
    inversion: Path | None
    base: Path | None
    images: Sequence[Path]
    inversion_settings: InversionSettings | None
    job: Job
    resume: Path | None = None
    digest: str = ""
    history: GrowingHistory = field(default_factory=GrowingHistory)

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.cell.method

    @property
    def shots(self) -> int:
        """Support images per class."""
        return self.cell.shots

    @property
    def seed(self) -> int:
        """Root of every random stream of the cell."""
        return self.cell.seed

    @property
    def options(self) -> dict[str, Any]:
        """The method's settings as plain values; empty for a method without a section."""
        return {} if self.settings is None else self.settings.model_dump(mode="json")

    @property
    def checkpoint(self) -> Checkpoint:
        """The resume file."""
        return Checkpoint(self.resume, self.digest)

    def own(self, section: type[Own]) -> Own:
        """The method's settings, which must be of the class ``section``."""
        if not isinstance(self.settings, section):
            raise TypeError(f"{self.method} has settings of {type(self.settings).__name__}, not {section.__name__}")
        return self.settings

    @cached_property
    def pool(self) -> Pool:
        """The zoos united, on the job's device; of each model as much as the method has declared to need."""
        return Pool.load(self.zoos, label_space=self.label_space, device=self.job.device, access=self.access)

    @property
    def side(self) -> int | None:
        """The side at which the meta-learner sees images; None for any."""
        return self.learner.side or self.pool.side

    def sub_checkpoint(self, name: str) -> Checkpoint:
        """A resume file of its own for a stage of the method."""
        path = self.resume
        return Checkpoint(path and path.with_suffix(f".{name}{path.suffix}"), self.digest)

    def forget(self) -> None:
        """Delete the resume files, also of stages, once the result they led to is written."""
        self.checkpoint.remove()
        if self.resume is not None:
            for stage in self.resume.parent.glob(f"{escape(self.resume.stem)}.*{self.resume.suffix}"):
                stage.unlink(missing_ok=True)

    def learner_spec(self, side: int | None) -> NetworkSpec:
        """The meta-learner's network for images of ``side`` pixels; None for any resolution."""
        grid = 1 if side else self.learner.grid
        return describe(self.learner, ways=self.ways, side=side, grid=grid)

    def new_learner(self, side: int | None) -> Classifier:
        """A freshly initialised meta-learner; the same weights for every method at one seed."""
        network = build_network(self.learner_spec(side), generator=torch_generator(self.seed, "learner"), episodic=True)
        return to_device(network, self.job.device)

    def models_like_the_learner(self) -> list[PoolModel]:
        """The pool's models of the learner's own network: those of its side first, then best first (`Pool.best`).

        A learner for any resolution has the same body as a model for one; only their heads differ. A body that was
        trained at one side is of less use at another.
        """
        own = self.learner.architecture()
        best = self.pool.best(len(self.pool))
        alike = [model for model in best if model.spec is not None and model.spec.architecture == own]
        return sorted(alike, key=lambda model: self.side not in (None, model.side))

    def starting_learner(self, start: str) -> Classifier:
        """A meta-learner to begin with.

        ``random`` is :meth:`new_learner`, ``zero_head`` the same with a head of zeros. ``best_model`` takes the body of
        the first of :meth:`models_like_the_learner`, if there is one, with a head of zeros. The name of a method takes
        its learner as it is, :attr:`base`.
        """
        network = self.new_learner(self.side)
        if self.base is not None:
            _, learners = load_learner(self.base, steps=1, learning_rate=1.0, device=self.job.device)
            network.load_state_dict(dict(learners[-1].encoders[0].named_parameters()))
            return network
        if start == "best_model" and (alike := self.models_like_the_learner()):
            load_body(network, dict(alike[0].module.named_parameters()))
        if start != "random":
            zero_head(network)
        return network


@torch.no_grad()
def load_body(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a classifier all of another one's parameters but the head's."""
    for name, parameter in network.named_parameters():
        if not name.startswith("head."):
            parameter.copy_(state[name])


@torch.no_grad()
def zero_head(network: Classifier) -> None:
    """Set the head of a classifier to zero: every class is equally likely until it has learned a task."""
    network.head.weight.zero_()
    network.head.bias.zero_()


@dataclass(frozen=True)
class Snapshot:
    """The encoders' weights at one moment: iteration, seconds of training so far, one state dict per encoder."""

    iteration: int
    seconds: float
    states: list[dict[str, Tensor]]


@dataclass(frozen=True)
class Fitted:
    """What a method returns: encoders, how they were normalised, and what it cost.

    ``history`` has one row of named numbers per iteration, or per so many (``Loop.sparse``); ``stages`` seconds by
    name; ``finetune`` whether the encoder may be fine-tuned with its head, ``head_only`` whether only the head may
    move then; ``domains`` the normalisation of each data set that the learner knows, ``mean`` and ``std`` that of any
    other; ``train_episodes`` how many episodes it was trained on, None for a method that has none.
    """

    specs: Sequence[NetworkSpec | ImportedFeatures]
    snapshots: list[Snapshot]
    mean: Tensor
    std: Tensor
    finetune: bool
    teacher_passes: int = 0
    train_episodes: int | None = None
    history: list[Row] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    head_only: bool = False
    domains: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @classmethod
    def of_learner(cls, context: Context, snapshots: list[Snapshot], **facts: Any) -> "Fitted":
        """Iterates of the meta-learner's own network that knows the pool's data sets; ``facts`` are further fields."""
        pool = context.pool
        facts = {"finetune": True, "domains": pool.domains, **facts}
        return cls([context.learner_spec(context.side)], snapshots, *pool.normalisation, **facts)


def cpu_state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy on the CPU that later training cannot change."""
    return {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}


def without_statistics(network: nn.Module) -> dict[str, Tensor]:
    """A zoo model's parameters alone: a learner normalises by the statistics of each batch."""
    return cpu_state(dict(network.named_parameters()))


def replace_head(state: dict[str, Tensor], context: Context, head: str) -> None:
    """Set the head of a learner's ``state`` to ``zero`` or to a ``fresh`` one; any other word leaves it as it is.

    Models of several image sides, or of another than the learner's, have heads of another size: then it must be one of
    the two (the configuration sees to it).
    """
    fresh = cpu_state(dict(context.new_learner(context.side).named_parameters()))
    for name in ("head.weight", "head.bias"):
        if head == "zero":
            state[name] = torch.zeros_like(fresh[name])
        elif head == "fresh":
            state[name] = fresh[name]


def snapshot_iterations(total: int, count: int) -> set[int]:
    """Iterations after which an iterate is kept: ``count`` of them, evenly spread, the last always among them."""
    count = min(count, total)
    return {round(total * (i + 1) / count) for i in range(count)}
