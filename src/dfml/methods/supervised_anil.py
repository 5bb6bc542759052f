"""Supervised ANIL on real meta-train images: MAML whose inner loop moves the head alone (Raghu et al., 2020)."""

from dfml.methods.base import Context, Fitted
from dfml.methods.supervised import train_maml


def fit(context: Context) -> Fitted:
    """The head adapts, in training and at meta-test."""
    return train_maml(context, head_only=True)
