"""FIVE: a generator that is meta-trained to recover any model's task in a few steps (docs/method.md §3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from dfml.compute.optimisers import SGD, Adam, Optimiser
from dfml.compute.placement import to_device
from dfml.compute.seeds import torch_generator
from dfml.compute.timeline import WallClock
from dfml.errors import FileFormatError
from dfml.files.atomic import atomic_write
from dfml.files.tensors import layout_of, read_tensors
from dfml.inversion.bank import ImageBank
from dfml.inversion.descent import BETAS
from dfml.inversion.inner_steps import draw_generator
from dfml.inversion.objective import Objective
from dfml.inversion.recovered import REMEDY, Recovered, Recovery, not_finite
from dfml.inversion.sampling import ModelSampler
from dfml.inversion.settings import FiveSettings, InversionSettings
from dfml.inversion.together import InversionForm, Together
from dfml.jobs.checkpoint import Checkpoint
from dfml.jobs.job import Job
from dfml.jobs.loop import Loop
from dfml.networks.generator import Generator
from dfml.zoo.model import PoolModel
from dfml.zoo.pool import Pool

GENERATOR = "generator.safetensors"
OUTER = "outer."


class MetaGenerator:
    """A generator with the settings, places of work and outer optimiser that meta-train it.

    ``form`` is how several models are inverted in one iteration, as of :class:`dfml.inversion.together.Together`.
    """

    MOVES = ("network", "_outer")

    def __init__(self, network: Generator, settings: FiveSettings, form: InversionForm | None = None) -> None:
        self.network = to_device(network, next(network.parameters()).device)
        self.settings = settings
        self._parameters = list(self.network.parameters())
        self.together = Together(self.network, settings, form)
        self._outer = self._new_outer()
        self._unchecked: list[tuple[PoolModel, Tensor]] = []

    def _new_outer(self) -> Optimiser:
        rate = self.settings.outer_rate
        if self.settings.outer_optimiser == "sgd":
            return SGD([self._parameters], [rate])
        return Adam([self._parameters], [rate], betas=BETAS)

    @property
    def stored(self) -> dict[str, Tensor]:
        """What its file holds: the network's tensors, and below ``outer.`` what the outer optimiser remembers.

        The tensors are its own. `sgd` remembers nothing, and `adam_fresh` nothing from one step to the next.
        """
        memory = {}
        if self.settings.outer_optimiser != "adam_fresh":
            memory = self._outer.memory([[name for name, _ in self.network.named_parameters()]])
        return dict(self.network.state_dict()) | {f"{OUTER}{name}": tensor for name, tensor in memory.items()}

    def save(self, folder: Path) -> None:
        """Write its file into ``folder``; :func:`load_meta_generator` reads it."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.stored.items()}
        atomic_write(folder / GENERATOR, lambda partial: save_file(tensors, partial))

    def adapt(
        self,
        model: PoolModel,
        objective: Objective,
        *,
        images_per_class: int,
        generator: torch.Generator,
    ) -> tuple[Recovered, list[Tensor]]:
        """Adapt a copy of the generator to one model; the generator itself is not changed.

        Returns:
            The recovered images and the model's pseudo-gradient by the outer rule, one tensor per parameter.

        Raises:
            DfmlError: a loss or an image was not finite.
        """
        (result,) = self._adapt([model], objective, images_per_class, generator)
        self.check()
        return result

    def _adapt(
        self, models: Sequence[PoolModel], objective: Objective, images_per_class: int, generator: torch.Generator
    ) -> list[tuple[Recovered, list[Tensor]]]:
        given, done = self.together(models, objective, images_per_class=images_per_class, generator=generator)
        recovered = []
        for model, (targets, *_), (images, curve, losses, *meta) in zip(models, given, done, strict=True):
            self._unchecked.append((model, torch.isfinite(losses).all() & torch.isfinite(images).all()))
            recovered.append((Recovered(model, images, targets, curve), meta))
        return recovered

    def check(self) -> None:
        """Wait for the device and make sure that nothing recovered so far was infinite or not a number.

        Raises:
            DfmlError: a loss or an image was not finite.
        """
        if not self._unchecked:
            return
        fine = torch.stack([flag for _, flag in self._unchecked]).tolist()
        models, self._unchecked = [model for model, _ in self._unchecked], []
        for model, good in zip(models, fine, strict=True):
            if not good:
                raise not_finite(model, REMEDY)

    @torch.no_grad()
    def outer_step(self, pseudo_gradients: Sequence[Sequence[Tensor]]) -> None:
        """Move the generator along the sum of the models' pseudo-gradients."""
        if self.settings.outer_optimiser == "adam_fresh":
            self._outer.reset()
        for parameter, parts in zip(self._parameters, zip(*pseudo_gradients, strict=True), strict=True):
            parameter.grad = torch.stack(parts).sum(0)
        self._outer.step()
        self._outer.zero_grad()

    def step(
        self, models: Sequence[PoolModel], objective: Objective, *, images_per_class: int, generator: torch.Generator
    ) -> list[Recovered]:
        """One outer iteration: recover every model's task, then update the generator.

        Whether the losses were finite is told by the next :meth:`check`, which waits for the device.
        """
        results = self._adapt(models, objective, images_per_class, generator)
        self.outer_step([meta for _, meta in results])
        return [recovered for recovered, _ in results]


