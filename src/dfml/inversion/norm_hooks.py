"""Listening to what reaches the batch norms of a frozen network."""

from types import TracebackType
from typing import Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dfml.networks.batch_norm import EpisodicBatchNorm2d


class NormHooks:
    """Calls :meth:`note` with every batch norm's input while inside ``with``; after it the hooks are gone."""

    def __init__(self, network: nn.Module) -> None:
        self._norms = [m for m in network.modules() if isinstance(m, EpisodicBatchNorm2d)]
        self._hooks: list[RemovableHandle] = []

    def note(self, norm: EpisodicBatchNorm2d, inputs: tuple[Tensor]) -> None:
        """Take the input ``[B, channels, height, width]`` of one batch norm."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._hooks = [norm.register_forward_pre_hook(self.note) for norm in self._norms]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
