"""DRO: a network that writes the weights of all models, robust about its task embeddings. Our reconstruction."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dfml.compute.optimisers import Adam
from dfml.compute.placement import send
from dfml.compute.seeds import torch_generator
from dfml.compute.timeline import Timeline
from dfml.jobs.loop import Loop
from dfml.methods.base import Context, Fitted, Snapshot, replace_head, without_statistics
from dfml.methods.fusion.settings import DroSettings

CODE = 64  # numbers that tell the network which chunk of the weights it writes


class Standardised:
    """Weights of all models as rows of one matrix, each tensor with mean 0 and deviation 1 over models and entries.

    Args:
        states: state dicts of one architecture, on the CPU; heads of several image sides, which differ in shape, are
            left out.
    """

    def __init__(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        self.shapes = {
            name: value.shape for name, value in states[0].items() if all(s[name].shape == value.shape for s in states)
        }
        self.centres, self.spreads, columns = {}, {}, []
        for name in self.shapes:
            stacked = torch.stack([state[name] for state in states]).flatten(1)
            self.centres[name], spread = stacked.mean(), stacked.std(correction=0)
            # A tensor that is the same everywhere has no scale of its own.
            self.spreads[name] = torch.where(spread > 1e-8, spread, torch.ones_like(spread))
            columns.append((stacked - self.centres[name]) / self.spreads[name])
        self.rows = torch.cat(columns, 1)

    def restore(self, row: Tensor) -> dict[str, Tensor]:
        """A state dict of one row ``[weights]``."""
        parts = row.detach().cpu().split([shape.numel() for shape in self.shapes.values()])
        return {
            name: (part * self.spreads[name] + self.centres[name]).view(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


class WeightWriter(nn.Module):
    """Embeddings ``[B, embedding]`` to standardised weights ``[B, weights]``, written chunk by chunk."""

    def __init__(self, weights: int, settings: DroSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.weights = weights
        chunks = -(-weights // settings.chunk)
        self.codes = nn.Parameter(torch.randn(chunks, CODE, generator=generator))
        sizes = (settings.embedding + CODE, settings.hidden, settings.hidden, settings.chunk)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layer = nn.Linear(inputs, outputs)
            bound = inputs**-0.5
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
            layers += [layer, nn.ReLU()]
        self.body = nn.Sequential(*layers[:-1])

    def forward(self, embeddings: Tensor) -> Tensor:
        """Weights of each embedding."""
        batch, chunks = len(embeddings), len(self.codes)
        each = embeddings[:, None].expand(-1, chunks, -1)
        written = self.body(torch.cat([each, self.codes.expand(batch, -1, -1)], 2))
        return written.flatten(1)[:, : self.weights]


class RobustFusion:
    """Fits the writer and the embeddings: min over both of Σ_i max_e' ‖H(e') − W_i‖² / |W| − λ ‖e' − e_i‖².

    The inner maximum, over a Wasserstein ball around each embedding in its Lagrangian form, is sought by gradient
    ascent; λ → ∞ is plain regression onto the models.

    Args:
        targets: standardised weights of the models, ``[models, weights]``, on the device.
        settings: of the method.
        generator: source of every random choice (a CPU generator).
    """

    MOVES = ("moved", "optimiser", "generator")

    def __init__(self, targets: Tensor, settings: DroSettings, generator: torch.Generator) -> None:
        self.targets, self.settings, self.generator = targets, settings, generator
        device = targets.device
        self.writer = WeightWriter(targets.shape[1], settings, generator).to(device)
        self.embeddings = torch.randn(len(targets), settings.embedding, generator=generator).to(device).requires_grad_()
        self.moved = [*self.writer.parameters(), self.embeddings]
        self.optimiser = Adam([self.moved], [settings.learning_rate])

    def step(self) -> Tensor:
        """One outer step on a batch of models; returns the loss at the worst embeddings found, a scalar."""
        count = min(self.settings.batch, len(self.targets))
        rows = send(torch.randperm(len(self.targets), generator=self.generator)[:count], self.targets.device)
        worst = self._worst(rows)
        # The displacement is held fixed, so that the embedding itself moves with the point it led to.
        at = self.embeddings[rows] + (worst - self.embeddings[rows]).detach()
        loss = self._regression(at, rows).mean()
        for parameter, gradient in zip(self.moved, torch.autograd.grad(loss, self.moved), strict=True):
            parameter.grad = gradient
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss.detach()

    def _worst(self, rows: Tensor) -> Tensor:
        centre = self.embeddings.detach()[rows]
        if not self.settings.ascent_steps:
            return centre
        noise = send(torch.randn(centre.shape, generator=self.generator), centre.device)
        point = (centre + 0.01 * noise).requires_grad_()
        rate, penalty = self.settings.ascent_rate, self.settings.penalty
        for _ in range(self.settings.ascent_steps):
            (gradient,) = torch.autograd.grad(self._regression(point, rows).sum(), point)
            # Implicit in the penalty, whose steep slope would throw an explicit step beyond the other side.
            point = ((point + rate * (gradient + 2 * penalty * centre)) / (1 + 2 * rate * penalty)).detach()
            point.requires_grad_()
        return point.detach()

    def _regression(self, embeddings: Tensor, rows: Tensor) -> Tensor:
        return (self.writer(embeddings) - self.targets[rows]).square().mean(1)

    @torch.no_grad()
    def fused(self) -> Tensor:
        """Standardised weights at the mean embedding, ``[weights]``."""
        return self.writer(self.embeddings.mean(0, keepdim=True))[0]


def fit(context: Context) -> Fitted:
    """Train the writer on the pool; the head by the setting ``head``."""
    settings = context.own(DroSettings)
    pool, device = context.pool, context.job.device
    models = Standardised([without_statistics(model.module) for model in pool])
    fusion = RobustFusion(models.rows.to(device), settings, torch_generator(context.seed, "dro"))
    timeline = Timeline(device, ("fusion",))

    def step(number: int) -> dict[str, Tensor]:
        with timeline.stage("fusion"):
            return {"regression": fusion.step()}

    loop = Loop(
        name=context.method,
        total=settings.iterations,
        steps=lambda done: map(step, range(done, settings.iterations)),
        moves=fusion,
        clock=timeline,
        checkpoint=context.checkpoint,
        job=context.job,
        every=max(1, settings.iterations // 50),
        sparse=True,
        keep_end=True,
        shown=context.history.add,
    )
    history = loop.run()
    fused = models.restore(fusion.fused())
    replace_head(fused, context, settings.head)
    snapshot = Snapshot(loop.done, timeline.total, [fused])
    return Fitted.of_learner(context, [snapshot], history=history, stages=timeline.seconds)
