"""OTA: the mean of all models' weights after their neurons were matched by optimal transport."""

import time

from dfml.config.methods.fusion import OtaSettings
from dfml.fusion.transport import fuse
from dfml.methods.base import Context, Fitted, Snapshot, replace_head, without_statistics


def fit(context: Context) -> Fitted:
    """Fuse the pool onto its best model; the head by the setting ``head``."""
    settings = OtaSettings.model_validate(context.options)
    start = time.perf_counter()
    pool = context.pool
    states = [without_statistics(model.network) for model in pool]
    anchor = pool.best(1)[0].index
    fused = fuse(pool[0].spec, states, anchor, match_norm=settings.match_norm)
    replace_head(fused, context, settings.head)
    seconds = time.perf_counter() - start
    return Fitted.of_learner(context, [Snapshot(0, seconds, [fused])], stages={"fusion": seconds})
