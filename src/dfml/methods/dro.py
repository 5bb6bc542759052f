"""DRO: a network that writes the weights of all models, read at the mean of their embeddings. Our reconstruction."""

from dfml.compute.seeds import torch_generator
from dfml.compute.timeline import Timeline
from dfml.config.methods.fusion import DroSettings
from dfml.fusion.dro import RobustFusion, Standardised
from dfml.methods.base import Context, Fitted, Snapshot, replace_head, without_statistics


def fit(context: Context) -> Fitted:
    """Train the writer on the pool; the head by the setting ``head``."""
    settings = DroSettings.model_validate(context.options)
    pool, device = context.pool, context.job.device
    models = Standardised([without_statistics(model.network) for model in pool])
    fusion = RobustFusion(models.rows.to(device), settings, torch_generator(context.seed, "dro"))
    timeline = Timeline(device, {"fusion": 0.0})
    history: list[dict[str, float]] = []
    done = 0
    state = context.checkpoint.load()
    if state is not None:
        fusion.load_state(state["fusion"])
        history, done = state["history"], state["done"]
        timeline.seconds["fusion"] = history[-1]["seconds"]
    every = max(1, settings.iterations // 50)
    with context.job.progress.task(context.method, total=settings.iterations, done=done) as bar:
        while done < settings.iterations:
            with timeline.stage("fusion"):
                loss = fusion.step()
            done += 1
            bar.advance(regression=loss)
            if done % every == 0 or done == settings.iterations:
                timeline.settle()
                history.append({"iteration": done, "seconds": timeline.total, "regression": float(loss)})
                # A resume point goes with a row of the history; single steps are too quick for one.
                context.checkpoint.save({"fusion": fusion.state(), "history": history, "done": done})
    fused = models.restore(fusion.fused())
    replace_head(fused, context, settings.head)
    snapshot = Snapshot(done, timeline.total, [fused])
    return Fitted.of_learner(context, [snapshot], history=history, stages=timeline.seconds)
