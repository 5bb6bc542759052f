"""`dfml zoo`: import classifiers that were trained elsewhere, and see what a zoo holds."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dfml.artefacts.imported_zoo import FeatureLayer, ImportedZooManifest, load_any_zoo
from dfml.artefacts.zoo import MANIFEST, ZooManifest
from dfml.errors import DfmlError, some
from dfml.jobs.progress import make_progress


def import_card(console: Console, card: Path, *, output: Path | None) -> int:
    """Check every model of a card as the workflow will, and say what was found.

    Args:
        console: where the table goes.
        card: the YAML file.
        output: a folder to keep the zoo in; the workflow makes its own copy.

    Raises:
        DfmlError: the card is wrong, a model is not what it says, or the folder holds another zoo.
    """
    from dfml.jobs.job import Job
    from dfml.zoo.imported.store import import_zoo

    if output and (output / MANIFEST).exists():
        kept = load_any_zoo(output / MANIFEST)
        if not isinstance(kept, ImportedZooManifest) or Path(kept.card).resolve() != card.resolve():
            raise DfmlError(f"{output} holds another zoo, which would be lost; name another folder")
    job = Job("import_zoo", threads=1, gpu=0, progress=make_progress())
    with TemporaryDirectory() as nowhere:
        manifest = import_zoo(card, output or Path(nowhere), name=card.stem, job=job)
    _print_imported(console, manifest)
    return 0


def show(console: Console, folder: Path) -> int:
    """Say which models a zoo on the shelf holds, trained here or imported; runs no code of theirs.

    Raises:
        FileFormatError: there is no zoo, or it is damaged.
    """
    zoo = load_any_zoo(folder / MANIFEST)
    if isinstance(zoo, ImportedZooManifest):
        _print_imported(console, zoo)
    else:
        console.print(_of_trained(zoo))
    return 0


def _print_imported(console: Console, manifest: ImportedZooManifest) -> None:
    """The table of its models, and how each of them has its pixels."""
    console.print(_of_imported(manifest))
    alike: dict[tuple[str, str], list[str]] = {}
    for model in manifest.models:
        mean, std = (" ".join(f"{value:.3g}" for value in values) for values in (model.mean, model.std))
        alike.setdefault((mean, std), []).append(model.name)
    for (mean, std), names in alike.items():
        console.print(f"pixels of 0 to 1, less {mean}, by {std}: {escape(some(names))}", soft_wrap=True)


def _of_imported(manifest: ImportedZooManifest) -> Table:
    table = _table(
        f"{manifest.name}: {len(manifest.models)} models, {len(manifest.class_names)} classes, card {manifest.card}",
        ("model", "kind", "takes", "answers", "classes", "weights", "norms", "features", "own %"),
        text=4,
    )
    for model in manifest.models:
        module = model.kind == "module"  # nothing is known of what is inside a program or a service
        table.add_row(
            escape(model.name),
            model.kind,
            f"{model.side} {model.channels}",
            model.outputs,
            str(len(model.classes)),
            f"{model.parameters / 1e6:.2f} M" if module else "n/a",
            str(model.norms) if module else "n/a",
            _features(model.features),
            "not told" if model.accuracy is None else f"{model.accuracy:.1f}",
        )
    return table


def _features(features: FeatureLayer | None) -> str:
    if features is None:
        return "n/a"
    return escape(f"{features.size}, {features.of} of {features.layer or 'all'}")


def _of_trained(manifest: ZooManifest) -> Table:
    table = _table(
        f"{manifest.dataset}, {manifest.architecture}, seed {manifest.seed}: {len(manifest.models)} models at "
        f"{manifest.side} pixels",
        ("model", "classes", "own %"),
        text=2,
    )
    for model in manifest.models:
        names = ", ".join(manifest.class_names[label] for label in model.classes)
        table.add_row(str(model.index), escape(names), f"{model.accuracy:.1f}")
    return table


def _table(title: str, headings: tuple[str, ...], *, text: int) -> Table:
    """A table whose first ``text`` columns are words, and the others numbers."""
    table = Table(title=escape(title))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < text else "right", overflow="fold", no_wrap=place == 0)
    return table
