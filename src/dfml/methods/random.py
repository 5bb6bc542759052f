"""Random: a freshly initialised learner (docs/method.md §8.5), the floor."""

import torch

from dfml.methods.base import Context, Fitted, Snapshot, cpu_state


def fit(context: Context) -> Fitted:
    """Initialise a learner with a head bias of zero; nothing is learned."""
    pool = context.pool
    network = context.new_learner(pool.side)
    with torch.no_grad():
        network.head.bias.zero_()
    state = cpu_state(dict(network.named_parameters()))
    return Fitted.of_learner(context, [Snapshot(0, 0.0, [state])])
