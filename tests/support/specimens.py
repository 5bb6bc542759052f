"""A small valid one of every artefact on the shelf, by the project's own writers; of each there are two."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from dfml.artefacts.accuracies import ACCURACIES, EpisodeAccuracies
from dfml.artefacts.inversion import BANK
from dfml.artefacts.provenance import Provenance
from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.seeds import torch_generator
from dfml.data.images import SPLITS, save_images
from dfml.files.atomic import write_json
from dfml.inversion.bank import ImageBank
from dfml.inversion.five import MetaGenerator
from dfml.jobs import provenance as receipt
from dfml.jobs.checkpoint import Checkpoint
from dfml.results.collect import collect_records
from support import manifests, results
from support.cells import INVERSION
from support.inversion import recovered
from support.lab import model, module, taken, write_card, write_networks
from support.learners import save_learner
from support.pictures import class_files, encoded, photo, pickled_cifar, write_files, write_tar, write_zip
from support.use import SPEC, shelf_learner
from support.zoo import CPU, SIDE, pattern_images, random_model, random_network, write_random_zoo

NAMES = ("ant", "bee", "cat", "dog")


def write_zoo(folder: Path, which: int) -> None:
    """Two models and a judge."""
    write_random_zoo(folder, models=2, judges=1, classes=4 + which, seed=which)


def write_foreign(folder: Path, which: int) -> None:
    """What a lab hands over: a card, and the same weights as safetensors and as torch writes them."""
    write_networks(folder)
    network = module("own", 5, seed=which)
    entry = model(folder, "own", network, "nets.py:own", options={"outputs": 5}, classes=list(map(str, range(5))))
    torch.save({"state_dict": network.state_dict()}, folder / "own.pt")
    write_card(folder, [entry, entry | {"name": "again", "weights": "own.pt"}], origin=f"lab {which}")


def write_imported(folder: Path, which: int) -> None:
    """The same after it was imported, beside the card."""
    write_foreign(folder, which)
    taken(folder / "card.yaml", folder)


def edit_json(path: Path, **changes: Any) -> None:
    """Change entries of a JSON file, however wrong."""
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def write_learner(folder: Path, which: int) -> None:
    """A learner with two kept iterates."""
    spec = NetworkSpec(family="conv4", width=4, ways=3, side=SIDE)
    states = []
    for seed in range(2):
        named = random_network(spec, 10 * which + seed).named_parameters()
        states.append([{name: p.detach() for name, p in named}])
    domains = {"toy": {"mean": [0.4] * 3, "std": [0.2] * 3}}
    save_learner(folder, states, ways=3, seed=which, encoders=[spec], domains=domains)


def write_classifier(folder: Path, which: int) -> None:
    """A learner adapted to a user's classes: one fine-tuned, one of two networks by centroids."""
    from dfml.use.learner import load

    specs = [SPEC | {"width": width} for width in (4, 2)][: which + 1]
    learner = load(shelf_learner(folder / "learner", *specs, finetune=not which))
    images = torch.rand(4, 3, SIDE, SIDE, generator=torch_generator(which))
    learner.adapt(images, [*"abba"]).save(folder / "pets.safetensors")
    shutil.rmtree(folder / "learner")


def write_bank(folder: Path, which: int) -> None:
    """A bank of a few images."""
    bank = ImageBank(4 + which, slots=3, images_per_class=2, side=SIDE, device=CPU)
    for seed in range(2):
        images = torch.rand(6, 3, SIDE, SIDE, generator=torch_generator(seed + 2 * which))
        bank.add(recovered(random_model(seed=seed, dtype=torch.float32), images))
    bank.save(folder / BANK)


def write_generator(folder: Path, which: int) -> None:
    """A generator with the moments of its outer optimiser."""
    from dfml.inversion.inner_steps import draw_generator

    drawn = draw_generator(INVERSION, SIDE, torch_generator(which, "generator"), law="default")
    MetaGenerator(drawn, INVERSION.five).save(folder)


