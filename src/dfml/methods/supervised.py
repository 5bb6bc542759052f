"""Training on real meta-train images: the upper bounds, outside the data-free wall (docs/method.md §8.5)."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from dfml.config.methods.supervised import SupervisedProtonetSettings, SupervisedSettings
from dfml.data.augment import normalise
from dfml.data.episodes import gather, sample_episodes
from dfml.data.images import ClassImages, load_images, load_manifest
from dfml.metalearning.inner_loop import Parameters, parameters_of
from dfml.metalearning.meta_step import MetaStep
from dfml.methods.base import Context, Fitted, Snapshot, cpu_state, snapshot_iterations, zero_head
from dfml.runtime.optimisers import Adam, Optimiser
from dfml.runtime.seeds import derive_seed, numpy_rng
from dfml.runtime.timeline import Timeline


class Step(Protocol):
    """One outer step: moves its parameters, returns loss and accuracy (a fraction) on the device."""

    def __call__(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """The episodes are class-major and normalised, ``[episodes, images, 3, side, side]``."""


def train(
    context: Context,
    settings: SupervisedSettings | SupervisedProtonetSettings,
    make_step: Callable[[nn.Module, Parameters, Optimiser], Step],
    *,
    finetune: bool = True,
    head_only: bool = False,
) -> Fitted:
    """Meta-train on episodes of real images, each step's episodes from one data set drawn at random.

    Args:
        context: the cell.
        settings: of the method.
        make_step: makes the outer step of a network's parameters and their optimiser.
        finetune, head_only: how the learner adapts (see :class:`dfml.methods.base.Fitted`).
    """
    device = context.job.device
    domains = [load_images(folder / "meta_train.npz") for folder in context.images]
    packed = [(images.to(device), offsets) for images, offsets in (domain.packed() for domain in domains)]
    sides = {domain.side for domain in domains}
    side = sides.pop() if len(sides) == 1 else None
    norms = _normalisations(context, device)
    network = context.new_learner(side)
    if settings.start == "zero_head":
        zero_head(network)
    parameters = parameters_of(network)
    optimiser = Adam([list(parameters.values())], [settings.learning_rate])
    step = make_step(network, parameters, optimiser)
    keep = snapshot_iterations(settings.iterations, settings.snapshots)
    snapshots: list[Snapshot] = []
    history: list[dict[str, float]] = []
    timeline = Timeline(device, {"training": 0.0})
    state = context.checkpoint.load()
    if state is not None:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(state["parameters"][name])
        optimiser.load_state(state["optimiser"])
        snapshots, history = [Snapshot(**s) for s in state["snapshots"]], state["history"]
        timeline.seconds["training"] = history[-1]["seconds"]
    fresh: list[tuple[Tensor, Tensor]] = []
    with context.job.progress.task(context.method, total=settings.iterations, done=len(history)) as bar:
        for iteration in range(len(history), settings.iterations):
            with timeline.stage("training"):
                loss, accuracy = step(*_episodes(context, settings, domains, packed, iteration, list(norms.values())))
            timeline.mark()
            fresh.append((loss, 100 * accuracy))
            bar.advance(loss=loss, accuracy=fresh[-1][1])
            kept, due = iteration + 1 in keep, (iteration + 1) % context.checkpoint_every == 0
            if kept or due or iteration + 1 == settings.iterations:
                moments = timeline.settle()
                for seconds, (replay_loss, replay_accuracy) in zip(moments, fresh, strict=True):
                    row = {"seconds": seconds, "replay_loss": float(replay_loss)}
                    history.append({"iteration": len(history) + 1, **row, "replay_accuracy": float(replay_accuracy)})
                fresh = []
            if kept:
                snapshots.append(Snapshot(iteration + 1, timeline.total, [cpu_state(parameters)]))
            if due:
                context.checkpoint.save(
                    {
                        "parameters": {name: p.detach() for name, p in parameters.items()},
                        "optimiser": optimiser.state(),
                        "snapshots": [vars(s) for s in snapshots],
                        "history": history,
                    }
                )
    mean, std = (torch.stack(values).mean(0) for values in zip(*norms.values(), strict=True))
    return Fitted(
        [context.learner_spec(side)],
        snapshots,
        mean,
        std,
        domains=norms,
        finetune=finetune,
        head_only=head_only,
        history=history,
        stages=timeline.seconds,
    )


def train_maml(context: Context, *, head_only: bool) -> Fitted:
    """MAML, or with ``head_only`` ANIL, by the method's own settings."""
    settings = SupervisedSettings.model_validate(context.options)
    step = partial(
        MetaStep,
        ways=context.ways,
        steps=settings.inner_steps,
        learning_rate=settings.inner_learning_rate,
        first_order=settings.first_order,
        head_only=head_only,
    )
    return train(context, settings, step, head_only=head_only)


def _episodes(
    context: Context,
    settings: SupervisedSettings | SupervisedProtonetSettings,
    domains: list[ClassImages],
    packed: list[tuple[Tensor, Tensor]],
    iteration: int,
    norms: list[tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """The normalised support and query images of an outer step; they depend on the seed and the iteration alone."""
    chosen = int(numpy_rng(context.seed, "supervised", "domain", iteration).integers(len(domains)))
    episodes = sample_episodes(
        domains[chosen].counts,
        ways=context.ways,
        shots=context.shots,
        queries=settings.queries,
        episodes=settings.episodes,
        seed=derive_seed(context.seed, "supervised", iteration),
        split="meta_train",
    )
    images = gather(*packed[chosen], episodes, slice(0, settings.episodes))
    support, query = images.support.float() / 255, images.query.float() / 255
    return normalise(support, *norms[chosen]), normalise(query, *norms[chosen])


def _normalisations(context: Context, device: torch.device) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation of every data set by its name, in the order of the folders."""
    facts = [load_manifest(folder) for folder in context.images]
    return {
        fact["dataset"]: (torch.tensor(fact["mean"], device=device), torch.tensor(fact["std"], device=device))
        for fact in facts
    }
