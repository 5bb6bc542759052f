"""An adapted learner as one plain module: what is saved, loaded and exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.artefacts.classifier import Rule
from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.placement import channels_last, to_device
from dfml.imaging.pixels import resized
from dfml.metalearning.learner import Learner, centroid_scores
from dfml.networks.batch_norm import store_statistics
from dfml.networks.build import build_network
from dfml.networks.classifier import Classifier

# The cosine lies in [-1, 1]; a softmax of it alone would call every answer a guess.
COSINE_SCALE = 10.0


class FrozenClassifier(nn.Module):
    """From images to probabilities, with all that the support set decided as weights.

    Its networks keep the batch-norm statistics of the support set, so an image is answered alike alone and in a batch.
    All its tensors are in its state dict.

    Args:
        specs: of the networks, in any number if the rule is by centroids.
        rule: how it answers.
        ways: classes.
    """

    def __init__(self, specs: Sequence[NetworkSpec], *, rule: Rule, ways: int) -> None:
        super().__init__()
        self.rule, self.ways = rule, ways
        self.sides = [spec.side for spec in specs]
        networks = [build_network(spec) for spec in specs]
        self.encoders = nn.ModuleList(networks)
        self.mean, self.std = nn.Buffer(torch.zeros(3)), nn.Buffer(torch.ones(3))
        if rule != "finetune":
            self.centroids = nn.Buffer(torch.zeros(ways, sum(network.feature_size for network in networks)))
            for network in networks:
                del network.head  # no centroid uses it
        self.eval().requires_grad_(False)

    @classmethod
    @torch.no_grad()
    def of(cls, learner: Learner, specs: Sequence[NetworkSpec], images: Tensor, labels: Tensor, *, rule: Rule) -> Self:
        """Adapt a learner to a support set.

        Args:
            learner: what adapts; unchanged.
            specs: of its networks.
            images: float in [0, 1], ``[n, 3, side, side]``.
            labels: ``[n]``, 0 … ways−1, each of them present.
            rule: one that the learner offers.
        """
        support, labels = channels_last(learner.prepare(images)), labels.to(learner.mean.device)
        ways = int(labels.max()) + 1
        if rule == "finetune":
            # With networks of its own: others may adapt the same learner meanwhile.
            with learner.for_ways(ways).private() as own_learner:
                weights = [{name: p.clone() for name, p in own_learner.finetuned(support, labels).items()}]
            specs = [spec.model_copy(update={"ways": ways}) for spec in specs]
        else:
            weights = [dict(network.named_parameters()) for network in learner.encoders]
        frozen = to_device(cls(specs, rule=rule, ways=ways), support.device)
        frozen.mean.copy_(learner.mean)
        frozen.std.copy_(learner.std)
        for network, own, side in zip(frozen.networks, weights, frozen.sides, strict=True):
            for name, parameter in network.named_parameters():
                parameter.copy_(own[name])
            store_statistics(network, support if side is None else resized(support, side))
        if rule != "finetune":
            features = frozen.features(support)
            features = F.normalize(features, dim=1) if rule == "centroid_cosine" else features
            frozen.centroids.copy_(torch.stack([features[labels == way].mean(0) for way in range(ways)]))
        return frozen

    @property
    def networks(self) -> list[Classifier]:
        """Its networks."""
        return [network for network in self.encoders if isinstance(network, Classifier)]

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities ``[m, ways]`` of images ``[m, 3, side, side]``, float in [0, 1]."""
        scores = self.scores(images)
        return (scores * COSINE_SCALE if self.rule == "centroid_cosine" else scores).softmax(1)

    def scores(self, images: Tensor) -> Tensor:
        """What a rule compares classes by, ``[m, ways]``: logits, minus squared distances, or cosines."""
        prepared = self._learner.prepare(images)
        if self.rule == "finetune":
            return self._learner.finetuned_scores({}, prepared[:0], prepared, "transductive")
        ways = torch.arange(self.ways, device=images.device)
        return centroid_scores(self.centroids, self.features(prepared), ways, self.ways, self.rule)

    def features(self, prepared: Tensor) -> Tensor:
        """Features ``[m, d]`` of prepared images."""
        return self._learner.features(prepared[:0], prepared, "transductive")[1]

    @property
    def _learner(self) -> Learner:
        """The learner of these networks, which have their statistics and ask no batch for any."""
        return Learner(
            self.networks,
            mean=self.mean,
            std=self.std,
            finetune=self.rule == "finetune",
            steps=0,
            learning_rate=0.0,
            sides=self.sides,
        )
