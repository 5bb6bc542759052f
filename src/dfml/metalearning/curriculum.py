"""PURER's gradient switch: when the learner no longer improves, the next episodes are made harder."""

from typing import Any

from torch import Tensor

from dfml.metalearning.replay import Patience


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
