"""`dfml evaluate`: how well a learner tells the classes of a folder apart, on episodes drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from dfml.errors import DfmlError
from dfml.jobs.progress import make_progress


def run(
    console: Console,
    *,
    learner: Path,
    folder: Path,
    ways: int | None,
    shots: int | None,
    domain: str | None,
    side: int | None,
    changes: Mapping[str, Any],
) -> int:
    """The command: a table of accuracies with 95 % intervals by rule and batch-norm mode.

    Args:
        console: where the table goes.
        learner, folder, domain, side: as the command line names them.
        ways, shots: of an episode; None for those that the learner was made for.
        changes: settings of the evaluation other than those that the learner was evaluated with; None for no change.

    Raises:
        DfmlError: the learner or a photo cannot be read, or there are too few of them.
    """
    from dfml.use.folders import evaluate_folder
    from dfml.use.learner import load

    own = load(learner, domain=domain, side=side)
    told = own.settings.model_dump() | {name: value for name, value in changes.items() if value is not None}
    try:
        settings = type(own.settings).model_validate(told)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False)
        key = str(first["loc"][0])
        raise DfmlError(f"--{'seed' if key == 'episode_seed' else key}: {first['msg']}") from None
    ways, shots = ways or own.manifest.ways, shots or own.manifest.shots
    with make_progress().task("episodes", total=settings.episodes) as bar:
        found = evaluate_folder(own, folder, ways=ways, shots=shots, settings=settings, progress=bar)
    table = Table(
        title=f"{ways}-way {shots}-shot, {settings.queries} queries per class, {settings.episodes} episodes, seed "
        f"{settings.episode_seed}"
    )
    for heading in ("rule", "batch norm", "accuracy, %", "± 95 %"):
        table.add_column(heading, justify="left" if heading in ("rule", "batch norm") else "right")
    for one in found:
        table.add_row(one.rule, one.batch_norm, f"{one.accuracy:.2f}", f"{one.ci95:.2f}")
    console.print(table)
    return 0
