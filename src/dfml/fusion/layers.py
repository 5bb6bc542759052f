"""Which layers of a network write to which set of neurons: what aligning two networks neuron by neuron must know."""

from collections.abc import Iterator
from dataclasses import dataclass

from dfml.artefacts.zoo import NetworkSpec

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
        for block in range(4):
            name = f"blocks.{4 * block}"
            yield FusedLayer(name, f"blocks.{4 * block + 1}", before, name)
            before = name
    else:
        per_stage = {"resnet10": 1, "resnet18": 2}[spec.family]
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
