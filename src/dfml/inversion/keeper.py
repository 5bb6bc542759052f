"""Which iterate of an inversion is kept."""

from torch import Tensor, where


class Keeper:
    """Decides on the device which iterate's images are kept (F10)."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.losses: list[Tensor] = []
        self._best: Tensor | None = None
        self._images: Tensor | None = None

    def offer(self, images: Tensor, loss: Tensor) -> None:
        """Take an iterate: its images, which nobody may change later, and its loss."""
        self.losses.append(loss)
        if self.rule == "best" and self._best is not None:
            better = loss < self._best
            self._images = where(better, images, self._images)
            self._best = loss.minimum(self._best)
        else:
            self._best, self._images = loss, images

    def replace(self, images: Tensor) -> None:
        """Keep these images whatever was offered."""
        self._images = images

    @property
    def images(self) -> Tensor:
        """The kept images."""
        assert self._images is not None
        return self._images
