"""From a learner and a folder of photos to a classifier: ``python examples/use_the_learner.py LEARNER PHOTOS``.

LEARNER is a folder that a run has made, such as results/demo/metalearning/single/free_heads/1shot/seed0. PHOTOS has
one sub-folder of photos per class, two classes or more and some photos of each. The first of each are shown with their
labels, at most five; the others are classified. docs/use_the_learner.md explains every step.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

import dfml

SHOWN = 5


def main(learner_folder: Path, photos: Path) -> None:
    """Adapt, classify, save and reload, export."""
    console = Console(highlight=False)
    classes = {folder.name: sorted(folder.iterdir()) for folder in sorted(photos.iterdir()) if folder.is_dir()}
    learner = dfml.load(learner_folder)
    console.print(f"The learner sees photos at {learner.side} pixels and adapts by {', '.join(learner.rules)}.")

    # Adapt. Labels are the names that answers will have.
    shown = [(path, name) for name, files in classes.items() for path in files[: min(SHOWN, len(files) - 1)]]
    classify = learner.adapt([path for path, _ in shown], [name for _, name in shown])

    # Classify: one photo gives one answer, a list a list.
    others = [(path, name) for name, files in classes.items() for path in files[min(SHOWN, len(files) - 1) :]]
    first = classify(others[0][0])
    console.print(f"{others[0][0].name}, {others[0][1]}: {first.name} with {first.probability:.0%}")
    answers = classify([path for path, _ in others])
    right = sum(answer.name == name for answer, (_, name) in zip(answers, others, strict=True))
    console.print(f"{right} of {len(others)} photos of {len(classes)} classes are answered rightly.")

    # Keep it, and export it for programs that do not have dfml.
    with TemporaryDirectory() as folder:
        classify.save(Path(folder) / "pets.safetensors")
        again = dfml.load_classifier(Path(folder) / "pets.safetensors")
        program = classify.export(Path(folder) / "pets.pt2")
    console.print(
        f"Reloaded, the first answer is {again(others[0][0]).name}; the program has {len(program.state_dict)} tensors."
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).expanduser(), Path(sys.argv[2]).expanduser())
