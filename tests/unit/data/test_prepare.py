import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dfml.artefacts.images import MANIFEST, ImagesManifest
from dfml.data.images import load_images
from dfml.data.prepare import prepare_images
from dfml.data.sources.embedded import read_embedded
from dfml.data.splits import read_split
from dfml.errors import DataError
from support.repository import ROOT

RESOURCES = ROOT / "resources" / "embedded"
SPLITS = ROOT / "config" / "splits"
EMBEDDED = SimpleNamespace(source="embedded", path=None, side=32, split=None, split_seed=0, fractions=(0.64, 0.16, 0.2))


def folder_settings(path, **changes):
    return SimpleNamespace(**(vars(EMBEDDED) | {"source": "folder", "path": str(path), "side": 16} | changes))


@pytest.fixture
def animals(tmp_path):
    """Six classes of three or four tiny images; the first pixel tells class and image."""
    root = tmp_path / "animals"
    for c, name in enumerate(("ant", "bee", "cat", "dog", "elk", "fox")):
        (root / name).mkdir(parents=True)
        for i in range(3 + c % 2):
            Image.new("RGB", (8, 8), (10 * c + i, 0, 0)).save(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize("name", ["emoji", "glyphs"])
def test_embedded_data(tmp_path, name):
    prepare_images(name, EMBEDDED, tmp_path, resources=RESOURCES, splits=SPLITS)
    source = read_embedded(name, RESOURCES)
    split = read_split(SPLITS / f"{name}.json", list(source))
    for part in ("meta_train", "meta_val", "meta_test"):
        images = load_images(tmp_path / f"{part}.npz")
        assert (images.dataset, images.split, images.side, images.channels) == (name, part, 32, 3)
        assert images.names == getattr(split, part)
        for c, x in zip(images.names, images.images, strict=True):
            assert np.array_equal(x.numpy(), source[c])
    manifest = ImagesManifest.load(tmp_path / MANIFEST)
    assert manifest.source == "embedded"
    assert "ATTRIBUTION.md" in manifest.licence


def test_a_folder_gives_sorted_classes_and_files(tmp_path, animals):
    prepare_images("mine", folder_settings(animals), tmp_path / "out", resources=RESOURCES)
    seen = {}
    for part in ("meta_train", "meta_val", "meta_test"):
        images = load_images(tmp_path / "out" / f"{part}.npz")
        assert list(images.names) == sorted(images.names)
        for name, x in zip(images.names, images.images, strict=True):
            seen[name] = x[:, 0, 0, 0].tolist()
    assert seen == {
        "ant": [0, 1, 2],
        "bee": [10, 11, 12, 13],
        "cat": [20, 21, 22],
        "dog": [30, 31, 32, 33],
        "elk": [40, 41, 42],
        "fox": [50, 51, 52, 53],
    }


def test_the_seed_chooses_the_classes(tmp_path, animals):
    chosen = set()
    for seed in range(8):
        out = tmp_path / str(seed)
        prepare_images("mine", folder_settings(animals, split_seed=seed), out, resources=RESOURCES)
        chosen.add(tuple(ImagesManifest.load(out / MANIFEST).splits["meta_test"].names))
    assert len(chosen) > 1


def test_a_committed_split_may_leave_classes_out(tmp_path, animals):
    split = {"meta_train": ["cat", "ant"], "meta_val": ["bee"], "meta_test": ["dog"]}
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"format": "dfml.split", "version": 1, "dataset": "mine"} | split))
    (animals / "fox" / "0.png").write_bytes(b"damaged, but not used")
    settings = folder_settings(animals, split=str(path))
    prepare_images("mine", settings, tmp_path / "out", resources=RESOURCES)
    splits = ImagesManifest.load(tmp_path / "out" / MANIFEST).splits
    assert {part: entry.names for part, entry in splits.items()} == split | {"meta_train": ["ant", "cat"]}


def test_too_few_images_or_classes_stop_before_decoding(tmp_path, animals):
    (animals / "ant" / "0.png").write_bytes(b"damaged")
    settings = folder_settings(animals)
    with pytest.raises(DataError, match=r"mine: every class needs at least 4 images.*ant \(3\)") as caught:
        prepare_images("mine", settings, tmp_path / "out", resources=RESOURCES, minimum_images=4)
    assert "bee" not in str(caught.value)
    with pytest.raises(DataError, match=r"meta_val has 1 classes, but 2 are needed"):
        prepare_images("mine", settings, tmp_path / "out", resources=RESOURCES, minimum_classes=2)
    assert not (tmp_path / "out").exists()


def test_a_home_directory_is_expanded(tmp_path, animals, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    prepare_images("mine", folder_settings("~/animals"), tmp_path / "out", resources=RESOURCES)
    assert (tmp_path / "out" / "images.json").is_file()


def test_a_missing_path_names_it(tmp_path):
    with pytest.raises(DataError, match=r"nowhere is not a directory"):
        prepare_images("mine", folder_settings(tmp_path / "nowhere"), tmp_path / "out", resources=RESOURCES)
