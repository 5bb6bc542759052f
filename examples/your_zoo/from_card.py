"""From a card to a configuration: ``python examples/your_zoo/from_card.py CARD CONFIG [IMAGES]``.

CARD describes your models (docs/your_zoo.md). CONFIG, a YAML file, is written: the experiment ``lab`` with the learners
that these models can teach. They are measured on IMAGES, labelled ones of other classes in one sub-folder for each, or
without it on embedded drawings. What to run then is printed. Nothing that the card names is run by this.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from dfml.config.load import load_config
from dfml.data.listing import find_pictures
from dfml.data.sources.opening import open_store
from dfml.errors import DfmlError
from dfml.zoo.imported.card import ZooCard, read_card

WAYS, SHOTS, QUERIES = 5, 1, 15
TOGETHER = 5  # models whose features stand side by side as one reference


def rows_of(card: ZooCard) -> list[str]:
    """The methods that these models have what it takes for."""
    if card.answers_only:  # all of them, so that no image can be recovered
        return ["random", "procedural_heads"]
    features = ["zoo_features", "zoo_ensemble"][: with_features(card)]
    return ["random", *features, "procedural_heads", "mixed_heads"]


def with_features(card: ZooCard) -> int:
    """How many models give features."""
    return sum(model.gives_features for model in card.models)


def measured_on(images: Path | None) -> dict[str, object]:
    """What the configuration says of the images for measuring. Names are looked at, no image is opened."""
    if images is None:
        return {}
    _, layout = find_pictures(open_store(images), "folder")
    smallest = min((len(files) for files in layout.classes.values()), default=0)
    ways, queries = min(WAYS, len(layout.classes)), min(QUERIES, smallest - SHOTS)
    if ways < 2 or queries < 1:
        raise DfmlError(
            f"{images}: {len(layout.classes)} classes of {smallest} images or more; at least 2 classes of "
            f"{SHOTS + 1} are needed, an image to show and one to ask for"
        )
    return {
        "ways": ways,
        "datasets": {"mine": {"source": "folder", "path": str(images), "side": 32, "fractions": [0, 0, 1]}},
        "evaluation": {"queries": queries},
    }


def settings_for(card_file: Path, images: Path | None) -> dict[str, Any]:
    """The whole configuration."""
    card = read_card(card_file)
    pool: dict[str, object] = {"datasets": [], "zoos": ["lab"], "evaluate": ["mine" if images else "icons_colour"]}
    # All of it is slower than the default experiment, and better on a zoo of few models (docs/your_zoo.md).
    heads: dict[str, object] = {"questions": 24000, "steps": 6000, "temperature": 2.0}
    if card.answers_only:
        pool["access"] = "logits"
        how: dict[str, object] = {"procedural_heads": heads | {"start": "random"}}
    else:
        how = {row: heads | {"statistics": "batch"} for row in ("procedural_heads", "mixed_heads")}
        how |= {"inversion": {"five": {"steps": 30, "bn_weight": 0.0}}}
    if with_features(card) > 1:
        how |= {"zoo_ensemble": {"models": min(TOGETHER, with_features(card))}}
    return {
        "experiment": "lab",
        "shots": [SHOTS],
        **measured_on(images),
        "zoos": {"lab": {"card": str(card_file)}},
        "pools": {"single": {"methods": []}, "lab": pool},
        "methods": rows_of(card),
        **how,
    }


def main(card: Path, config: Path, images: Path | None) -> None:
    """Write the configuration, check it over the default one, and say what to run."""
    console = Console(highlight=False, soft_wrap=True)
    settings = settings_for(card, images)
    if config.exists():
        raise DfmlError(f"{config} is there already; name another file, or remove it")
    config.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    load_config(["config/config.yaml", config])
    learner = f"results/lab/metalearning/lab/{settings['methods'][-1]}/{SHOTS}shot/seed0"
    console.print(f"{config}: learners of {card}. Look at it, then run")
    console.print(f"  ./run.sh dfml zoo import {card}    to have each model tried,")
    console.print(f"  ./run.sh snakemake --configfile {config} --config 'seeds=[0]'    to make the learners, and")
    console.print(f"  ./run.sh dfml adapt {learner} PHOTOS -o classifier.safetensors    to show one of them photos.")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        card_file, config_file, *folders = (Path(word).expanduser().resolve() for word in sys.argv[1:])
        main(card_file, config_file, folders[0] if folders else None)
    except (DfmlError, OSError) as error:
        sys.exit(str(error))
