"""Tries networks of the user's own before the first job: what jobs rely on, and what they would only trip over later.

`python -m dfml.networks.trial` reads from standard input what :func:`dfml.config.own_files.trials` says, and ends with
one line and exit code 1 at the first network that will not do.
"""

import copy
import json
import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.seeds import torch_generator
from dfml.errors import DfmlError
from dfml.files.user_code import said
from dfml.networks.batch_norm import EpisodicBatchNorm2d, statistics_of_first
from dfml.networks.build import build_network, outline
from dfml.networks.classifier import Classifier
from dfml.networks.custom import describe, register_networks
from dfml.networks.settings import ArchitectureSettings

IMAGES = 6


def check_network(spec: NetworkSpec, sides: Sequence[int]) -> None:
    """Build a network as models are and as learners are, and have it answer for a few images of noise.

    Args:
        spec: of a network of the user's own.
        sides: of the images, in pixels.

    Raises:
        DfmlError: the first thing about it that jobs could not do with.
    """
    stored, episodic = (build_network(spec, generator=torch_generator(0, "trial"), episodic=e) for e in (False, True))
    for network in (stored.eval(), episodic):
        try:
            wrong = next(_faults(network, spec, sides, is_learner=network is episodic), None)
        except Exception as error:
            wrong = f"it does not answer for {IMAGES} images of side {' or '.join(map(str, sides))} ({said(error)})"
        if wrong is not None:
            raise DfmlError(f"custom_networks.{spec.family}: {wrong}")
    if _shapes(stored) != _shapes(episodic) or _shapes(stored) != _shapes(outline(spec)):
        raise DfmlError(f"custom_networks.{spec.family}: its parameters are not the same every time it is built")


def _faults(network: Classifier, spec: NetworkSpec, sides: Sequence[int], *, is_learner: bool) -> Iterator[str]:
    yield from _faulty_parts(network, spec, is_learner=is_learner)
    for side in sides:
        images = torch.rand(IMAGES, 3, side, side, generator=torch_generator(0, "trial", side))
        yield from _faulty_answers(network, images, spec.ways)
        yield from _hidden_state(network, images)
        yield from _mixed_images(network, images)
        if is_learner:
            yield from _unreached_parameters(network, images)
            yield from _no_function(network, images)


def _faulty_parts(network: Classifier, spec: NetworkSpec, *, is_learner: bool) -> Iterator[str]:
    """Layers that are not what methods expect."""
    head, size = getattr(network, "head", None), getattr(network, "feature_size", None)
    if not (isinstance(head, nn.Linear) and head.bias is not None and head.out_features == spec.ways):
        yield f"its `head` must be an nn.Linear with a bias and {spec.ways} outputs"
    elif size != head.in_features:
        yield f"its `feature_size`, {size}, is not what its head takes, {head.in_features}"
    if all(name.startswith("head.") for name, _ in network.named_parameters()):
        yield "it has no parameters but those of its head, so its features cannot be learned"
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not all(isinstance(norm, EpisodicBatchNorm2d) for norm in norms):
        yield "its batch norms must be dfml.networks.batch_norm.EpisodicBatchNorm2d"
    elif any(norm.track_running_stats == is_learner for norm in norms):
        yield "its batch norms must be given `episodic`"
    kept = set(network.state_dict()) - {name for name, _ in network.named_parameters()}
    norms_own = {
        f"{name}.{buffer}"
        for name, module in network.named_modules()
        if isinstance(module, EpisodicBatchNorm2d)
        for buffer, _ in module.named_buffers()
    }
    if strange := sorted(kept - norms_own):
        yield f"it keeps {', '.join(strange)} beside its parameters, which no learner would have; persistent=False"


@torch.no_grad()
def _faulty_answers(network: Classifier, images: Tensor, ways: int) -> Iterator[str]:
    """Shapes, and numbers that are none."""
    for what, answer, size in (("features", network.features, network.feature_size), ("answers", network, ways)):
        found = answer(images)
        if tuple(found.shape) != (len(images), size):
            yield f"its {what} for {len(images)} images have the shape {list(found.shape)}, not [{len(images)}, {size}]"
        elif not found.isfinite().all():
            yield f"its {what} are not finite for images of noise"


@torch.no_grad()
def _hidden_state(network: Classifier, images: Tensor) -> Iterator[str]:
    """Whatever makes two calls differ."""
    first = network(images)
    network(torch.flip(images, (3,)) + 1)
    if not torch.equal(first, network(images)):
        mode = "in evaluation mode" if not network.training else "as a learner, which is always in training mode"
        yield f"the same images get different answers {mode}: it uses dropout or keeps state in forward"
    if not torch.allclose(first, network.head(network.features(images)), atol=1e-5):
        yield "its answers are not those of its head from its features"


@torch.no_grad()
def _mixed_images(network: Classifier, images: Tensor) -> Iterator[str]:
    """Answers that depend on other images than those that batch norm may look at."""
    changed = torch.cat([images[:-1], 1 - images[-1:]])
    with statistics_of_first(network, len(images) - 2):
        one, other = network(images)[:-1], network(changed)[:-1]
    if not torch.allclose(one, other, atol=1e-5):
        yield "its answer for one image depends on the others in a batch by more than batch norm"


def _unreached_parameters(network: Classifier, images: Tensor) -> Iterator[str]:
    """Parameters that no gradient moves."""
    own = dict(network.named_parameters())
    found = torch.autograd.grad(network(images).square().sum(), [*own.values()], allow_unused=True)
    if unused := [name for name, gradient in zip(own, found, strict=True) if gradient is None]:
        yield f"its answers do not depend on {', '.join(unused)}"


@torch.no_grad()
def _no_function(network: Classifier, images: Tensor) -> Iterator[str]:
    """A network that cannot be called as a function of parameters and images, for several batches at once."""
    form, fixed = copy.deepcopy(network), {name: p.detach() for name, p in network.named_parameters()}
    batches = torch.stack([images, images.flip(3)])
    try:
        found = vmap(lambda batch: functional_call(form, fixed, (batch,)))(batches)
    except Exception as error:
        yield f"torch.func.vmap cannot call it ({said(error)})"
    else:
        if not torch.allclose(found, torch.stack([network(batch) for batch in batches]), rtol=1e-3, atol=1e-4):
            yield "called by torch.func.vmap it answers differently"


def _shapes(network: Classifier) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in network.named_parameters()}


def main() -> int:
    """Try all that standard input names; returns the exit code."""
    told = json.load(sys.stdin)
    register_networks(told["files"])
    for one in told["networks"]:
        try:
            settings = ArchitectureSettings.model_validate(one["network"])
            check_network(describe(settings, ways=one["ways"], side=one["side"]), one["sides"])
        except DfmlError as error:
            side = "any side" if one["side"] is None else f"side {one['side']}"
            sys.stdout.write(f"{error} (as `{one['key']}`, for images of {side})\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
