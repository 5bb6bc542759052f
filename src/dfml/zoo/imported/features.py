"""Features of classifiers from elsewhere: which layer gives them is found, or named in the card."""

import copy
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.artefacts.imported_zoo import FeatureLayer
from dfml.errors import DataError, some
from dfml.files.user_code import said
from dfml.imaging.pixels import normalise
from dfml.networks.batch_norm import EpisodicBatchNorm2d
from dfml.networks.classifier import Classifier
from dfml.zoo.imported.building import Imported, refused
from dfml.zoo.imported.card import ModelCard
from dfml.zoo.imported.inputs import InputCard

_PLAIN = (nn.BatchNorm2d, EpisodicBatchNorm2d)
"""Batch norms that do nothing else."""
_PICTURES = 8
"""So many that no other layer puts the classes of all of them into the order of the answers."""


class ImportedEncoder(Classifier):
    """The features of a classifier from elsewhere as the encoder of a learner.

    Its batch norms become episodic, as those of all learners are (F21); what else the module does stays as it is.

    Args:
        imported: the classifier; its module is changed.
        layer: where its features are.
        given: how photos become what it takes.
    """

    normalises = True
    mean: Tensor
    std: Tensor

    def __init__(self, imported: Imported, layer: FeatureLayer, given: InputCard) -> None:
        super().__init__()
        self.imported, self.layer = imported, layer
        self.feature_size, self.side = layer.size, given.side
        mean, std = given.normalisation
        self.register_buffer("mean", torch.tensor(mean, device=imported.grey.device), persistent=False)
        self.register_buffer("std", torch.tensor(std, device=imported.grey.device), persistent=False)
        _make_episodic(imported)

    def features(self, images: Tensor) -> Tensor:
        """Features ``[B, feature_size]`` of images ``[B, 3, side, side]`` in [0, 1]."""
        return _read(self.imported, normalise(images, self.mean, self.std), self.layer.layer, self.layer.of)

    def forward(self, images: Tensor) -> Tensor:
        """The same: there is no head for a new task."""
        return self.features(images)


def find_features(network: Imported, model: ModelCard, given: InputCard) -> FeatureLayer | None:
    """Where the features of a model are; None where its card says that it gives none.

    Raises:
        DataError: the layer that the card names is not there or gives no features; or none is named and no linear
            layer or convolution that was used has as many outputs as the model has classes, or several have and none is
            in the order of the answers, or the one that is takes no more numbers than that; or a batch norm of a class
            of its own does something before it normalises.
    """
    if not model.gives_features:
        return None
    try:
        return _found_features(network, model, given)
    except DataError:
        raise
    except Exception as error:  # layers of the user's own
        raise refused(model, f"its features cannot be had ({said(error)}); say `features: none`") from error


def _found_features(network: Imported, model: ModelCard, given: InputCard) -> FeatureLayer:
    _check_norms(network, model)
    images = torch.randn(_PICTURES, 3, given.side, given.side, generator=torch.Generator().manual_seed(0)).to(
        network.grey
    )
    of: Literal["input", "output"] = "output"
    layer = model.features
    if layer is None:
        layer, of = _last_layer(network, model, images), "input"
    elif layer not in dict(network.module.named_modules()):
        raise refused(model, f"`features` names {layer}, and its module has no such layer")
    try:
        size = _read(network, images, layer, of).shape[1]
    except DataError as error:
        raise refused(model, f"{error}; name another layer by `features`, or say `none`") from None
    return FeatureLayer(layer=layer, of=of, size=size)


