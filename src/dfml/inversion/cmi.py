"""CMI: contrastive model inversion (Fang et al., 2021; docs/methods)."""

import torch

from dfml.compute.optimisers import Adam
from dfml.compute.placement import laid_out, send, settle
from dfml.compute.workers import still_wanted
from dfml.imaging.windows import draw_windows, look_through
from dfml.inversion.contrast import FeatureMemory, NormInputs, ProjectionHead, contrastive_loss
from dfml.inversion.finite import check_finite
from dfml.inversion.inner_steps import BETAS
from dfml.inversion.keeper import Keeper
from dfml.inversion.meta_generator import Recovered, interleaved_targets
from dfml.inversion.objective import make_objective
from dfml.inversion.per_model import draw_generator
from dfml.inversion.settings import InversionSettings
from dfml.zoo.pool import PoolModel


class ContrastiveInversion:
    """Recovers several batches of one model's task after another; the lowest-loss images of each are kept.

    Every batch starts from a generator and latents of its own. The projection head and the memory of features last for
    all batches of a model.

    Args:
        settings: of the inversion.
        side: of the images, pixels.
    """

    def __init__(self, settings: InversionSettings, *, side: int) -> None:
        self.settings, self.own, self.side = settings, settings.cmi, side
        self.objective = make_objective(settings, ce_weight=self.own.ce_weight, bn_weight=self.own.bn_weight)

    def __call__(self, model: PoolModel, draws: torch.Generator) -> list[Recovered]:
        """Recover the task of ``model``; raises DfmlError when a loss is not finite."""
        head = ProjectionHead(NormInputs(model.network).size, self.own.projection, draws)
        head = head.to(model.mean.device, model.mean.dtype)
        optimiser = Adam([list(head.parameters())], [self.own.learning_rate], betas=BETAS)
        memory = FeatureMemory(self.own.memory)
        return [self._batch(model, head, optimiser, memory, draws) for _ in range(self.own.batches)]

    def _batch(
        self, model: PoolModel, head: ProjectionHead, of_head: Adam, memory: FeatureMemory, draws: torch.Generator
    ) -> Recovered:
        own, device = self.own, model.mean.device
        targets = interleaved_targets(len(model.class_ids), self.settings.images_per_class, device)
        fresh = draw_generator(self.settings, self.side, draws, law="normal").to(model.mean.dtype)
        generator = settle(fresh, device)
        noise = torch.randn(len(targets), self.settings.latent, generator=draws)
        latents = send(noise, device).to(model.mean.dtype).requires_grad_()
        variables = [*generator.parameters(), latents]
        optimiser = Adam([variables], [own.learning_rate], betas=BETAS)
        size = {"images": len(targets)}
        moves = self.objective.views.draw(own.steps, **size, canvas=self.side, side=model.side, draws=draws).to(device)
        windows = draw_windows(own.steps, **size, smallest=own.smallest_window, generator=draws).to(device)
        keep, of_features, curve = Keeper("best"), Keeper("best"), []
        for step in range(own.steps):
            still_wanted()
            images = generator(latents)
            with NormInputs(model.network) as inputs:
                loss, cross_entropy = self.objective(model, images, targets, moves[step])
                overall = inputs.features()
                model.network(laid_out(model.inputs(look_through(images, windows[step]))))
                features = (inputs.features(), overall)
            remembered = memory.sample(own.negatives, draws)
            loss = loss + own.contrast_weight * contrastive_loss(head, features, remembered, own.temperature)
            moved = [*variables, *head.parameters()]
            for variable, gradient in zip(moved, torch.autograd.grad(loss, moved), strict=True):
                variable.grad = gradient
            keep.offer(images.detach(), loss.detach())
            of_features.offer(torch.stack(features).detach(), loss.detach())
            curve.append(cross_entropy)
            optimiser.step()
            of_head.step()
        local, overall = of_features.images
        memory.add((local, overall))
        check_finite(
            model,
            torch.stack(keep.losses),
            keep.images,
            "lower `inversion.cmi.learning_rate` or the weight of a term (`bn_weight`, `contrast_weight` there)",
        )
        return Recovered(model, keep.images, targets, torch.stack(curve))
