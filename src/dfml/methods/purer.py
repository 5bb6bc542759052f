"""PURER (Hu et al., CVPR 2023): a dynamic set of synthetic images and the learner are trained in turn."""

from dfml.config.methods.purer import PurerSettings
from dfml.methods.base import Context, Fitted
from dfml.methods.iterate import iterate
from dfml.methods.purer_loop import PurerLoop


def fit(context: Context) -> Fitted:
    """Meta-train MAML, ANIL or ProtoNet, as the method's name says, on episodes of images trained meanwhile."""
    settings = PurerSettings.model_validate(context.options)
    learner = context.method.removeprefix("purer_")
    loop = PurerLoop(context, settings, learner)
    snapshots, history = iterate(
        context, loop, iterations=settings.iterations, snapshots=settings.snapshots, warmup=settings.warmup
    )
    return Fitted.of_learner(
        context,
        snapshots,
        teacher_passes=loop.teacher_passes,
        history=history,
        stages=loop.timeline.seconds,
        finetune=learner != "protonet",
        head_only=learner == "anil",
    )
