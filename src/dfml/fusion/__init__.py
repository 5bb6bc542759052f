"""Fusing models in the space of their weights."""
