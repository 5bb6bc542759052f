"""Zoo features: the best single model's frozen features and nearest centroids."""

from dfml.methods.base import Context, Fitted, Snapshot, without_statistics


def fit(context: Context, count: int = 1) -> Fitted:
    """Take the ``count`` models of highest own held-out accuracy; nothing is learned."""
    pool = context.pool
    chosen = pool.best(count)
    states = [without_statistics(model.network) for model in chosen]
    specs = [model.spec for model in chosen]
    return Fitted(specs, [Snapshot(0, 0.0, states)], *pool.normalisation, finetune=False, domains=pool.domains)
