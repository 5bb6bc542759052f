"""DeepInversion: the pixels themselves are fitted to a model (Yin et al., 2020).

What was read and what is ours: docs/methods/inversion_then_meta.md.
"""

import torch
from torch import Tensor

from dfml.compute.optimisers import Adam
from dfml.compute.placement import send
from dfml.compute.workers import still_wanted
from dfml.imaging.pixels import denormalise, normalise
from dfml.inversion.descent import Keeper
from dfml.inversion.losses import rolled, total_variation
from dfml.inversion.objective import make_objective
from dfml.inversion.recovered import Recovered, check_finite, interleaved_targets
from dfml.inversion.settings import InversionSettings
from dfml.zoo.model import PoolModel

BETAS = (0.5, 0.99)


class DeepInversion:
    """Recovers one model's task after another by descent on images of noise; the lowest-loss images are kept.

    Pixels start from N(0, 1) in the model's normalised space and are clipped to the range of real images before every
    step. Each step sees them rolled and mirrored at random, the whole batch alike.

    Args:
        settings: of the inversion.
        side: of the images, pixels; a model of a smaller side sees them reduced.
    """

    def __init__(self, settings: InversionSettings, *, side: int) -> None:
        self.settings, self.own, self.side = settings, settings.deep_inversion, side
        # The batch is rolled and mirrored here, so that the objective need not crop it.
        self.objective = make_objective(
            settings.model_copy(update={"crop_padding": 0}),
            ce_weight=self.own.ce_weight,
            bn_weight=self.own.bn_weight,
        )

    def __call__(self, model: PoolModel, generator: torch.Generator) -> Recovered:
        """Recover the task of ``model``; raises DfmlError when a loss is not finite."""
        device, steps = model.mean.device, self.own.steps
        targets = interleaved_targets(len(model.class_ids), self.settings.images_per_class, device)
        pixels = self._start(model, len(targets), generator)
        shifts, flips = self._jitter(generator)
        crop_flips = self.objective.views.draw(
            steps, images=len(targets), canvas=self.side, side=model.side, generator=generator
        ).to(device)
        optimiser = Adam([[pixels]], [self.own.learning_rate], betas=BETAS)
        keep, curve = Keeper("best"), []
        for step in range(steps):
            still_wanted()
            seen = rolled(pixels, shifts[step])
            seen = seen.flip(-1) if flips[step] else seen
            images = denormalise(seen, model.mean, model.std)
            loss, cross_entropy = self.objective(model, images, targets, crop_flips[step])
            loss = loss + self.own.tv_weight * total_variation(seen)
            (pixels.grad,) = torch.autograd.grad(loss, pixels)
            # Computed from the pixels, not a view of them: they move on.
            keep.offer(denormalise(pixels.detach(), model.mean, model.std).clamp_(0, 1), loss.detach())
            curve.append(cross_entropy)
            optimiser.step()
            _clip(pixels, model)
        losses = torch.stack(keep.losses)
        check_finite(
            model,
            losses,
            keep.images,
            "lower `inversion.deep_inversion.learning_rate` or the weight of a term (`bn_weight`, `tv_weight` there)",
        )
        return Recovered(model, keep.images, targets, torch.stack(curve))

    def _start(self, model: PoolModel, count: int, generator: torch.Generator) -> Tensor:
        noise = torch.randn(count, 3, self.side, self.side, generator=generator)
        pixels = send(noise, model.mean.device).to(model.mean.dtype)
        return _clip(pixels, model).requires_grad_()

    def _jitter(self, generator: torch.Generator) -> tuple[list[tuple[int, int]], list[bool]]:
        """The shift of every step in pixels, and whether it mirrors."""
        largest = int(self.own.roll * self.side)
        shifts = torch.randint(-largest, largest + 1, (self.own.steps, 2), generator=generator).tolist()
        flips = torch.randint(0, 2 if self.own.flip else 1, (self.own.steps,), generator=generator).bool().tolist()
        return [(down, right) for down, right in shifts], flips


@torch.no_grad()
def _clip(pixels: Tensor, model: PoolModel) -> Tensor:
    """Clip normalised pixels in place to what images in [0, 1] can become."""
    low, high = (normalise(torch.full_like(pixels[:1], end), model.mean, model.std) for end in (0.0, 1.0))
    return pixels.clamp_(low, high)
