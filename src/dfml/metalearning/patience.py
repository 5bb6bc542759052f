"""When a learner has stopped improving."""

import math

from torch import Tensor


class Patience:
    """Is used up when ``limit`` values in a row have not improved on the best (F26); then the record begins anew.

    Values may still be on their way on a device: the host reads them, and so waits, only where they could decide.

    Args:
        limit: how many.
        after: values before any record is kept; None: it is never used up.
        at_once: it is used up before the first value as well.
    """

    MOVES = ("_ahead", "_at_once", "_best", "_waited")
    GROWS = ("_unread",)

    def __init__(self, limit: int, *, after: int | None = 0, at_once: bool = False) -> None:
        self.limit = limit
        self._ahead = math.inf if after is None else after
        self._at_once = at_once
        self._best, self._waited = -math.inf, 0
        self._unread: list[Tensor | float] = []

    def take(self, value: Tensor | float) -> None:
        """A further value, a scalar."""
        if self._ahead > 0:
            self._ahead -= 1
        else:
            self._unread.append(value)

    def used_up(self) -> bool:
        """Whether the values taken have used it up; to be asked after each, or before."""
        if self._at_once:
            self._at_once = False
            return True
        # So many values can be taken whatever they are; none but the last of them can use it up.
        if len(self._unread) < self.limit - self._waited:
            return False
        values = [float(value) for value in self._unread]
        self._unread.clear()
        for value in values:
            self._waited = 0 if value > self._best else self._waited + 1
            self._best = max(self._best, value)
        if self._waited < self.limit:
            return False
        self._best, self._waited = -math.inf, 0
        return True
