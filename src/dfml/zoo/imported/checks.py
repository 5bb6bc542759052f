"""What a classifier from elsewhere must do on a batch before it is believed."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dfml.files.user_code import said
from dfml.imaging.pixels import normalise
from dfml.zoo.imported.building import Imported, answered, refused
from dfml.zoo.imported.card import PROGRAM, ModelCard
from dfml.zoo.imported.inputs import InputCard

_BATCH, _SEED = 4, 20240617
# float32 answers of the same image in another batch: kernels differ, and an error of so much is no statement.
_ALIKE = 1e-3
# Probabilities that a service rounds to two digits may be so far from one together.
_ROUNDED = 0.06


def check_answers(
    network: Imported, model: ModelCard, given: InputCard, again: Callable[[], Imported] | None = None
) -> None:
    """Ask a classifier about a batch of chance pixels.

    ``again`` builds it from what is kept of it, as every later use does; None for what is not built.

    Raises:
        DataError: it fails; its answers have another shape than the card says, are not finite, change from call to
            call, with the rest of the batch or when it is built again, are probabilities where the card says logits or
            the like, or have no gradient; or it changes itself or the images while it answers.
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
    same = _alike if model.answers_only else torch.equal  # what stands behind a service may round in any order
    if not same(first, _answers(network, images, model)):
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
    if model.answers_only:  # whose questions may cost money
        _check_meaning(_undone(first, model.outputs), model)
        return
    more = normalise(torch.cat([pixels, _extremes(pixels)]), mean, std)
    _check_meaning(_plain(network, more, model), model)
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


def _extremes(pixels: Tensor) -> Tensor:
    """Pictures like ``pixels`` that are white above, white on the left, and red on the left of black.

    None is of one colour: a model that divides by the deviation of a picture has no answer for that.
    """
    found, half = torch.zeros_like(pixels[:3]), pixels.shape[-1] // 2
    found[0, :, :half], found[1, :, :, :half], found[2, 0, :, :half] = 1, 1, 1
    return found


@torch.no_grad()
def _plain(network: Imported, images: Tensor, model: ModelCard) -> Tensor:
    """What a model itself answers."""
    return answered(network.own_answers, images, model)


def _undone(logits: Tensor, outputs: str) -> Tensor:
    """What a model answered from which these logits were made."""
    return logits.exp() if outputs == "probabilities" else logits.sigmoid() if outputs == "sigmoid" else logits


def _check_meaning(answers: Tensor, model: ModelCard) -> None:
    """See that what a model itself answers can be what the card says that it is."""
    within, sums = bool((answers >= 0).all()) and bool((answers <= 1).all()), answers.sum(1)
    sums_to_one = within and _near(sums, 1, _ALIKE)
    if bool((answers >= 0).all()) and _near(sums, 100, 100 * _ALIKE):
        raise refused(model, "its answers are probabilities in percent; divide them by 100")
    if bool((answers >= 0).all()) and _near((-answers).exp().sum(1), 1, _ALIKE) and not sums_to_one:
        raise refused(model, "its answers are the negative logarithms of probabilities; change their sign")
    if model.outputs == "probabilities":
        if not within:
            raise refused(model, "its answers are no probabilities; say `outputs: logits`")
        if not _near(sums, 1, _ROUNDED):
            raise refused(
                model,
                "its answers are no probabilities of classes that exclude one another, as they do not sum to one; say "
                "`outputs: sigmoid` if each is one by itself, and leave no class out",
            )
    elif model.outputs == "sigmoid":
        if not within:
            raise refused(model, "its answers are not all between 0 and 1, as a sigmoid's are; say `outputs: logits`")
    elif sums_to_one:
        raise refused(model, "its answers are probabilities; say `outputs: probabilities`")
    elif within and "outputs" not in model.model_fields_set:
        raise refused(
            model,
            "its answers are all between 0 and 1, as those of a sigmoid are; say `outputs: sigmoid`, or `outputs: "
            "logits` if they are none",
        )


def _near(values: Tensor, target: float, by: float) -> bool:
    return bool((values - target).abs().max() < by)


def _check_gradient(network: Imported, images: Tensor, model: ModelCard) -> None:
    asked = images.clone().requires_grad_()
    try:
        (gradient,) = torch.autograd.grad(network(asked).square().sum(), asked)
    except Exception as error:  # the user's own code
        if model.network == PROGRAM:
            remedy = "export it with gradients"
        else:
            remedy = "take `no_grad`, `detach` and operations in place out of its `forward`"
        message = f"its answers have no gradient with respect to the image ({said(error)}); {remedy}"
        raise refused(model, message) from None
    if not bool(gradient.isfinite().all()):
        raise refused(model, "the gradient of its answers is not finite")
    if not bool(gradient.any()):
        raise refused(
            model,
            "the gradient of its answers with respect to the image is zero, as that of rounded ones is; take "
            "what rounds out of its `forward`, or give a function of images without `weights` and say "
            "`answers_only: true`",
        )
