"""`dfml adapt`: from a learner and a folder of labelled photos to a classifier in a file."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console


def run(
    console: Console,
    *,
    learner: Path,
    folder: Path,
    output: Path,
    rule: str | None,
    domain: str | None,
    side: int | None,
) -> int:
    """The command; returns its exit code.

    Raises:
        DfmlError: the learner or a photo cannot be read, or an option does not fit.
    """
    from dfml.use.folders import support_set
    from dfml.use.learner import load

    photos, labels = support_set(folder)
    classifier = load(learner, domain=domain, side=side).adapt(photos, labels, rule=rule)
    classifier.save(output)
    own = classifier.manifest
    console.print(
        f"{output}: {len(own.names)} classes from {len(photos)} photos, by {own.rule}.", markup=False, soft_wrap=True
    )
    return 0
