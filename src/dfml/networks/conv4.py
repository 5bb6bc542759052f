"""Conv4: the meta-learner and the simplest zoo model (docs/method.md §2.1)."""

from torch import Tensor, nn

from dfml.errors import DfmlError
from dfml.networks.batch_norm import EpisodicBatchNorm2d
from dfml.networks.classifier import Classifier


class Conv4(Classifier):
    """Four blocks of convolution, batch norm, max pool and ReLU, then a linear head.

    Images ``[B, 3, side, side]`` to logits ``[B, ways]``. With ``side=None`` images of any side are taken: the last
    block's output is max-pooled to ``grid`` x ``grid`` places, 1 as published.
    Pooling comes before the ReLU: the two commute, and the ReLU then touches a quarter of the values.
    """

    def __init__(
        self, *, ways: int, width: int = 32, side: int | None = 32, grid: int = 1, episodic: bool = False
    ) -> None:
        super().__init__()
        blocks = []
        for channels in (3, width, width, width):
            blocks += [
                nn.Conv2d(channels, width, 3, padding=1),
                EpisodicBatchNorm2d(width, episodic=episodic),
                nn.MaxPool2d(2),
                nn.ReLU(),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.side = side
        self.grid = grid if side is None else 0
        self.pool = nn.Identity() if side else nn.AdaptiveMaxPool2d(grid)
        self.feature_size = width * (side // 16 if side else grid) ** 2
        self.head = nn.Linear(self.feature_size, ways)

    def features(self, images: Tensor) -> Tensor:
        """Features before the head, ``[B, feature_size]``.

        Raises:
            DfmlError: for images of a side that the head was not made for.
        """
        if self.side is not None and images.shape[-1] != self.side:
            raise DfmlError(
                f"this Conv4 has a head for {self.side}-pixel images and was given {images.shape[-1]} pixels; "
                "resize the images or use the any-resolution form"
            )
        return self.pool(self.blocks(images)).flatten(1)
