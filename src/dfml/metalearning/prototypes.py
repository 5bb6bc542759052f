"""ProtoNet: query images are told apart by the distance to the mean features of each class (Snell et al., 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from dfml.compute.capture import Recorded
from dfml.compute.optimisers import Optimiser
from dfml.compute.placement import channels_last
from dfml.compute.workers import private_copy, side_by_side
from dfml.metalearning.inner_loop import Parameters
from dfml.metalearning.learner import centroid_scores
from dfml.networks.classifier import Classifier


class FeaturesOf(nn.Module):
    """A network without its head, so that it can be called with explicit parameters."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[B, feature_size]``."""
        return self.network.features(images)


class PrototypeStep:
    """One outer step of ProtoNet on a batch of episodes, as :class:`dfml.metalearning.meta_step.MetaStep` is of MAML.

    Logits are minus the squared Euclidean distances to the class means. Support and query images share their
    batch-norm statistics, as they do when the learner is used transductively. The head gets no gradient and stays.

    Args:
        network: gives the form; its own parameters are not used.
        parameters: moved in place; held by ``optimiser``.
        optimiser: of the parameters.
        ways: classes of an episode.
    """

    def __init__(self, network: Classifier, parameters: Parameters, optimiser: Optimiser, *, ways: int) -> None:
        self.form = FeaturesOf(network)
        self.parameters, self.optimiser, self.ways = parameters, optimiser, ways
        self.body = {f"network.{name}": p for name, p in parameters.items() if not name.startswith("head.")}
        self._step = Recorded(self._compute, next(iter(parameters.values())).device)

    def __call__(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """One step on class-major episodes ``[episodes, ways · shots, 3, side, side]``, normalised.

        Returns:
            Query loss and accuracy (a fraction), means over episodes, on the device.
        """
        loss, accuracy = self._step(support, query)
        return loss, accuracy

    def episode_loss(self, support: Tensor, query: Tensor) -> Tensor:
        """The loss of one episode, from which gradients reach the images; nothing moves.

        Args:
            support, query: normalised class-major images ``[ways · shots, 3, side, side]`` and ``[ways · queries, …]``.
        """
        with private_copy(self.form) as form:
            return self._episode(form, channels_last(torch.cat([support, query])), len(support))[0]

    def _compute(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        values = list(self.body.values())
        if support.device.type == "cuda":
            losses, accuracies = vmap(lambda s, q: self._episode(self.form, torch.cat([s, q]), len(s)))(support, query)
            gradients = list(torch.autograd.grad(losses.mean(), values))
            loss, accuracy = losses.mean().detach(), accuracies.mean()
        else:
            gradients = [torch.zeros_like(p) for p in values]
            loss, accuracy = torch.zeros(()), torch.zeros(())
            for own_loss, own_accuracy, own in side_by_side(
                lambda i: self._alone(torch.cat([support[i], query[i]]), support.shape[1]), range(len(support))
            ):
                torch._foreach_add_(gradients, list(own))
                loss, accuracy = loss + own_loss / len(support), accuracy + own_accuracy / len(support)
            torch._foreach_div_(gradients, len(support))
        for parameter, gradient in zip(values, gradients, strict=True):
            parameter.grad = gradient
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss, accuracy

    def _alone(self, images: Tensor, supports: int) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        with private_copy(self.form) as form:
            loss, accuracy = self._episode(form, channels_last(images), supports)
            return loss.detach(), accuracy, torch.autograd.grad(loss, list(self.body.values()))

    def _episode(self, form: nn.Module, images: Tensor, supports: int) -> tuple[Tensor, Tensor]:
        features = functional_call(form, self.body, (images,))
        classes = torch.arange(self.ways, device=images.device)
        labels = classes.repeat_interleave(supports // self.ways)
        targets = classes.repeat_interleave((len(images) - supports) // self.ways)
        scores = centroid_scores(features[:supports], features[supports:], labels, self.ways, "centroid_euclidean")
        return F.cross_entropy(scores, targets), (scores.argmax(1) == targets).float().mean()