def write_images(folder: Path, which: int) -> None:
    """Prepared images."""
    splits = {s: pattern_images(classes=2 + which, per_class=2, split=s, side=4, seed=which) for s in SPLITS}
    save_images(folder, splits, source="folder")


def write_class_folders(folder: Path, which: int) -> None:
    """A user's folder with a picture in every format."""
    rng = np.random.default_rng(which)
    for name, mode in (("ant/a.png", "RGB"), ("bee/b.png", "RGBA"), ("bee/c.jpg", "RGB"), ("bee/d.gif", "P")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (12, 12, 4), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
    for name, options in (("bee/e.tif", {"compression": "tiff_lzw"}), ("bee/f.webp", {}), ("bee/g.bmp", {})):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(folder / name, **options)


def write_picture_archives(folder: Path, which: int) -> None:
    """The same pictures in archives of three kinds."""
    files = class_files({"ant": 2, "bee": 1 + which}, below="im/", first=10 * which)
    write_zip(folder / "a.zip", files)
    write_tar(folder / "b.tar", files)
    write_tar(folder / "c.tar.gz", files)


def write_pickled_cifar(folder: Path, which: int) -> None:
    """CIFAR-100 of a few images, as its authors give it."""
    write_files(folder, pickled_cifar(classes=2 + which, images=3))


def write_listed_pictures(folder: Path, which: int) -> None:
    """Pictures in one folder, and a list for each part."""
    names = NAMES[:3] if which == 0 else NAMES[1:]
    for number, (part, name) in enumerate(zip(("train", "val", "test"), names, strict=True)):
        file = f"images/{part}{which}.png"
        write_files(folder, {file: encoded(photo(number)), f"{part}.csv": f"filename,label\n{file},{name}\n".encode()})


def write_split(folder: Path, which: int) -> None:
    """A class split."""
    lists = {"meta_train": NAMES[:2], "meta_val": NAMES[2:3], "meta_test": NAMES[3:]}
    write_json(folder / "split.json", {"format": "dfml.split", "version": 1, "dataset": f"toy{which}", **lists})


def write_receipt(folder: Path, which: int) -> None:
    """A receipt of one file."""
    (folder / "made.txt").write_text(str(which))
    inputs = {"a/b.json": "0" * 64, str(folder / "made.txt"): "1" * 64}
    told = Provenance(**manifests.provenance(command="snakemake", inputs=inputs))
    receipt.write_receipt(folder / "receipt.json", told, [str(folder / "made.txt")])


def write_checkpoint(folder: Path, which: int) -> None:
    """A resume file."""
    state = {
        "networks": [{"weight": torch.rand(3, 4, generator=torch_generator(which))}],
        "draws": torch_generator(which).get_state()[:64].clone(),
        "history": [0.5, 0.25 * which],
        "done": 3,
    }
    Checkpoint(folder / "resume.pt", "abc").save(state)


def write_config(folder: Path, which: int) -> None:
    """A configuration."""
    settings = {
        "experiment": f"mine{which}",
        "seeds": [0, 1],
        "ways": 5,
        "zoo": {"models": 3, "epochs": 2, "conv4": {"learning_rate": 0.05}},
        "datasets": {"mine": {"source": "folder", "path": "pictures", "side": 32}},
        "pools": {"single": {"datasets": ["mine"], "networks": ["conv4"]}},
        "methods": ["random", "best"],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))


def write_accuracies(folder: Path, which: int) -> None:
    """Right answers of four episodes under two rules."""
    right = {("toy", rule, "support"): np.arange(4 + which) for rule in results.RULES[:2]}
    EpisodeAccuracies(75, right).save(folder / ACCURACIES)


def write_results(folder: Path, which: int) -> None:
    """Records, and the table of them."""
    made = [
        results.write_record(folder, seed=seed, method="free", inference_macs=None if seed else 11_000)
        for seed in range(2 + which)
    ]
    collect_records(made, folder / "results.csv")


def record(seed: int) -> dict:
    """A record with a learning curve."""
    return manifests.record(seed=seed, curve=results.curve("free", seed, points=2))