@torch.no_grad()
def _last_layer(network: Imported, model: ModelCard, images: Tensor) -> str:
    """The layer that answers, by its name in the module: the last of the answers' order, or else the only one.

    The output of a convolution counts as what it is on the mean over the picture.
    """
    used: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        def keep(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            if output.shape[-1 if isinstance(layer, nn.Linear) else 1] == len(model.classes):
                used[name] = output.detach() if isinstance(layer, nn.Linear) else output.detach().mean((2, 3))

        return keep

    layers = [(name, one) for name, one in network.module.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    linears = {name for name, layer in layers if isinstance(layer, nn.Linear)}
    hooks = [layer.register_forward_hook(note(name)) for name, layer in layers]
    try:
        answers = network.own_answers(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not used:
        raise refused(
            model,
            f"no linear layer or convolution answers for its {len(model.classes)} classes, so "
            "nothing says what its features are; name the layer that gives them by `features`, or say `features: none`",
        )
    if linear := {name: output for name, output in used.items() if name in linears}:
        used = linear  # a convolution of as many channels is then inside
    # In the order of the answers, as outputs are that become probabilities or are divided by a temperature.
    order = answers.argsort(1)
    same = [name for name, out in used.items() if out.shape == answers.shape and torch.equal(out.argsort(1), order)]
    if not same and len(used) > 1:
        raise refused(
            model,
            f"{some(used, 4)} all have as many outputs as it has classes, and none of them is its answer; name the "
            "layer that gives its features by `features`, or say `features: none`",
        )
    answering = (same or list(used))[-1]
    if len(used) > 1 and getattr(network.module.get_submodule(answering), "in_features", None) == len(model.classes):
        raise refused(
            model,
            f"{answering} takes no more numbers than there are classes, and another layer has as many outputs: these "
            "may be answers already; name the layer that gives its features by `features`, or say `features: none`",
        )
    return answering


@torch.no_grad()
def _read(network: Imported, images: Tensor, layer: str, of: Literal["input", "output"]) -> Tensor:
    """What a layer takes or gives for normalised images, as ``[B, size]``; a map is averaged over the picture."""
    found: list[Any] = []
    chosen = network.module.get_submodule(layer)
    if of == "input":
        hook = chosen.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    else:
        hook = chosen.register_forward_hook(lambda _, inputs, output: found.append(output))
    try:
        network(images)
    finally:
        hook.remove()
    features = found[-1] if found else None
    if isinstance(features, Tensor) and features.dim() == 4:
        _, second, third, last = features.shape
        # Images are square, and so are maps of them: this is how those with channels last are known.
        features = features.mean((1, 2) if second == third != last else (2, 3))
    if not (isinstance(features, Tensor) and features.dim() == 2 and len(features) == len(images)):
        told = list(features.shape) if isinstance(features, Tensor) else "nothing"
        raise DataError(f"the {of} of layer {layer} is {told} for {len(images)} images, and not a row for each")
    return features


class _EpisodicAndMore(EpisodicBatchNorm2d):
    """Episodic batch norm in the place of one of a class of its own, which does something after it, as timm's do."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, episodic=True)
        self.after = _without_normalising(norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(super().forward(x))


def _make_episodic(network: Imported) -> None:
    """Put episodic batch norms of the same scale and shift in the place of those with stored statistics."""
    for parent in list(network.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                plain = type(norm) in _PLAIN
                own = EpisodicBatchNorm2d(norm.num_features, episodic=True) if plain else _EpisodicAndMore(norm)
                own.to(network.grey.device)
                own.eps = norm.eps
                if norm.affine:
                    own.weight, own.bias = norm.weight, norm.bias
                setattr(parent, name, own.requires_grad_(False).eval())


def _without_normalising(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """A copy of a batch norm that does whatever else it does, and has no weights."""
    rest = copy.deepcopy(norm).eval()
    rest.eps, rest.track_running_stats = 0.0, False
    for name in ("weight", "bias"):
        rest.register_parameter(name, None)
    rest.register_buffer("num_batches_tracked", None)
    rest.register_buffer("running_mean", torch.zeros(norm.num_features), persistent=False)
    rest.register_buffer("running_var", torch.ones(norm.num_features), persistent=False)
    return rest


@torch.no_grad()
def _check_norms(network: Imported, model: ModelCard) -> None:
    """See that every batch norm of a class of its own normalises first, and has no other weights than those of one."""
    for name, norm in network.module.named_modules():
        if not isinstance(norm, nn.BatchNorm2d) or type(norm) in _PLAIN or norm.running_mean is None:
            continue
        maps = torch.randn(2, norm.num_features, 4, 4, generator=torch.Generator().manual_seed(0)).to(network.grey)
        normal = F.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        after = _without_normalising(norm).to(network.grey.device)
        if after.state_dict() or not torch.allclose(after(normal), norm(maps), rtol=1e-3, atol=1e-3):
            raise refused(
                model,
                f"layer {name}, a {type(norm).__name__}, is more than a batch norm with something after it, so its "
                "features by the statistics of a batch cannot be had; say `features: none`",
            )
