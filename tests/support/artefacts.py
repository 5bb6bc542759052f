"""Every artefact on the shelf: how the package reads it, and how it is damaged."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from dfml.artefacts.accuracies import ACCURACIES, EpisodeAccuracies
from dfml.artefacts.images import MANIFEST as IMAGES
from dfml.artefacts.images import ImagesManifest
from dfml.artefacts.inversion import BANK
from dfml.artefacts.learner import MANIFEST as LEARNER
from dfml.artefacts.learner import WEIGHTS as LEARNER_WEIGHTS
from dfml.artefacts.learner import LearnerManifest
from dfml.artefacts.metrics import Metrics
from dfml.artefacts.receipt import Receipt
from dfml.artefacts.record import Record
from dfml.artefacts.zoo import JUDGES, MANIFEST, WEIGHTS
from dfml.config.load import load_config
from dfml.data.images import load_images
from dfml.data.listing import find_pictures
from dfml.data.packing import pack
from dfml.data.sources.opening import open_store
from dfml.data.splits import read_split
from dfml.errors import DfmlError
from dfml.files.atomic import write_json
from dfml.files.tensors import digest_tensors, read_metadata
from dfml.inversion.bank import ImageBank
from dfml.inversion.five import GENERATOR, load_meta_generator
from dfml.jobs.checkpoint import Checkpoint
from dfml.metalearning.store import load_learner
from dfml.results.collect import read_results_csv
from dfml.results.reading import read_inversions, read_speeds, read_zoos
from dfml.use.classifier import KEY, load_classifier
from dfml.zoo.pool import Pool
from dfml.zoo.store import load_judges
from support import manifests
from support.cells import INVERSION
from support.containers import change_metadata, change_png, change_tensors
from support.damage import BLIND_AND_ARCHIVE, BLIND_AND_JSON, BLIND_AND_TENSORS, BLIND_AND_TEXT, all_of, mend
from support.foreign import IMPORTS
from support.fuzzing import Artefact
from support.mutations import change_bytes
from support.specimens import (
    NAMES,
    record,
    write_accuracies,
    write_bank,
    write_checkpoint,
    write_class_folders,
    write_classifier,
    write_config,
    write_generator,
    write_images,
    write_learner,
    write_listed_pictures,
    write_pickled_cifar,
    write_picture_archives,
    write_receipt,
    write_results,
    write_split,
    write_zoo,
)
from support.zoo import CPU, SIDE


def _mend_zoo(folder: Path) -> None:
    mend(folder / MANIFEST, weights_sha256=folder / WEIGHTS, judges_sha256=folder / JUDGES)


def _mend_learner(folder: Path) -> None:
    mend(folder / LEARNER, weights_sha256=folder / LEARNER_WEIGHTS)


def _mend_classifier(folder: Path) -> None:
    """Put the digest of the tensors into the metadata, if both can still be read."""
    path = folder / "pets.safetensors"
    content = path.read_bytes()
    try:
        told = read_metadata(path, KEY, remedy="")["tensors_sha256"]
        digest = digest_tensors(load_file(path))
        if len(told) == len(digest):
            path.write_bytes(content.replace(told.encode(), digest.encode()))
    except (DfmlError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, UnicodeEncodeError):
        return


def _read_learner(folder: Path) -> None:
    load_learner(folder, steps=1, learning_rate=0.1, device=CPU)


def _read_pictures(path: Path, source: str = "folder") -> None:
    store, layout = find_pictures(open_store(path), source)
    pack(store, layout.classes, side=16)


def _read_checkpoint(folder: Path) -> None:
    """A resume file is never refused: where it is of no use, there is nothing to continue from."""
    if Checkpoint(folder / "resume.pt", "abc").load() is None:
        raise DfmlError("starts afresh")


def _json(name: str, contents: tuple[dict, dict], read, share: int) -> Artefact:
    return Artefact(
        name,
        lambda folder, which: write_json(folder / f"{name}.json", contents[which]),
        lambda folder: read([folder / f"{name}.json"]),
        {f"{name}.json": BLIND_AND_JSON},
        share=share,
    )


ARTEFACTS = (
    Artefact(
        "zoo",
        write_zoo,
        all_of(lambda f: Pool.load([f], label_space="global", device=CPU), lambda f: load_judges(f, CPU)),
        {MANIFEST: BLIND_AND_JSON, WEIGHTS: BLIND_AND_TENSORS, JUDGES: BLIND_AND_TENSORS},
        _mend_zoo,
        (MANIFEST,),
        share=20,
    ),
    Artefact(
        "zoo_manifest",
        write_zoo,
        lambda folder: read_zoos([folder / MANIFEST]),
        {MANIFEST: BLIND_AND_JSON},
        share=60,
    ),
    *IMPORTS,  # what comes with a zoo from elsewhere
    Artefact(
        "learner",
        write_learner,
        _read_learner,
        {LEARNER: BLIND_AND_JSON, LEARNER_WEIGHTS: BLIND_AND_TENSORS},
        _mend_learner,
        (LEARNER,),
        share=30,
    ),
    Artefact(
        "learner_manifest",
        write_learner,
        lambda folder: LearnerManifest.load(folder / LEARNER),
        {LEARNER: BLIND_AND_JSON},
        share=90,
    ),
    Artefact(
        "classifier",
        write_classifier,
        lambda folder: load_classifier(folder / "pets.safetensors"),
        {"pets.safetensors": (change_bytes, change_tensors, change_tensors, change_metadata)},
        _mend_classifier,
        ("pets.safetensors",),
        share=30,
    ),
    Artefact("bank", write_bank, lambda f: ImageBank.load(f / BANK, CPU), {BANK: BLIND_AND_ARCHIVE}, share=40),
    Artefact(
        "generator",
        write_generator,
        lambda folder: load_meta_generator(folder, INVERSION, SIDE, CPU, goes_on=True),
        {GENERATOR: BLIND_AND_TENSORS},
        share=25,
    ),
    Artefact(
        "accuracies",
        write_accuracies,
        lambda folder: EpisodeAccuracies.load(folder / ACCURACIES),
        {ACCURACIES: BLIND_AND_ARCHIVE},
        share=40,
    ),
    Artefact(
        "images_manifest",
        write_images,
        lambda f: ImagesManifest.load(f / IMAGES).check_enough(minimum_classes=2, minimum_images=2),
        {IMAGES: BLIND_AND_JSON},
        share=60,
    ),
    Artefact(
        "images",
        write_images,
        lambda folder: load_images(folder / "meta_test.npz"),
        {"meta_test.npz": BLIND_AND_ARCHIVE},
        share=40,
    ),
    Artefact(
        "split", write_split, lambda f: read_split(f / "split.json", NAMES), {"split.json": BLIND_AND_JSON}, share=120
    ),
    _json("inversion", (manifests.inversion(), manifests.inversion(seed=1)), read_inversions, share=110),
    _json("speed", (manifests.speed(), manifests.speed(pool="other")), read_speeds, share=110),
    _json("record", (record(0), record(1)), lambda paths: Record.load(paths[0]), share=130),
    _json(
        "metrics", (manifests.metrics(), manifests.metrics(domains={})), lambda paths: Metrics.load(paths[0]), share=40
    ),
    Artefact(
        "receipt",
        write_receipt,
        lambda f: Receipt.load(f / "receipt.json"),
        {"receipt.json": BLIND_AND_JSON},
        share=110,
    ),
    Artefact(
        "resume",
        write_checkpoint,
        _read_checkpoint,
        {"resume.pt": BLIND_AND_ARCHIVE},
        share=25,
    ),
    Artefact(
        "config",
        write_config,
        lambda f: load_config([f / "config.yaml"]),
        {"config.yaml": BLIND_AND_TEXT},
        share=10,
    ),
    Artefact(
        "results",
        write_results,
        lambda f: read_results_csv(f / "results.csv"),
        {"results.csv": BLIND_AND_TEXT},
        share=20,
    ),
    Artefact(
        "class_folders",
        write_class_folders,
        _read_pictures,
        {
            "ant/a.png": (change_bytes, change_png, change_png, change_png),
            **{f"bee/{name}": (change_bytes,) for name in ("c.jpg", "d.gif", "e.tif", "f.webp", "g.bmp")},
        },
        share=25,
    ),
    Artefact(
        "picture_archives",
        write_picture_archives,
        all_of(
            lambda folder: _read_pictures(folder / "a.zip"),
            lambda folder: _read_pictures(folder / "b.tar"),
            lambda folder: _read_pictures(folder / "c.tar.gz"),
        ),
        {"a.zip": BLIND_AND_ARCHIVE, "b.tar": (change_bytes,), "c.tar.gz": (change_bytes,)},
        share=40,
    ),
    Artefact(
        "pickled_cifar",
        write_pickled_cifar,
        lambda folder: _read_pictures(folder, "cifar_fs"),
        dict.fromkeys(("meta", "train", "test"), (change_bytes,)),
        share=40,
    ),
    Artefact(
        "listed_pictures",
        write_listed_pictures,
        all_of(_read_pictures, lambda folder: read_split(folder, NAMES)),
        {f"{part}.csv": BLIND_AND_TEXT for part in ("train", "val", "test")},
        share=30,
    ),
)
