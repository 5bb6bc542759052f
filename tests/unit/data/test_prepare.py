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
from support.pictures import class_files, write_files, write_zip
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
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        prepare_images("mine", folder_settings(tmp_path / "nowhere"), tmp_path / "out", resources=RESOURCES)


def splits_of(out):
    return {part: entry.names for part, entry in ImagesManifest.load(out / MANIFEST).splits.items()}


def test_folders_of_different_classes_are_the_split(tmp_path):
    files = {}
    for number, part in enumerate(("train", "val", "test")):
        files |= class_files({f"{part}{c}": 2 for c in "ab"}, below=f"{part}/", first=10 * number)
    root = write_files(tmp_path / "im", files)
    prepare_images("mine", folder_settings(root), tmp_path / "out", resources=RESOURCES)
    expected = {"meta_train": ["traina", "trainb"], "meta_val": ["vala", "valb"], "meta_test": ["testa", "testb"]}
    assert splits_of(tmp_path / "out") == expected
    archive = write_zip(tmp_path / "im.zip", files)
    prepare_images("mine", folder_settings(archive), tmp_path / "zip", resources=RESOURCES, workers=2)
    for name in ("meta_train.npz", "meta_val.npz", "meta_test.npz", "images.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "zip" / name).read_bytes()
    own = {"meta_train": ["testa", "vala"], "meta_val": ["valb"], "meta_test": ["traina"]}
    file = tmp_path / "split.json"
    file.write_text(json.dumps({"format": "dfml.split", "version": 1, "dataset": "mine"} | own))
    prepare_images("mine", folder_settings(root, split=str(file)), tmp_path / "own", resources=RESOURCES)
    assert splits_of(tmp_path / "own") == own


@pytest.mark.parametrize(
    ("parts", "refused"),
    [(("train", "test"), "meta_val"), (("val", "test"), "meta_train"), (("train", "val"), "train, val of different")],
)
def test_parts_that_are_missing_are_empty_splits_if_nothing_reads_them(tmp_path, parts, refused):
    files = {}
    for first, (part, names) in enumerate(zip(parts, ("ab", "cd"), strict=True)):
        files |= class_files(dict.fromkeys(names, 2), below=f"{part}/", first=20 * first)
    settings, out = folder_settings(write_files(tmp_path / "im", files)), tmp_path / "out"
    with pytest.raises(DataError, match=refused):
        prepare_images("mine", settings, out, resources=RESOURCES)
    if refused.startswith("meta"):
        read = {"meta_train", "meta_val", "meta_test"} - {refused}
        prepare_images("mine", settings, out, resources=RESOURCES, needed=read)
        assert splits_of(out)[refused] == []
        assert splits_of(out)["meta_test"] == ["c", "d"]


def test_a_data_set_that_is_only_evaluated_needs_meta_test_alone(tmp_path, animals):
    settings = folder_settings(animals, fractions=(0, 0, 1))
    with pytest.raises(DataError, match="meta_train has 0 classes, but 1 are needed"):
        prepare_images("mine", settings, tmp_path / "out", resources=RESOURCES)
    prepare_images("mine", settings, tmp_path / "out", resources=RESOURCES, needed={"meta_test"}, minimum_classes=2)
    found = splits_of(tmp_path / "out")
    assert (found["meta_train"], found["meta_val"]) == ([], [])
    assert len(found["meta_test"]) == len(list(animals.iterdir()))
    manifest = ImagesManifest.load(tmp_path / "out" / MANIFEST)
    assert (manifest.mean, manifest.std, manifest.normalisation) == ([], [], "none")
    manifest.check_enough(minimum_classes=2, minimum_images=2, needed={"meta_test"})
    assert not manifest.enough_for_a_curve(classes=1, images=1)
    with pytest.raises(DataError, match="meta_train has 0 classes"):
        manifest.check_enough(minimum_classes=2, minimum_images=2, needed={"meta_train"})


def test_a_test_folder_alone_is_all_meta_test(tmp_path):
    root = write_files(tmp_path / "im", class_files(dict.fromkeys("abcdef", 2), below="test/"))
    prepare_images("mine", folder_settings(root), tmp_path / "out", resources=RESOURCES, needed={"meta_test"})
    assert splits_of(tmp_path / "out") == {"meta_train": [], "meta_val": [], "meta_test": list("abcdef")}
    with pytest.raises(DataError, match="meta_train has 0 classes, but 1 are needed"):
        prepare_images("mine", folder_settings(root), tmp_path / "all", resources=RESOURCES)


def test_a_class_without_an_image_is_refused_in_any_split(tmp_path):
    files = class_files({"a": 2, "b": 2}, below="train/") | class_files({"c": 2, "d": 2}, below="test/", first=9)
    root = write_files(tmp_path / "im", files)
    (root / "train" / "empty").mkdir()
    options = {"resources": RESOURCES, "needed": {"meta_test"}}
    with pytest.raises(DataError, match="mine: there is no image that can be used of empty; add some "):
        prepare_images("mine", folder_settings(root), tmp_path / "out", **options)
    (root / "train" / "empty").rmdir()
    for n in "01":
        (root / "train" / "b" / f"{n}.png").write_bytes((root / "test" / "c" / f"{n}.png").read_bytes())
    with pytest.raises(DataError, match="no image that can be used of b; "):
        prepare_images("mine", folder_settings(root), tmp_path / "out", **options)


def test_too_few_classes_to_evaluate_on_and_the_remedy(tmp_path, animals):
    options = {"resources": RESOURCES, "minimum_classes": 4}
    with pytest.raises(DataError, match=r"but 4 are needed; .*`fractions: \[0, 0, 1\]`"):
        prepare_images("mine", folder_settings(animals), tmp_path / "out", needed={"meta_test"}, **options)
    with pytest.raises(DataError, match=r"but 4 are needed; .*class split$"):
        prepare_images("mine", folder_settings(animals), tmp_path / "out", **options)


@pytest.mark.parametrize(
    "files", [class_files({"all": 5}), {path[4:]: x for path, x in class_files({"all": 5}).items()}]
)
def test_pictures_without_classes_can_be_asked_and_nothing_else(tmp_path, files):
    settings = folder_settings(write_files(tmp_path / "pile", files))
    prepare_images(
        "pile", settings, tmp_path / "out", resources=RESOURCES, evaluated=False, minimum_images=16, minimum_classes=5
    )
    images = load_images(tmp_path / "out" / "meta_train.npz")
    assert (images.names, images.counts) == (("pictures",), (5,))
    manifest = ImagesManifest.load(tmp_path / "out" / MANIFEST)
    assert splits_of(tmp_path / "out") == {"meta_train": ["pictures"], "meta_val": [], "meta_test": []}
    with pytest.raises(DataError, match="pile: meta_val has 0 classes, but 1 are needed"):
        manifest.check_enough(minimum_classes=1, minimum_images=1)
    with pytest.raises(DataError, match=r"meta_test\.npz has no classes"):
        load_images(tmp_path / "out" / "meta_test.npz")
    with pytest.raises(DataError, match=r"no class folders|at least 3 are needed"):
        prepare_images("pile", settings, tmp_path / "other", resources=RESOURCES)


def test_what_is_only_asked_may_be_small(tmp_path, animals):
    options = {"resources": RESOURCES, "minimum_images": 20, "minimum_classes": 5}
    with pytest.raises(DataError, match=r"at least 20 images|5 are needed"):
        prepare_images("mine", folder_settings(animals), tmp_path / "out", **options)
    prepare_images("mine", folder_settings(animals), tmp_path / "out", evaluated=False, **options)
    assert len(splits_of(tmp_path / "out")["meta_train"]) == 4
