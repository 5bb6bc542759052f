"""From a folder of images to a configuration: ``python examples/your_images.py IMAGES CONFIG``.

IMAGES has one sub-folder of images per class, or another layout of docs/your_images.md. CONFIG, a YAML file, is
written: the experiment ``mine`` with ways, class split and queries that the images allow. What to run then is printed.
"""

import sys
from pathlib import Path

import yaml
from rich.console import Console

from dfml.config.load import load_config
from dfml.data.listing import find_pictures
from dfml.data.sources.opening import open_store
from dfml.errors import DfmlError

WAYS, SHOTS, QUERIES = 5, 1, 15
EVEN = (0.5, 0.25, 0.25)  # of classes for meta-train, meta-val and meta-test, where there are fewer than FEW
FEW = 30


def settings_for(images: Path) -> dict[str, object]:
    """What the configuration says of these images. Names are looked at, no image is opened."""
    _, layout = find_pictures(open_store(images), "folder")
    if layout.parts:
        sizes = [len(names) for names in layout.parts.values()]
    else:
        sizes = [len(layout.classes) // 4 if len(layout.classes) < FEW else len(layout.classes) * 16 // 100]
    layout.warn()
    smallest, fewest = min(((len(files), name) for name, files in layout.classes.items()), default=(0, ""))
    ways, queries = min(WAYS, *sizes), min(QUERIES, smallest - SHOTS)
    if ways < 2 or queries < 1:
        raise DfmlError(
            f"{images}: {len(layout.classes)} classes, {fewest or 'none'} with the fewest images, {smallest}; at least "
            f"8 classes of {SHOTS + 1} are needed: two for each of meta-val and meta-test, and an image to ask for"
        )
    dataset: dict[str, object] = {"source": "folder", "path": str(images), "side": 32}
    if not layout.parts and len(layout.classes) < FEW:
        dataset["fractions"] = list(EVEN)
    return {
        "experiment": "mine",
        "ways": ways,
        "shots": [SHOTS],
        "datasets": {"mine": dataset},
        "pools": {"single": {"datasets": ["mine"]}},
        "evaluation": {"queries": queries},
        "supervised_maml": {"queries": min(5, queries)},
    }


def main(images: Path, config: Path) -> None:
    """Write the configuration, check it over the default one, and say what to run."""
    console = Console(highlight=False, soft_wrap=True)
    settings = settings_for(images)
    if config.exists():
        raise DfmlError(f"{config} is there already; name another file, or remove it")
    config.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    load_config(["config/config.yaml", config])
    console.print(f"{config}: {settings['ways']}-way {SHOTS}-shot episodes of {images}. Look at it, then run")
    console.print(f"  ./run.sh snakemake -n --configfile {config}    to see what would run, and")
    console.print(f"  ./run.sh snakemake --configfile {config}       to run it.")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]).expanduser().resolve(), Path(sys.argv[2]).expanduser().resolve())
    except (DfmlError, OSError) as error:
        sys.exit(str(error))
