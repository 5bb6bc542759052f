"""Training on real meta-train images: references outside the data-free wall (docs/method.md §8.5)."""

import torch
from torch import Tensor

from dfml.artefacts.images import MANIFEST, ImagesManifest
from dfml.compute.seeds import derive_seed, numpy_rng, torch_generator
from dfml.data.episodes import gather, sample_episodes
from dfml.data.images import load_images
from dfml.imaging.pixels import normalise, resized
from dfml.metalearning.meta_step import make_outer_step
from dfml.methods.base import Context, Fitted, zero_head
from dfml.methods.supervised.settings import SupervisedProtonetSettings, SupervisedSettings
from dfml.methods.training import LearnerLoop, iterate


def fit(context: Context) -> Fitted:
    """Meta-train on episodes of real images, each step's episodes from one data set drawn at random.

    MAML adapts all parameters; ANIL the head alone, in training and at meta-test (Raghu et al., 2020); of a ProtoNet
    (Snell et al., 2017) nothing adapts: classes are told apart by the mean features of their support images.
    """
    loop = _RealEpisodes(context)
    settings = loop.settings
    snapshots, history = iterate(
        context, loop, iterations=settings.iterations, snapshots=settings.snapshots, with_start=False
    )
    mean, std = (torch.stack(values).mean(0) for values in zip(*loop.norms.values(), strict=True))
    return Fitted(
        [context.learner_spec(loop.side)],
        snapshots,
        mean,
        std,
        domains=loop.norms,
        finetune=context.adapts != "protonet",
        head_only=context.adapts == "anil",
        train_episodes=settings.iterations * settings.episodes,
        history=history,
        stages=loop.timeline.seconds,
    )


class _RealEpisodes(LearnerLoop):
    """Episodic training on real images; resumable at any iteration."""

    def __init__(self, context: Context) -> None:
        settings: SupervisedSettings | SupervisedProtonetSettings
        inner = None
        if context.adapts == "protonet":
            settings = context.own(SupervisedProtonetSettings)
        else:
            settings = inner = context.own(SupervisedSettings)
        device = context.job.device
        self.domains = [load_images(folder / "meta_train.npz") for folder in context.images]
        self.packed = [(images.to(device), offsets) for images, offsets in (d.packed() for d in self.domains)]
        self.norms = _normalisations(context, device)
        sides = {domain.side for domain in self.domains}
        self.side = context.learner.side or (sides.pop() if len(sides) == 1 else None)
        network = context.new_learner(self.side)
        if settings.start == "zero_head":
            zero_head(network)
        super().__init__(
            context,
            network,
            outer=settings,
            generator=torch_generator(context.seed, "supervised"),
            stages=("training",),
        )
        assert context.adapts is not None
        self.settings = settings
        self.step = make_outer_step(context.adapts, network, self.parameters, self.optimiser, inner, ways=context.ways)

    def iteration(self, iteration: int) -> dict[str, Tensor]:
        """One outer step."""
        with self.timeline.stage("training"):
            loss, accuracy = self.step(*self._episodes(iteration))
        self.watch(loss)
        return {"replay_loss": loss, "replay_accuracy": 100 * accuracy}

    def _episodes(self, iteration: int) -> tuple[Tensor, Tensor]:
        """The normalised support and query images of an outer step; they depend on seed and iteration alone."""
        seed, settings = self.context.seed, self.settings
        chosen = int(numpy_rng(seed, "supervised", "domain", iteration).integers(len(self.domains)))
        episodes = sample_episodes(
            self.domains[chosen].counts,
            ways=self.context.ways,
            shots=self.context.shots,
            queries=settings.queries,
            episodes=settings.episodes,
            seed=derive_seed(seed, "supervised", iteration),
            split="meta_train",
        )
        images = gather(*self.packed[chosen], episodes, slice(0, settings.episodes))
        norm = self.norms[self.domains[chosen].dataset]
        support, query = (resized(part.float() / 255, self.side) for part in (images.support, images.query))
        return normalise(support, *norm), normalise(query, *norm)


def _normalisations(context: Context, device: torch.device) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation of every data set by its name, in the order of the folders."""
    facts = [ImagesManifest.load(folder / MANIFEST) for folder in context.images]
    return {
        fact.dataset: (torch.tensor(fact.mean, device=device), torch.tensor(fact.std, device=device)) for fact in facts
    }
