"""What is wrong is said before anything runs, in words that name the key or folder."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dfml.config.load import load_config
from dfml.data.images import SPLITS, ClassImages, save_images
from dfml.files.reading import sha256_file
from support import manifests
from support.pictures import class_files, write_files


def test_misspelt_keys_are_named_before_the_dag(fresh):
    wrong = fresh.snakemake("-n", "--config", "zoo={modles: 3}", "evaluation={episodes: many}", "seedz=[0]")
    assert wrong.status == 1
    assert "zoo.modles" in wrong.output
    assert "zoo.models" in wrong.output  # the key that was meant
    assert "evaluation.episodes" in wrong.output
    assert "seedz" in wrong.output
    assert "Building DAG" not in wrong.output
    assert "Traceback" not in wrong.output
    assert "Snakefile" not in wrong.output


TWICE = "mine.yaml, line {}: `{}` is given twice, first in line {}; keep one of them"


@pytest.mark.parametrize(
    ("text", "arguments", "lines"),
    [
        pytest.param(
            "experiment: mine\nseeds: [0, 1, 2]\nzoo: {models: 30}\nseeds: [0]\nzoo: {models: 10}\n",
            ["mine.yaml"],
            [TWICE.format(4, "seeds", 2), TWICE.format(5, "zoo", 3)],
            id="top level",
        ),
        pytest.param(
            "zoo:\n  conv4:\n    learning_rate: 0.1\n    learning_rate: 0.2\n",
            ["config/smoke.yaml", "mine.yaml"],
            [TWICE.format(4, "zoo.conv4.learning_rate", 3)],
            id="deep, in the second file",
        ),
        pytest.param(
            "pools: {single: {methods: [random], methods: null}}\n",
            ["{folder}/mine.yaml", "config/smoke.yaml"],
            [TWICE.format(1, "pools.single.methods", 1)],
            id="flow mapping, absolute path",
        ),
    ],
)
def test_a_key_given_twice_in_a_file_of_the_command_line_is_refused(fresh, text, arguments, lines):
    (fresh.folder / "mine.yaml").write_text(text, encoding="utf-8")
    wrong = fresh.snakemake("-n", "--configfile", *(argument.format(folder=fresh.folder) for argument in arguments))
    assert wrong.status == 1
    assert wrong.output.splitlines()[-len(lines) :] == lines
    assert "Building DAG" not in wrong.output
    assert "Traceback" not in wrong.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seeds: [0]\nways: 5\nseeds: [1]\n", ", line 3: `seeds` is given twice, first in line 1; keep one of them"),
        (b"experiment: caf\xe9\n", ": not a text file in UTF-8; save it as UTF-8 YAML"),
    ],
    ids=["twice", "latin-1"],
)
def test_the_default_file_is_held_to_the_same(fresh, content, message):
    (fresh.folder / "config" / "config.yaml").write_bytes(content)
    wrong = fresh.snakemake("-n")
    assert wrong.status == 1
    assert wrong.output.splitlines()[-1] == f"config/config.yaml{message}"
    assert "Traceback" not in wrong.output


@pytest.mark.parametrize(
    ("here", "arguments"),
    [("fresh", ("--directory", "{there}")), ("elsewhere", ("-s", "{root}/workflow/Snakefile"))],
    ids=["--directory", "--snakefile"],
)
def test_another_working_directory_is_refused_in_one_line(fresh, tmp_path, here, arguments):
    there = tmp_path / "elsewhere"
    shutil.copytree(fresh.folder / "config", there / "config")
    words = [word.format(there=there, root=fresh.folder) for word in arguments]
    wrong = replace(fresh, folder=tmp_path / here).snakemake("-n", *words, PYTHONPATH=str(fresh.folder / "src"))
    assert wrong.status == 1
    assert f"call {fresh.folder}/run.sh snakemake" in wrong.output.splitlines()[-1]
    assert "Traceback" not in wrong.output


@pytest.fixture
def folder(tmp_path):
    """Ten classes of twenty small pictures."""
    rng = np.random.default_rng(0)
    for label in range(10):
        place = tmp_path / "pictures" / f"class{label}"
        place.mkdir(parents=True)
        for index in range(20):
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(place / f"{index}.png")
    return tmp_path / "pictures"


def test_a_folder_of_images_is_watched_and_checked_first(fresh, folder):
    fresh.configure(
        datasets={"mine": {"source": "folder", "path": str(folder)}},
        pools={"single": {"datasets": ["mine"]}},
        methods=["random"],
        seeds=[0],
    )
    prepare = ("--until", "prepare_images")
    fresh.pretend_all_is_done(*prepare)
    one, other = folder / "class3" / "0.png", folder / "class4" / "0.png"
    times = one.stat().st_mtime_ns, other.stat().st_mtime_ns
    one.rename(folder / "aside")
    other.rename(one)
    (folder / "aside").rename(other)
    for path, time in zip((one, other), times, strict=True):
        os.utime(path, ns=(time, time))
    assert fresh.dry_run(*prepare).jobs["prepare_images"] == 1
    fresh.pretend_all_is_done(*prepare)
    assert fresh.dry_run(*prepare).jobs == {}
    Image.new("RGB", (16, 16)).save(folder / "class3" / "new.png")
    assert fresh.dry_run(*prepare).jobs["prepare_images"] == 1

    folder.rename(folder.with_name("elsewhere"))
    gone = fresh.snakemake("-n")
    assert gone.status == 1
    assert "datasets.mine:" in gone.output
    assert "Traceback" not in gone.output
    # The prepared images outlive a drive that is not plugged in.
    assert list((fresh.folder / "results" / "demo" / "images" / "mine").iterdir())


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["evaluation={queries: 19}"], "evaluation.queries"),
        (
            ["methods=[random,supervised_maml]", "supervised_maml={queries: 19}"],
            "supervised_maml.queries",
        ),
        (
            ["methods=[supervised_anil]", "variants={supervised_anil-many: {queries: 19}}"],
            "variants.supervised_anil-many.queries",
        ),
    ],
    ids=["evaluation", "method", "variant"],
)
def test_episodes_that_prepared_images_cannot_give_are_refused(fresh, words, key):
    folder = fresh.folder / "results" / "demo" / "images" / "icons_colour"
    splits = {}
    for split in SPLITS:
        images = [torch.zeros(count, 3, 16, 16, dtype=torch.uint8) for count in (21, 21, 21, 19, 21)]
        splits[split] = ClassImages("icons_colour", split, tuple("abcde"), images, "CC0-1.0")
    save_images(folder, splits, source="embedded")
    refused = fresh.snakemake("-n", "--config", *words)
    assert refused.status == 1
    assert "d (19)" in refused.output
    assert key in refused.output
    assert "Building DAG" not in refused.output


def test_episodes_are_not_measured_against_images_that_are_prepared_again(fresh):
    results = fresh.folder / "results" / "demo"
    few = [torch.zeros(3, 3, 16, 16, dtype=torch.uint8)] * 5
    splits = {split: ClassImages("icons_colour", split, tuple("abcde"), few, "CC0-1.0") for split in SPLITS}
    save_images(results / "images" / "icons_colour", splits, source="embedded")
    own = load_config([fresh.folder / "config/config.yaml"]).datasets["icons_colour"]
    settings = own.model_dump(mode="json", exclude={"epochs", "recolour"})
    split, art = "config/splits/icons.json", "resources/embedded/icons.npz"
    files = {name: sha256_file(fresh.folder / name) for name in (art, split)}
    for side, inputs, status in (
        (own.side, files, 1),
        (own.side + 1, files, 0),
        (own.side, files | {split: "0" * 64}, 0),  # the split was edited since
    ):
        told = {"settings": settings | {"side": side}, "listing": None}
        receipt = manifests.receipt(settings=told, inputs=inputs)
        manifests.write(results, "receipts/prepare_images/icons_colour.json", receipt)
        assert fresh.snakemake("-n").status == status


def on_public(workflow, path):
    """Let the workflow run one method on a copy of CIFAR-FS."""
    workflow.configure(
        datasets={"mine": {"source": "cifar_fs", "path": str(path)}},
        pools={"single": {"datasets": ["mine"]}},
        methods=["random"],
        seeds=[0],
    )


def test_a_public_data_set_is_planned_without_its_images_and_wanted_before_anything_runs(fresh, tmp_path):
    on_public(fresh, tmp_path / "cifar100")
    assert fresh.dry_run().jobs["prepare_images"] == 1
    refused = fresh.snakemake("--cores", "1")
    assert refused.status == 1
    assert f"datasets.mine: {tmp_path / 'cifar100'} does not exist" in refused.output
    assert "cifar-100-python.tar.gz" in refused.output
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in refused.output
    assert "Traceback" not in refused.output
    assert not list((fresh.folder / "results").glob("*/images"))


def test_an_archive_is_watched_without_being_opened(fresh, tmp_path):
    path, prepare = tmp_path / "cifar.zip", ("--until", "prepare_images")
    path.write_bytes(b"no archive at all")
    on_public(fresh, path)
    fresh.pretend_all_is_done(*prepare)
    assert fresh.dry_run(*prepare).jobs["prepare_images"] == 0
    path.write_bytes(b"another size")
    assert fresh.dry_run(*prepare).jobs["prepare_images"] == 1


def test_parts_that_share_some_classes_are_refused_before_anything_runs(fresh, tmp_path):
    files = class_files({"ant": 1, "bee": 1}, below="train/") | class_files({"bee": 1, "cat": 1}, below="test/")
    on_public(fresh, write_files(tmp_path / "im", files))
    refused = fresh.snakemake("-n")
    assert refused.status == 1
    assert "datasets.mine:" in refused.output
    assert "share some of their classes only (bee; not in all of them: ant, cat)" in refused.output
    assert "Traceback" not in refused.output
