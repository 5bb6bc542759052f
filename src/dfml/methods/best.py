"""Best single: the zoo model with the highest own held-out accuracy as the learner (docs/method.md §8.5)."""

from dfml.config.methods.fusion import BestSettings
from dfml.methods.base import Context, Fitted, Snapshot, replace_head, without_statistics


def fit(context: Context) -> Fitted:
    """Take its weights; the head, made for other classes, by the setting ``head``. Nothing is learned."""
    settings = BestSettings.model_validate(context.options)
    # The configuration refuses pools that have none.
    state = without_statistics(context.models_like_the_learner()[0].network)
    replace_head(state, context, settings.head)
    return Fitted.of_learner(context, [Snapshot(0, 0.0, [state])])
