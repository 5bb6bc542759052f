"""When the learner has stopped improving on what the bank holds and needs another model (BiDf-MKD)."""

from typing import Any

import torch
from torch import Tensor

from dfml.metalearning.replay import Patience


class Trigger:
    """Fires before the first step, then whenever accuracies have not improved for ``patience`` steps.

    Firing begins a new record: what the learner reached on the old images says little about the new ones.
    """

    def __init__(self, patience: int, device: torch.device) -> None:
        self.limit, self.device = patience, device
        self._patience = Patience(patience)
        self._started = False
        self._unread: list[Tensor] = []

    def fires(self) -> bool:
        """Whether the next step is an event; to be asked once before each. Reads the device only where it could be."""
        if not self._started:
            self._started = True
            return True
        if len(self._unread) < self._patience.sure:
            return False
        values, self._unread = torch.stack(self._unread).tolist(), []
        # No value but the last of such a block can use the patience up.
        fired = any(self._patience.exhausted(value) for value in values)
        if fired:
            self._patience = Patience(self.limit)
        return fired

    def take(self, accuracy: Tensor) -> None:
        """The accuracy of a step, a scalar on the device."""
        self._unread.append(accuracy)

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        patience = self._patience
        return {
            "best": patience.best,
            "waited": patience.waited,
            "started": self._started,
            "unread": list(self._unread),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self._patience.best, self._patience.waited = state["best"], state["waited"]
        self._started, self._unread = state["started"], [value.to(self.device) for value in state["unread"]]
