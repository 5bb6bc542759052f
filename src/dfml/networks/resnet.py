"""ResNet-10 and ResNet-18 for small images (docs/method.md §2.1)."""

import torch.nn.functional as F
from torch import Tensor, nn

from dfml.networks.batch_norm import EpisodicBatchNorm2d
from dfml.networks.classifier import Classifier


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, ``[B, inputs, H, W]`` to ``[B, outputs, H/stride, W/stride]``."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, episodic: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = EpisodicBatchNorm2d(outputs, episodic=episodic)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = EpisodicBatchNorm2d(outputs, episodic=episodic)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), EpisodicBatchNorm2d(outputs, episodic=episodic)
            )

    def forward(self, x: Tensor) -> Tensor:
        """One residual step."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


BLOCKS_PER_STAGE = {"resnet10": 1, "resnet18": 2}


class ResNet(Classifier):
    """Stem without pooling, four stages of basic blocks, global average pool, linear head.

    Images ``[B, 3, side, side]`` of any side to logits ``[B, ways]``. ``stem_relu=False`` leaves out the ReLU after
    the stem's batch norm, as the published code does (F33).
    """

    def __init__(
        self, *, blocks: int, ways: int, width: int = 64, stem_relu: bool = True, episodic: bool = False
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.stem_norm = EpisodicBatchNorm2d(width, episodic=episodic)
        self.stem_relu = stem_relu
        stages: list[nn.Module] = []
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(BasicBlock(inputs, outputs, stride, episodic=episodic))
                inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.feature_size = inputs
        self.head = nn.Linear(inputs, ways)

    def features(self, images: Tensor) -> Tensor:
        """Features before the head, ``[B, 8 · width]``."""
        x = self.stem_norm(self.stem(images))
        return self.stages(F.relu(x) if self.stem_relu else x).mean((2, 3))
