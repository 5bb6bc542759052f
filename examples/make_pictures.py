"""Plays somebody with pictures: ``python examples/make_pictures.py FOLDER`` writes embedded emoji as PNG files.

FOLDER/images has class folders for a zoo of your own (docs/your_images.md), and FOLDER/pets four classes that are not
among them. Of these FOLDER/photos has five pictures each, to show to a learner, and FOLDER/new one more, to be named
(docs/use_the_learner.md). What is there already stays, and files of the same name are written over.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from dfml.data.sources.embedded import read_embedded

IMAGES = Path(__file__).resolve().parents[1] / "resources" / "embedded"
PETS = ("bird", "cat", "dog", "fish")
SHOWN = 5


def write(folder: Path, pictures: np.ndarray) -> None:
    """Pictures ``[n, 3, side, side]`` as 00.png, 01.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / f"{number:02d}.png")


def main(folder: Path) -> None:
    """Write the folders, and say what is in them."""
    classes = read_embedded("emoji", IMAGES)
    for name, pictures in classes.items():
        if name in PETS:
            write(folder / "pets" / name, pictures)
            write(folder / "photos" / name, pictures[:SHOWN])
            (folder / "new").mkdir(exist_ok=True)
            Image.fromarray(pictures[SHOWN].transpose(1, 2, 0)).save(folder / "new" / f"{name}.png")
        else:
            write(folder / "images" / name, pictures)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{folder / 'images'}: {len(classes) - len(PETS)} classes")
    console.print(f"{folder / 'pets'}: {len(PETS)} others")
    console.print(f"{folder / 'photos'}: {SHOWN} pictures of each of these; {folder / 'new'}: one more of each")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).expanduser().resolve())
