"""Any file on the shelf is cut short: it is found, readers refuse it by name, and it can be made again."""

import os
import re
from pathlib import Path

import pytest
import torch

from dfml.artefacts.accuracies import EpisodeAccuracies
from dfml.artefacts.images import MANIFEST, ImagesManifest
from dfml.artefacts.receipt import Receipt
from dfml.artefacts.record import Record
from dfml.cli.tools import Output
from dfml.cli.verify import ASIDE, examine
from dfml.data.images import load_images
from dfml.errors import DfmlError
from dfml.inversion.bank import ImageBank
from dfml.inversion.five import load_meta_generator
from dfml.inversion.settings import InversionSettings
from dfml.metalearning.store import load_learner
from dfml.results.collect import read_results_csv
from dfml.results.reading import read_inversions, read_speeds, read_zoos
from dfml.zoo.store import load_judges, load_zoo
from faults.experiment import ACCURACIES, EXPERIMENT, INVERT, META_LEARN, RECORD, REPORT, TABLE, TRAIN_ZOO
from support.comparable import digests

pytestmark = pytest.mark.e2e

CPU = torch.device("cpu")
SHELF = Path("results", EXPERIMENT)
# What a power cut may leave of a file: a part of it, or its full length without the data.
DAMAGES = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "all but the last byte": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
}


def damage(path: Path, how: str) -> None:
    """Spoil a file behind everyone's back: its modification time stays."""
    before = path.stat()
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def artefacts() -> list[Path]:
    """Every file that a job made, relative to the folder of the workflow, which is the current one."""
    return sorted(p for p in SHELF.rglob("*") if p.is_file() and p.relative_to(SHELF).parts[0] not in ASIDE)


@pytest.mark.parametrize("how", DAMAGES)
def test_every_file_on_the_shelf_is_found_damaged(experiment, monkeypatch, how):
    monkeypatch.chdir(experiment.folder)
    files = artefacts()
    assert len({path.suffix for path in files}) >= 10
    plan = [Output(path.as_posix(), "", pending=False) for path in files]
    assert examine(plan, SHELF) == []
    for path in files:
        damage(path, how)
    damaged = {finding.path for finding in examine(plan, SHELF) if finding.kind == "damaged"}
    assert damaged == {path.as_posix() for path in files}


@pytest.mark.parametrize("how", sorted(DAMAGES.keys() - {"all but the last byte"}))  # that one is a line break
def test_every_damaged_receipt_is_found(experiment, monkeypatch, how):
    monkeypatch.chdir(experiment.folder)
    receipts = sorted((SHELF / "receipts").rglob("*.json"))
    for path in receipts:
        damage(path, how)
    unreadable = {finding.path for finding in examine([], SHELF) if finding.kind == "unreadable"}
    assert unreadable == {path.as_posix() for path in receipts}


def test_what_a_damaged_receipt_told_of_is_made_again_with_it(experiment, undisturbed):
    receipt = f"results/{EXPERIMENT}/receipts/meta_learn/single/free/1shot/seed0.json"
    damage(experiment.folder / receipt, "half")
    assert f"  {receipt} (" in experiment.dfml("verify").output
    run = experiment.snakemake("--cores", "1", "--force", "--", META_LEARN.target)
    assert (run.status, run.jobs) == (0, {"meta_learn": 1}), run.output
    # Learners hold the seconds that they took, so what was made of this one follows.
    assert experiment.snakemake("--cores", "1").status == 0
    run = experiment.dfml("verify")
    assert run.status == 0, run.output
    assert digests(experiment.results) == undisturbed


def test_verify_names_every_damaged_file(experiment):
    damaged = [
        *("images/icons_colour/meta_test.npz", "zoo/icons_colour/conv4/seed0/judges.safetensors", "report.html"),
        *("inversion/single/five/seed0/grid.png", "tables/main.tex", "figures/main.svg", "results.csv"),
        "metalearning/single/random/1shot/seed0/history.csv",
    ]
    for name in damaged:
        damage(experiment.results / name, "half")
    run = experiment.dfml("verify")
    assert run.status == 1, run.output
    assert f"{len(damaged)} damaged: delete the file and ask Snakemake for it by its path" in run.output
    for name in damaged:
        assert f"  results/{EXPERIMENT}/{name} (" in run.output


def generator(path: Path):
    """Read a generator as the smoke configuration has it."""
    settings = InversionSettings(latent=32, width=8)
    return len(load_meta_generator(path.parent, settings, 32, CPU, goes_on=True).network.state_dict())


def learner(path: Path):
    """Read a learner's weights and manifest."""
    manifest, learners = load_learner(path.parent, steps=1, learning_rate=0.1, device=CPU)
    return manifest, len(learners)


READERS = {
    "images/icons_colour/meta_train.npz": load_images,
    "images/icons_colour/images.json": lambda path: ImagesManifest.load(path.parent / MANIFEST),
    f"{TRAIN_ZOO.place}/zoo.safetensors": lambda path: load_zoo(path.parent, CPU)[0],
    f"{TRAIN_ZOO.place}/judges.safetensors": lambda path: load_judges(path.parent, CPU)[0],
    f"{TRAIN_ZOO.place}/zoo.json": lambda path: read_zoos([path]),
    f"{INVERT.place}/generator.safetensors": generator,
    f"{INVERT.place}/bank.npz": lambda path: ImageBank.load(path, CPU).images,
    f"{INVERT.place}/inversion.json": lambda path: read_inversions([path]),
    "inversion/single/speed.json": lambda path: read_speeds([path]),
    f"{META_LEARN.place}/learner.safetensors": learner,
    f"{META_LEARN.place}/learner.json": learner,
    RECORD.removeprefix(f"{SHELF.as_posix()}/"): Record.load,
    ACCURACIES.removeprefix(f"{SHELF.as_posix()}/"): lambda path: EpisodeAccuracies.load(path).answers,
    "results.csv": lambda path: read_results_csv(path).to_csv(),
    "receipts/make_results.json": Receipt.load,
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_of_a_damaged_file_names_it_in_one_line(experiment, name):
    path, read = experiment.results / name, READERS[name]
    whole, content = read(path), path.read_bytes()
    for how in DAMAGES:
        damage(path, how)
        try:
            found = read(path)
        except DfmlError as error:
            assert str(path) in str(error), how
            assert "\n" not in str(error), how
        else:
            assert how == "all but the last byte"  # a line break, without which nothing is lost
            assert found == whole
        path.write_bytes(content)


def test_jobs_that_need_a_damaged_file_name_it_and_without_it_all_is_made_again(experiment, undisturbed):
    generator, bank = (f"{INVERT.outputs}/{name}" for name in ("generator.safetensors", "bank.npz"))
    random = f"results/{EXPERIMENT}/metalearning/single/random/1shot/seed0/learner.safetensors"
    for path in (generator, bank, random):
        # Its new modification time makes Snakemake run what depends on it.
        os.truncate(experiment.folder / path, (experiment.folder / path).stat().st_size // 2)
    failed = experiment.snakemake("--cores", "1", "--keep-going")
    assert failed.status != 0
    for rule, path in (("time_inversion", generator), ("meta_learn", generator), ("evaluate", random)):
        assert re.search(rf"^{rule}: .*{path}", failed.output, re.MULTILINE), failed.output
    assert "Traceback" not in failed.output

    experiment.delete(generator, bank, random, TABLE, REPORT)
    whole = experiment.snakemake("--cores", "2")
    assert whole.status == 0, whole.output
    assert whole.jobs["train_zoo"] == whole.jobs["prepare_images"] == 0
    assert digests(experiment.results) == undisturbed
