"""What every classifier is: features of an image, and a linear head that answers from them."""

from torch import Tensor, nn


class Classifier(nn.Module):
    """A network of the zoo, or the meta-learner's.

    Attributes:
        head: The last layer, from features to logits.
        feature_size: Length of a feature.
        side: The image side that the head was made for, in pixels; None for any.
        normalises: Whether it is given images in [0, 1] and normalises them by itself.
    """

    head: nn.Linear
    feature_size: int
    side: int | None = None
    normalises: bool = False

    def features(self, images: Tensor) -> Tensor:
        """Features ``[B, feature_size]`` of normalised images ``[B, 3, side, side]``."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, ways]``."""
        return self.head(self.features(images))
