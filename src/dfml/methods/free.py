"""FREE (CVPR 2024): FIVE, BELL and cross-task replay; `corrected` or `official` by its profile."""

from dfml.config.methods.free import FreeOfficialSettings, FreeSettings
from dfml.metalearning.inner_loop import parameters_of
from dfml.methods.base import Context, Fitted
from dfml.methods.free_loop import FreeLoop


def fit(context: Context) -> Fitted:
    """Meta-train a learner from random weights, or from the pool's best model if the setting ``start`` says so."""
    section = FreeOfficialSettings if context.method == "free_official" else FreeSettings
    settings = section.model_validate(context.options)
    loop = FreeLoop(context, settings, parameters_of(context.starting_learner(settings.start)))
    snapshots, history = loop.run()
    return Fitted.of_learner(
        context, snapshots, teacher_passes=loop.teacher_passes, history=history, stages=loop.stages
    )
