"""What a method returns: an encoder (or several) and the rules by which it adapts to a new task."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from dfml.compute.placement import channels_last
from dfml.compute.workers import private_copy
from dfml.errors import DfmlError
from dfml.imaging.pixels import denormalise, normalise, resized
from dfml.metalearning import closed_loop
from dfml.metalearning.inner_loop import Parameters, adapt, fine_tuned, fine_tuned_head
from dfml.networks.batch_norm import statistics_of_first
from dfml.networks.classifier import Classifier
from dfml.networks.conv4_passes import weights_of

Answer = Callable[[Tensor], Tensor]
"""From query images ``[m, 3, side, side]`` to scores ``[m, ways]``."""

# A centroid is what Snell et al. (2017) call a prototype.
CENTROID_RULES = ("centroid_euclidean", "centroid_cosine")
RULES = ("finetune", *CENTROID_RULES)
BATCH_NORM_MODES = ("transductive", "support")


class Learner:
    """A few-shot learner.

    Args:
        encoders: episodic networks (batch norm by the statistics of each batch); several are used side by side.
        mean, std: normalisation of the images, ``[3]`` each.
        finetune: whether the single encoder was made to be fine-tuned with its head; a method that only offers
            features says no.
        head_only: fine-tuning moves the head alone (ANIL).
        steps, learning_rate: of fine-tuning.
        domains: normalisation of the data sets that the learner knows by name (see :meth:`for_domain`).
        sides: the side at which each encoder sees images, None for any; by default each network's own.
    """

    def __init__(
        self,
        encoders: Sequence[Classifier],
        *,
        mean: Tensor,
        std: Tensor,
        finetune: bool,
        steps: int,
        learning_rate: float,
        head_only: bool = False,
        domains: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        sides: Sequence[int | None] | None = None,
    ) -> None:
        self.encoders = list(encoders)
        self.domains = dict(domains or {})
        self.sides = list(sides) if sides else [getattr(network, "side", None) for network in encoders]
        self.mean, self.std = mean, std
        self.steps, self.learning_rate = steps, learning_rate
        self.head_only = head_only
        self.rules = RULES if finetune else CENTROID_RULES

    def adapt(self, images: Tensor, labels: Tensor, *, rule: str | None = None, batch_norm: str = "support") -> Answer:
        """Learn a task from its support set.

        Args:
            images: support images, uint8 or float in [0, 1], ``[n, 3, side, side]``.
            labels: ``[n]``, 0 … ways−1, every label present.
            rule: ``finetune``, ``centroid_euclidean`` or ``centroid_cosine``; by default the first one offered.
            batch_norm: ``support`` normalises queries by the support set's statistics, so each query is answered on
                its own; ``transductive`` by those of the query batch (F21).

        Returns:
            A function from query images ``[m, 3, side, side]`` to scores ``[m, ways]``; the learner is unchanged.

        Raises:
            DfmlError: the rule or mode is unknown or not offered by this learner.
        """
        rule = rule or self.rules[0]
        if rule not in self.rules:
            raise DfmlError(f"this learner cannot adapt by {rule!r}; it offers {', '.join(self.rules)}")
        if batch_norm not in BATCH_NORM_MODES:
            raise DfmlError(f"batch_norm must be one of {', '.join(BATCH_NORM_MODES)}, not {batch_norm!r}")
        support, labels = channels_last(self.prepare(images)), labels.to(self.mean.device)
        ways = int(labels.max()) + 1
        if rule == "finetune":
            own = self.for_ways(ways)
            adapted = own.finetuned(support, labels)
            return lambda queries: own.finetuned_scores(
                adapted, support, channels_last(self.prepare(queries)), batch_norm
            )

        def classify(queries: Tensor) -> Tensor:
            features = self.features(support, channels_last(self.prepare(queries)), batch_norm)
            return centroid_scores(*features, labels, ways, rule)

        return classify

    @contextmanager
    def private(self) -> Iterator["Learner"]:
        """The same learner for one thread, with copies of the networks that nobody else uses meanwhile."""
        with ExitStack() as stack:
            encoders = [stack.enter_context(private_copy(encoder)) for encoder in self.encoders]
            yield self._with(encoders, self.mean, self.std)

    def for_domain(self, dataset: str) -> "Learner":
        """The same learner for images of ``dataset``: normalised as that data set is, if the learner knows it (F19)."""
        return self._with(self.encoders, *self.domains.get(dataset, (self.mean, self.std)))

    def for_ways(self, ways: int) -> "Learner":
        """The same learner with a head for tasks of ``ways`` classes.

        A head that was learned for another number of classes gives way to one of zeros: no class is preferred, and to
        the softmax that is the same as giving every class the mean of the learned rows. Centroids need no head.
        """
        network = self.encoders[0]
        if "finetune" not in self.rules or network.head.out_features == ways:
            return self
        network = copy.deepcopy(network)
        network.head = nn.Linear(network.feature_size, ways, device=self.mean.device).requires_grad_(False)
        nn.init.zeros_(network.head.weight)
        nn.init.zeros_(network.head.bias)
        return self._with([network], self.mean, self.std)

    def _with(self, encoders: Sequence[Classifier], mean: Tensor, std: Tensor) -> "Learner":
        return Learner(
            encoders,
            mean=mean,
            std=std,
            finetune="finetune" in self.rules,
            head_only=self.head_only,
            steps=self.steps,
            learning_rate=self.learning_rate,
            domains=self.domains,
            sides=self.sides,
        )

    def all_scores(
        self, support: Tensor, queries: Tensor, labels: Tensor, ways: int, *, in_transform: bool = False
    ) -> dict[tuple[str, str], Tensor]:
        """Scores ``[m, ways]`` of prepared queries by every rule and batch-norm mode; nothing is computed twice.

        Features serve both centroid rules and fine-tuned weights both modes. ``in_transform``: the call is inside
        ``torch.func.vmap``, over episodes.
        """
        if not in_transform and len(self.encoders) == 1 and closed_loop.can_loop(self.encoders[0], support.device):
            return self._scores_by_closed_forms(support, queries, labels, ways)
        scores: dict[tuple[str, str], Tensor] = {}
        for mode in BATCH_NORM_MODES:
            features = self.features(support, queries, mode, in_transform=in_transform)
            for rule in CENTROID_RULES:
                scores[rule, mode] = centroid_scores(*features, labels, ways, rule)
        if "finetune" in self.rules:
            adapted = self.finetuned(support, labels, in_transform=in_transform)
            for mode in BATCH_NORM_MODES:
                scores["finetune", mode] = self.finetuned_scores(
                    adapted, support, queries, mode, in_transform=in_transform
                )
        return scores

    def _scores_by_closed_forms(
        self, support: Tensor, queries: Tensor, labels: Tensor, ways: int
    ) -> dict[tuple[str, str], Tensor]:
        """As :meth:`all_scores`; the first convolution serves both batch-norm modes."""
        network, first = self.encoders[0], len(support)
        support, queries = resized(support, self.sides[0]), resized(queries, self.sides[0])
        images, grid = _join(support, queries, in_transform=False), closed_loop.grid_of(network)
        scores: dict[tuple[str, str], Tensor] = {}
        own = weights_of(dict(network.named_parameters()))
        by_support, transductive = closed_loop.both_features(images, own, support=first, together=True, grid=grid)
        for mode, features in (("transductive", transductive), ("support", by_support)):
            for rule in CENTROID_RULES:
                scores[rule, mode] = centroid_scores(features[:first], features[first:], labels, ways, rule)
        if "finetune" in self.rules:
            adapted = self.finetuned(support, labels)
            by_support, transductive = closed_loop.both_features(
                images, weights_of(adapted), support=first, together=False, grid=grid
            )
            for mode, features in (("transductive", transductive), ("support", by_support[first:])):
                scores["finetune", mode] = F.linear(features, adapted["head.weight"], adapted["head.bias"])
        return scores

    def prepare(self, images: Tensor) -> Tensor:
        """Normalise images ``[…, 3, side, side]``, uint8 or float in [0, 1]."""
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return normalise(images.to(self.mean.device), self.mean, self.std)

    def finetuned(self, support: Tensor, labels: Tensor, *, in_transform: bool = False) -> Parameters:
        """Parameters of the single encoder after fine-tuning on a prepared support set."""
        network, support = self.encoders[0], resized(support, self.sides[0])
        start = {name: p.detach() for name, p in network.named_parameters()}
        steps, rate = self.steps, self.learning_rate
        if in_transform:
            return adapt(
                network,
                start,
                support,
                labels,
                steps=steps,
                learning_rate=rate,
                head_only=self.head_only,
                in_transform=True,
            )
        if self.head_only:
            with torch.no_grad():
                features = network.features(support)
                return start | fine_tuned_head(network.head, features, labels, steps=steps, learning_rate=rate)
        return fine_tuned(network, start, support, labels, steps=steps, learning_rate=rate)

    @torch.no_grad()
    def finetuned_scores(
        self, adapted: Parameters, support: Tensor, queries: Tensor, batch_norm: str, *, in_transform: bool = False
    ) -> Tensor:
        """Logits of prepared queries under adapted parameters."""
        network = self.encoders[0]
        support, queries = resized(support, self.sides[0]), resized(queries, self.sides[0])
        if batch_norm == "transductive":
            return functional_call(network, adapted, (queries,))
        with statistics_of_first(network, len(support)):
            together = _join(support, queries, in_transform=in_transform)
            return functional_call(network, adapted, (together,))[len(support) :]

    @torch.no_grad()
    def features(
        self, support: Tensor, queries: Tensor, batch_norm: str, *, in_transform: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Features of prepared support and query images, unit length per encoder, side by side.

        ``transductive`` takes the statistics of support and queries together: the few support images alone would
        give the two sets different statistics.
        """
        together = _join(support, queries, in_transform=in_transform)
        found = []
        for network, side in zip(self.encoders, self.sides, strict=True):
            with nullcontext() if batch_norm == "transductive" else statistics_of_first(network, len(support)):
                images = denormalise(together, self.mean, self.std) if network.normalises else together
                found.append(network.features(resized(images, side)))
        features = torch.cat([F.normalize(f, dim=1) for f in found], 1) if len(found) > 1 else found[0]
        return features[: len(support)], features[len(support) :]


def centroid_scores(support: Tensor, queries: Tensor, labels: Tensor, ways: int, rule: str) -> Tensor:
    """Minus the squared Euclidean distance, or the cosine, to the centroid of each class's support features.

    ``support`` ``[n, d]``, ``queries`` ``[m, d]``, ``labels`` ``[n]``, each of 0 … ways−1 among them; returns
    ``[m, ways]``.
    """
    if rule == "centroid_cosine":
        support, queries = F.normalize(support, dim=1), F.normalize(queries, dim=1)
    one_hot = (labels[:, None] == torch.arange(ways, device=labels.device)).to(support.dtype)
    centroids = (one_hot.T @ support) / one_hot.sum(0)[:, None]
    if rule == "centroid_cosine":
        return queries @ F.normalize(centroids, dim=1).T
    return -(queries[:, None] - centroids).square().sum(2)


def _join(support: Tensor, queries: Tensor, *, in_transform: bool) -> Tensor:
    together = torch.cat([support, queries])
    return together if in_transform else channels_last(together)