@dataclass(frozen=True)
class Restart:
    """Fast-Datafree draws the generator's first linear layer and batch norm anew, once, ``iteration`` after warm-up."""

    iteration: int
    settings: InversionSettings
    generator: torch.Generator

    def __call__(self, network: Generator) -> None:
        """Do it, in place; the outer optimiser keeps its moments."""
        fresh = draw_generator(self.settings, network.side, self.generator, law="default")
        network.project.load_state_dict(fresh.project.state_dict())
        network.norm0.load_state_dict(fresh.norm0.state_dict())


def recover_with_five(
    five: MetaGenerator,
    pool: Pool,
    bank: ImageBank,
    objective: Objective,
    *,
    restart: Restart | None = None,
    seed: int,
    checkpoint: Checkpoint,
    job: Job,
) -> Recovery:
    """Meta-train the generator and, after the warm-up, fill the bank; the history is the mean over an iteration.

    Args:
        five: the generator with its settings.
        pool, bank: where the models are and where their images go.
        objective: of the inner steps.
        restart: of the generator's first layer, if it is to be.
        seed, checkpoint, job: of the stage.

    Raises:
        DfmlError: a loss was not finite; told at the next resume point.
    """
    clock = WallClock()
    settings = five.settings
    generator = torch_generator(seed, "five")
    sampler = ModelSampler(pool, settings, seed)

    def step(iteration: int) -> dict[str, torch.Tensor]:
        if restart is not None and iteration == settings.warmup + restart.iteration:
            restart(five.network)
        recovered = five.step(
            sampler.draw(iteration), objective, images_per_class=bank.images_per_class, generator=generator
        )
        if iteration >= settings.warmup:
            for item in recovered:
                bank.add(item)
        return {"teacher_ce": torch.stack([item.curve[-1] for item in recovered]).mean()}

    total = settings.warmup + settings.iterations
    rows = Loop(
        name="FIVE",
        total=total,
        steps=lambda done: map(step, range(done, total)),
        moves={"five": five, "bank": bank, "generator": generator},
        clock=clock,
        checkpoint=checkpoint,
        job=job,
        check=five.check,
        keep_end=True,
    ).run()
    clock.settle()
    return Recovery([row["teacher_ce"] for row in rows], clock.total)


def load_meta_generator(
    folder: Path, settings: InversionSettings, side: int, device: torch.device, *, goes_on: bool
) -> MetaGenerator:
    """The meta-generator that :func:`dfml.inversion.stage.invert` wrote into ``folder``.

    ``goes_on`` says whether it will be meta-trained further: then the outer optimiser begins with what it remembered.
    One that remembers nothing takes up the generator of any other.

    Raises:
        FileFormatError: the file is missing, damaged, not of the size that the settings ask for, or of an outer
            optimiser that remembered nothing where theirs does.
    """
    network = Generator(latent=settings.latent, width=settings.width, side=side)
    five = MetaGenerator(network.to(device), settings.five)
    weights, path = five.network.state_dict(), folder / GENERATOR
    own = five.stored if goes_on else weights
    what = f"a generator of latent {settings.latent}, width {settings.width} and side {side}"
    remembers = own.keys() != weights.keys()
    if remembers:
        what += f" with the memory of the outer optimiser `{settings.five.outer_optimiser}`"
    remedy = "run the inversion again"
    found = read_tensors(path, layout_of(own), what=what, remedy=remedy, others=not remembers)
    for name, tensor in found.items():
        # Adam would take the root of the one, and divide by zero or less at the other.
        if name.startswith((f"{OUTER}second.", f"{OUTER}steps.")) and bool((tensor < 0).any()):
            raise FileFormatError(f"{path}: tensor {name!r} has negative numbers, which no step leaves; {remedy}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(found[name])
    return five
