"""OTA: the mean of all models' weights after their neurons were matched by optimal transport (docs/method.md §8.5)."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ot
import torch
from torch import Tensor

from dfml.artefacts.zoo import NetworkSpec
from dfml.methods.base import Context, Fitted, Snapshot, replace_head, without_statistics
from dfml.methods.fusion.settings import OtaSettings
from dfml.networks.resnet import BLOCKS_PER_STAGE

IMAGE = "image"


@dataclass(frozen=True)
class FusedLayer:
    """A convolution or linear layer with the batch norm behind it.

    Layers that write to one stream (a residual stream has several) must permute their outputs alike.

    Attributes:
        name: of its weight in the state dict, without ``.weight``.
        norm: of its batch norm, likewise; None for the head.
        reads: the set of neurons that its inputs are, ``image`` for pixels.
        writes: the set of neurons that its outputs are; None for the head, whose outputs are classes.
    """

    name: str
    norm: str | None
    reads: str
    writes: str | None


def fused_layers(spec: NetworkSpec) -> Iterator[FusedLayer]:
    """The layers of a network from input to output; the first that writes to a stream decides its order."""
    if spec.family == "conv4":
        before = IMAGE
        for place in range(4):
            name = f"blocks.{4 * place}"
            yield FusedLayer(name, f"blocks.{4 * place + 1}", before, name)
            before = name
    else:
        per_stage = BLOCKS_PER_STAGE[spec.family]
        before = "stem"
        yield FusedLayer("stem", "stem_norm", IMAGE, before)
        for number in range(4 * per_stage):
            block, stage = f"stages.{number}", number // per_stage
            # A stage of the width before it adds to the stream it reads; a wider one begins a stream of its own.
            stream = "stem" if stage == 0 else f"stage{stage}"
            yield FusedLayer(f"{block}.conv1", f"{block}.norm1", before, block)
            yield FusedLayer(f"{block}.conv2", f"{block}.norm2", block, stream)
            if stream != before:
                yield FusedLayer(f"{block}.shortcut.0", f"{block}.shortcut.1", before, stream)
            before = stream
    yield FusedLayer("head", None, before, None)


State = Mapping[str, Tensor]


def transport_plan(source: Tensor, target: Tensor) -> Tensor:
    """The exact optimal transport between two sets of neurons with equal masses, by Euclidean distance.

    Args:
        source, target: a row for each neuron, ``[n, d]`` and ``[m, d]``.

    Returns:
        ``[n, m]``, rows summing to 1/n and columns to 1/m.
    """
    cost = torch.cdist(source.double(), target.double()).numpy()
    uniform = [np.full(count, 1 / count) for count in cost.shape]
    return torch.from_numpy(ot.emd(*uniform, cost)).to(source.dtype)


def align(spec: NetworkSpec, model: State, anchor: State, *, match_norm: bool) -> dict[str, Tensor]:
    """Permute, or where the transport splits a neuron mix, the hidden neurons of ``model`` to match the anchor's.

    Args:
        spec: of both networks.
        model, anchor: their state dicts on the CPU, with or without stored statistics.
        match_norm: compare neurons by bias, scale and shift too, not by their incoming weights alone.

    Returns:
        A state dict of the same entries. The head's outputs, which are other classes in every model, stay in order.
    """
    aligned = dict(model)
    maps: dict[str, Tensor] = {}
    for layer in fused_layers(spec):
        weight = model[f"{layer.name}.weight"]
        if layer.reads != IMAGE:
            weight = _map_inputs(weight, maps[layer.reads])
        if layer.writes is None:
            aligned[f"{layer.name}.weight"] = weight
            continue
        if layer.writes not in maps:
            rows = _rows(layer, weight, model, match_norm=match_norm)
            plan = transport_plan(rows, _rows(layer, anchor[f"{layer.name}.weight"], anchor, match_norm=match_norm))
            # Each of the anchor's neurons becomes a convex combination of the model's.
            maps[layer.writes] = plan / plan.sum(0)
        outputs = maps[layer.writes].T
        aligned[f"{layer.name}.weight"] = torch.tensordot(outputs, weight, dims=1)
        for name in _vectors(layer, model):
            aligned[name] = outputs @ model[name]
    return aligned


def fuse(spec: NetworkSpec, models: Sequence[State], anchor: int, *, match_norm: bool) -> dict[str, Tensor]:
    """The mean of all models, each aligned to the anchor first; integer entries are the anchor's.

    Heads of models of several image sides differ in shape and are left out.
    """
    given = models[anchor]
    aligned = [
        dict(model) if index == anchor else align(spec, model, given, match_norm=match_norm)
        for index, model in enumerate(models)
    ]
    return {
        name: torch.stack([one[name] for one in aligned]).mean(0) if value.is_floating_point() else value
        for name, value in given.items()
        if all(one[name].shape == value.shape for one in aligned)
    }


def _vectors(layer: FusedLayer, state: State) -> list[str]:
    """Names of all that the layer keeps one number per output for."""
    names = [f"{layer.name}.bias"]
    names += [f"{layer.norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    return [name for name in names if name in state]


def _rows(layer: FusedLayer, weight: Tensor, state: State, *, match_norm: bool) -> Tensor:
    parts = [weight.flatten(1)]
    if match_norm:
        named = [name for name in _vectors(layer, state) if not name.split(".")[-1].startswith("running")]
        parts += [state[name][:, None] for name in named]
    return torch.cat(parts, 1)


def _map_inputs(weight: Tensor, columns: Tensor) -> Tensor:
    """Weights that read the anchor's neurons instead of the model's.

    A linear layer behind a convolution reads each channel at several positions, channel by channel.
    """
    channels = columns.shape[0]
    by_channel = weight.unflatten(1, (channels, -1)) if weight.ndim == 2 else weight
    mapped = torch.tensordot(by_channel, columns, dims=([1], [0])).movedim(-1, 1)
    return mapped.flatten(1) if weight.ndim == 2 else mapped.contiguous()


def fit(context: Context) -> Fitted:
    """Fuse the pool onto its best model; the head by the setting ``head``."""
    settings = context.own(OtaSettings)
    start = time.perf_counter()
    pool = context.pool
    states = [without_statistics(model.module) for model in pool]
    anchor = pool.best(1)[0].index
    fused = fuse(pool[0].spec, states, anchor, match_norm=settings.match_norm)
    replace_head(fused, context, settings.head)
    seconds = time.perf_counter() - start
    return Fitted.of_learner(context, [Snapshot(0, seconds, [fused])], stages={"fusion": seconds})
