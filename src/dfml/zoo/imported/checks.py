"""What a classifier from elsewhere must do on a batch before it is believed."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dfml.imaging.pixels import normalise
from dfml.zoo.imported.building import Imported, answered, refused
from dfml.zoo.imported.card import InputCard, ModelCard

_BATCH, _SEED = 4, 20240617
# float32 answers of the same image in another batch: kernels differ, and an error of so much is no statement.
_ALIKE = 1e-3


def check_answers(
    network: Imported, model: ModelCard, given: InputCard, again: Callable[[], Imported] | None = None
) -> None:
    """Ask a classifier about a batch of chance pixels.

    ``again`` builds it from what is kept of it, as every later use does; None for what is not built.

    Raises:
        DataError: it fails; its answers have another shape than the card says, are not finite, change from call to
            call, with the rest of the batch or when it is built again, are probabilities where the card says logits or
            the reverse, or have no gradient; or it changes itself or the images while it answers.
    """
    device = network.grey.device
    pixels = torch.rand(_BATCH, 3, given.side, given.side, generator=torch.Generator().manual_seed(_SEED)).to(device)
    mean, std = (torch.tensor(values, device=device) for values in given.normalisation)
    images = normalise(pixels, mean, std)
    before, shown = _buffers(network), images.clone()
    first = _answers(network, images, model)
    if not torch.equal(images, shown):
        raise refused(model, "it writes into the images that it is given; let it work on a copy")
    if any(not torch.equal(one, other) for one, other in zip(before, _buffers(network), strict=True)):
        raise refused(model, "it changes its own buffers while it answers; take what counts or averages out of it")
    if not torch.equal(first, _answers(network, images, model)):
        raise refused(
            model, "asked twice, it answers differently: dropout or other chance is at work in evaluation mode"
        )
    alone = _answers(network, images[:1], model)
    if not _alike(alone, first[:1]):
        raise refused(
            model, "its answer to an image depends on the others of the batch (batch norm without statistics?)"
        )
    if again is not None and not _alike(_answers(_with_other_chance(again), images, model), first):
        raise refused(
            model,
            "built again from its weights it answers differently: something is drawn by chance that its state dict "
            "does not hold; register it as a buffer",
        )
    _check_meaning(first, model)
    if not model.answers_only:
        _check_gradient(network, images, model)


def stored_norms(network: nn.Module) -> int:
    """Batch norms with stored statistics."""
    return sum(isinstance(one, nn.BatchNorm2d) and one.running_mean is not None for one in network.modules())


def _buffers(network: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in network.buffers()]


def _alike(answers: Tensor, others: Tensor) -> bool:
    return torch.allclose(answers, others, rtol=_ALIKE, atol=_ALIKE * float(others.abs().max()))


def _with_other_chance(build: Callable[[], Imported]) -> Imported:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return build()


@torch.no_grad()
def _answers(network: Imported, images: Tensor, model: ModelCard) -> Tensor:
    return answered(network, images, model)


def _check_meaning(answers: Tensor, model: ModelCard) -> None:
    plain = answers.exp() if model.outputs == "probabilities" else answers
    sums_to_one = bool((plain.sum(1) - 1).abs().max() < _ALIKE) and bool((plain >= 0).all())
    if sums_to_one and model.outputs == "logits":
        raise refused(model, "its answers are probabilities; say `outputs: probabilities`")
    if not sums_to_one and model.outputs == "probabilities":
        raise refused(model, "its answers are no probabilities; say `outputs: logits`")


def _check_gradient(network: Imported, images: Tensor, model: ModelCard) -> None:
    asked = images.clone().requires_grad_()
    try:
        (gradient,) = torch.autograd.grad(network(asked).square().sum(), asked)
    except RuntimeError:
        message = (
            "its answers have no gradient with respect to the image; if they cannot have any, say `answers_only: true`"
        )
        raise refused(model, message) from None
    if not bool(gradient.isfinite().all()):
        raise refused(model, "the gradient of its answers is not finite")
    if not bool(gradient.any()):
        raise refused(
            model,
            "the gradient of its answers with respect to the image is zero, as that of rounded ones is; if they cannot "
            "have another, say `answers_only: true`",
        )
