"""The disk is full: one line says so, what was there is kept, and with room again the same command goes on."""

import re
import shutil

import pandas as pd
import pytest
import torch

from dfml.data.images import ClassImages, save_images
from dfml.errors import DfmlError
from dfml.files.atomic import write_json
from dfml.inversion.bank import ImageBank
from dfml.inversion.quality import save_grid
from dfml.jobs.checkpoint import Checkpoint
from dfml.results.collect import RESULT_COLUMNS, write_results_csv
from dfml.results.figures.style import empty_figure, save_figure
from dfml.zoo.store import save_weights
from faults.experiment import META_LEARN, TRAIN_ZOO
from support.comparable import digests
from support.disk import small_disk

pytestmark = pytest.mark.e2e

PAGE = 4096


@pytest.fixture
def disk(tmp_path):
    """Room for all results of the experiment, and some more."""
    with small_disk(tmp_path / "disk", 64 * 2**20) as disk:
        if disk is None:
            pytest.skip("neither mounting nor a namespace of one's own is permitted here")
        yield disk


def images(folder, value):
    splits = {}
    for split in ("meta_train", "meta_val", "meta_test"):
        pixels = [torch.full((20, 3, 16, 16), value, dtype=torch.uint8)]
        splits[split] = ClassImages(dataset="a", split=split, names=("b",), images=pixels, licence="c")
    save_images(folder, splits, source="folder")


def bank(folder, value):
    own = ImageBank(4, slots=2, images_per_class=4, side=16, device=torch.device("cpu"))
    own.pixels.fill_(value)
    own.save(folder / "bank.npz")


def results(folder, value):
    frame = pd.DataFrame({column: [value] * 200 for column in RESULT_COLUMNS})
    write_results_csv(frame, folder / "results.csv")


def weights(value):
    return {"weight": torch.full((64, 64), float(value))}


# Every kind of file that is written, each larger than a page.
WRITERS = {
    "images": images,
    "weights": lambda folder, value: save_weights(folder / "zoo.safetensors", [weights(value)]),
    "bank": bank,
    "picture": lambda folder, value: save_grid(torch.rand(9, 3, 32, 32) * value, folder / "grid.png", columns=3),
    "json": lambda folder, value: write_json(folder / "record.json", {"values": [value] * 2000}),
    "csv": results,
    "figure": lambda folder, value: save_figure(empty_figure(f"{value} " * 20), "main", folder),
    "resume file": lambda folder, value: Checkpoint(folder / "resume.pt", "digest").save(weights(value)),
}


@pytest.mark.parametrize("room", [0, PAGE])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_that_does_not_fit_leaves_the_old_one_and_one_line(disk, kind, room):
    WRITERS[kind](disk.folder, 1)
    before = {path.name: path.read_bytes() for path in disk.folder.iterdir()}
    disk.leave(room)
    with pytest.raises(DfmlError, match=r"the disk is full: could not write .*free some space") as caught:
        WRITERS[kind](disk.folder, 2)
    assert "\n" not in str(caught.value)
    disk.clear()
    assert {path.name: path.read_bytes() for path in disk.folder.iterdir()} == before


def on(disk, experiment) -> None:
    """Move the experiment's results to the disk."""
    shutil.copytree(experiment.results, disk.folder / "results", copy_function=shutil.copy2)
    shutil.rmtree(experiment.results)
    experiment.results.symlink_to(disk.folder / "results")


@pytest.mark.parametrize(
    ("stage", "room"),
    [
        # For the first states of the zoo, which grow with every model, but not for all of them.
        pytest.param(TRAIN_ZOO, 150_000, id="after some resume points"),
        pytest.param(META_LEARN, PAGE, id="before the first resume point"),
    ],
)
def test_a_job_that_fills_the_disk_goes_on_when_there_is_room(disk, experiment, undisturbed, stage, room):
    experiment.forget(stage)
    on(disk, experiment)
    before = digests(experiment.results)
    goal = ("--cores", "1", "--", stage.target)
    disk.leave(room)
    failed = experiment.snakemake(*goal)
    assert failed.status != 0
    # Models of a zoo that are done have a file of their own each.
    written = re.escape(stage.resume).replace(r"\.pt", r"(\.model\d+)?\.pt")
    assert re.search(rf"^{stage.rule}: the disk is full: could not write {written} ", failed.output, re.MULTILINE)
    assert "Traceback" not in failed.output
    disk.clear()
    assert digests(experiment.results) == before
    assert experiment.partial_files() == []
    begun = (experiment.folder / stage.resume).exists()
    assert begun == (stage is TRAIN_ZOO)

    again = experiment.snakemake(*goal)
    assert again.status == 0, again.output
    assert ("continuing from" in (experiment.folder / stage.log).read_text(encoding="utf-8")) == begun
    assert digests(experiment.results) == undisturbed
