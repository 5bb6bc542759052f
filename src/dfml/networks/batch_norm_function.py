"""Batch norm by the batch's own statistics with first and second derivatives of its own (docs/method.md §2.2).

PyTorch composes the second derivative of many passes over the activations, and inside ``vmap`` its gradient of the
scale takes the statistics of the batch for constants, so that second-order meta-gradients come out wrong by some
percent. Here the second derivative is one closed form, and a batch of tasks is folded into the channels.

With x̂ the normalised input, r the reciprocal standard deviation, γ the scale, g the gradient of the output, M the
number of rows (batch and space) and P(g) = g − mean(g) − x̂ · mean(g x̂), per channel:

    ∂/∂β = Σ g        ∂/∂γ = Σ g x̂        ∂/∂x = γ r P(g)

and for the cotangents u of ∂/∂x, v of ∂/∂γ and w of ∂/∂β:

    to g:  γ r P(u) + v x̂ + w        to γ:  r ⟨u, P(g)⟩
    to x:  r P(h) − γ r² ⟨u, P(g)⟩ x̂ / M        with h = v g − γ r (u Σ g x̂ + g Σ u x̂) / M
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def batch_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Normalise ``[B, C, H, W]`` per channel by its own mean and biased variance, then scale and shift by ``[C]``."""
    return _BatchNorm.apply(x, scale, shift, eps)[0]


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        return torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, scale, _, ctx.eps = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(x, scale, *output[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, scale, mean, rstd = ctx.saved_tensors
        found = _BatchNormBackward.apply(gradient, x, scale, mean, rstd, ctx.eps)
        return (*found, None)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, scale: Tensor, shift: Tensor, eps: float
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[int, int, int]]:
        tasks = info.batch_size
        images = _fold_images(x, in_dims[0], tasks)
        y, mean, rstd = _BatchNorm.apply(images, _fold(scale, in_dims[1], tasks), _fold(shift, in_dims[2], tasks), eps)
        return (_unfold_images(y, tasks), mean.unflatten(0, (tasks, -1)), rstd.unflatten(0, (tasks, -1))), (1, 0, 0)


class _BatchNormBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        g: Tensor, x: Tensor, scale: Tensor, mean: Tensor, rstd: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        return torch.ops.aten.native_batch_norm_backward(
            g, x, scale, None, None, mean, rstd, True, eps, [True, True, True]
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs[:5], *output[1:])

    @staticmethod
    def backward(ctx: Any, u: Tensor, v: Tensor, w: Tensor) -> tuple[Tensor | None, ...]:
        g, x, scale, mean, rstd, gx, g_sum = ctx.saved_tensors
        x, g, u = (_rows(t, like=x) for t in (x, g, u))
        rows, over = x.numel() // len(mean), (0, 2) if x.ndim == 3 else (0,)
        across = (lambda c: c[:, None]) if x.ndim == 3 else (lambda c: c)
        normal = (x - across(mean)) * across(rstd)
        u_sum, ux, ug = u.sum(over), (u * normal).sum(over), (u * g).sum(over)
        projected = ug - (u_sum * g_sum + ux * gx) / rows
        slope = scale * rstd
        # Both results are linear in u, g and x̂ with coefficients per channel; `of_u`, `of_g` are those of h.
        to_g = torch.addcmul(across(w - slope * u_sum / rows), normal, across(v - slope * ux / rows))
        to_g.addcmul_(u, across(slope))
        of_u, of_g = -slope * gx / rows, v - slope * ux / rows
        h_sum, hx = of_u * u_sum + of_g * g_sum, of_u * ux + of_g * gx
        to_x = torch.addcmul(
            across(-rstd * h_sum / rows), normal, across(-(rstd * hx + slope * rstd * projected) / rows)
        )
        to_x.addcmul_(g, across(rstd * of_g)).addcmul_(u, across(rstd * of_u))
        back = ctx.saved_tensors[1]
        return _images(to_g, like=back), _images(to_x, like=back), rstd * projected, None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *arguments: Any
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[int, int, int]]:
        tasks = info.batch_size
        g, x = (_fold_images(t, d, tasks) for t, d in zip(arguments[:2], in_dims, strict=False))
        rest = [_fold(t, d, tasks) for t, d in zip(arguments[2:5], in_dims[2:], strict=False)]
        to_x, to_scale, to_shift = _BatchNormBackward.apply(g, x, *rest, arguments[5])
        parts = to_scale.unflatten(0, (tasks, -1)), to_shift.unflatten(0, (tasks, -1))
        return (_unfold_images(to_x, tasks), *parts), (1, 0, 0)


def _rows(images: Tensor, *, like: Tensor) -> Tensor:
    """``[rows, C]`` for a channels-last ``like``, else ``[B, C, space]``: either way without a copy of ``like``."""
    if like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous():
        return images.permute(0, 2, 3, 1).flatten(0, 2)
    return images.flatten(2)


def _images(rows: Tensor, *, like: Tensor) -> Tensor:
    """The inverse of :func:`_rows`."""
    if rows.ndim == 2:
        batch, channels, height, width = like.shape
        return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return rows.view(like.shape)


def _fold_images(images: Tensor, dim: int | None, tasks: int) -> Tensor:
    """Tasks into the channels: ``[B, tasks · C, H, W]``."""
    if dim is None:
        images, dim = images.expand(tasks, *images.shape), 0
    return images.movedim(dim, 1).flatten(1, 2)


def _unfold_images(images: Tensor, tasks: int) -> Tensor:
    return images.unflatten(1, (tasks, -1))


def _fold(values: Tensor, dim: int | None, tasks: int) -> Tensor:
    """Values per channel of every task, ``[tasks · C]``."""
    if dim is None:
        values, dim = values.expand(tasks, *values.shape), 0
    return values.movedim(dim, 0).flatten()
