"""When a learner has stopped improving."""

from typing import Any

import torch
from torch import Tensor


class Patience:
    """Stops when ``limit`` values in a row have not improved on the best (F26)."""

    def __init__(self, limit: int) -> None:
        self.limit, self.best, self.waited = limit, float("-inf"), 0

    def exhausted(self, value: float) -> bool:
        """Take a value; True once the patience is used up."""
        self.waited = 0 if value > self.best else self.waited + 1
        self.best = max(self.best, value)
        return self.waited >= self.limit

    @property
    def sure(self) -> int:
        """How many further values will be taken whatever they are: until then nobody needs to look at them."""
        return self.limit - self.waited


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


class Curriculum:
    """Keeps the record of the query accuracy and says when harder images are due.

    Args:
        after: iterations before any record is kept; None switches the curriculum off.
        patience: iterations without improvement until harder images are due. Then the record begins anew.
    """

    def __init__(self, after: int | None, patience: int) -> None:
        self._after, self._limit = after, patience
        self._patience = Patience(patience)
        self._unread: list[Tensor | float] = []

    def observe(self, iteration: int, accuracy: Tensor) -> None:
        """Take the mean query accuracy of an iteration, counted from 0; a scalar that may still be on its way."""
        if self._after is not None and iteration >= self._after:
            self._unread.append(accuracy)

    def harder(self) -> bool:
        """Whether the next images are to be made harder; True once, then the record begins anew.

        The host reads the accuracies, and so waits for the device, only where they could decide it.
        """
        if len(self._unread) < self._patience.sure:
            return False
        values, self._unread = [float(value) for value in self._unread], []
        if not any(self._patience.exhausted(value) for value in values):
            return False
        self._patience = Patience(self._limit)
        return True

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        unread = [float(value) for value in self._unread]
        return {"best": self._patience.best, "waited": self._patience.waited, "unread": unread}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self._patience.best, self._patience.waited = state["best"], state["waited"]
        self._unread = list(state["unread"])
