"""Supervised MAML on real meta-train images: the upper bound of what is fine-tuned."""

from dfml.methods.base import Context, Fitted
from dfml.methods.supervised import train_maml


def fit(context: Context) -> Fitted:
    """All parameters adapt."""
    return train_maml(context, head_only=False)
