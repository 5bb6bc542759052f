import json
import logging
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from dfml.artefacts.images import MANIFEST, SPLITS, ImagesManifest
from dfml.config.load import validate_config
from dfml.data.images import load_images
from dfml.data.known import KNOWN
from dfml.data.prepare import prepare_images
from dfml.data.settings import Source
from dfml.data.splits import images_of_whole_copy, read_split
from dfml.errors import DataError
from support.configuration import problems
from support.pictures import class_files, encoded, photo, write_files
from support.repository import ROOT

COMMITTED = ROOT / "config" / "splits"


def split_of(name):
    return read_split(COMMITTED / f"{name}.json", list(images_of_whole_copy(COMMITTED / f"{name}.json")), dataset=name)


def test_every_known_data_set_is_a_source():
    assert set(get_args(Source)) == {"embedded", "folder", *KNOWN}


@pytest.mark.parametrize("name", KNOWN)
def test_sizes_are_those_of_the_committed_split(name):
    known, split = KNOWN[name], split_of(name)
    images = images_of_whole_copy(COMMITTED / f"{name}.json")
    assert sum(images.values()) == known.total
    for part in SPLITS:
        classes = getattr(split, part)
        assert known.sizes[part] == (len(classes), min(images[c] for c in classes))


def test_cub_is_split_by_the_places_of_its_folders():
    split = split_of("cub")
    names = sorted(split.names)
    assert [name[:3] for name in names] == [f"{i:03}" for i in range(1, 201)]
    assert list(split.meta_train) == names[::2]
    assert list(split.meta_val) == names[1::4]
    assert list(split.meta_test) == names[3::4]


def test_some_facts_of_the_published_splits():
    cifar, mini, flowers = split_of("cifar_fs"), split_of("mini_imagenet"), split_of("vgg_flower")
    assert {"baby", "plain", "rocket", "whale"} <= set(cifar.meta_test)
    assert {"n01532829", "n13133613"} <= set(mini.meta_train)
    assert {"n01930112", "n04522168"} <= set(mini.meta_test)
    assert [len(getattr(flowers, part)) for part in SPLITS] == [71, 15, 16]
    assert sorted(map(int, flowers.names)) == list(range(1, 103))
    assert {name.partition("/")[0] for name in split_of("omniglot").meta_val} == {
        "Armenian",
        "Bengali",
        "Early_Aramaic",
        "Hebrew",
        "Mkhedruli_(Georgian)",
    }
    assert "Faces_easy" not in split_of("caltech101").names


class TestSettings:
    def test_the_side_is_the_data_sets_own_unless_it_is_given(self):
        given = {name: {"source": name, "path": "somewhere"} for name in KNOWN}
        given["small"] = {"source": "cub", "path": "somewhere", "side": 32}
        config = validate_config({"datasets": given | {"icons_colour": {}}})
        assert {name: config.datasets[name].side for name in KNOWN} == {n: known.side for n, known in KNOWN.items()}
        assert config.datasets["small"].side == 32
        assert config.datasets["icons_colour"].side == 32

    @pytest.mark.parametrize(
        ("given", "line"),
        [
            (
                {"source": "cub"},
                "datasets.a.path: your copy of CUB-200-2011 is needed: `CUB_200_2011.tgz`, or a folder",
            ),
            (
                {"source": "cub", "path": "x", "split": "s.json"},
                "datasets.a.split: CUB-200-2011 has its own class split; remove this key, or set `source: folder`",
            ),
        ],
    )
    def test_what_does_not_fit_is_said(self, given, line):
        (found,) = problems({"datasets": {"a": given, "icons_colour": {}}})
        assert found.startswith(line)

    def test_its_name_alone_is_not_enough(self):
        (found,) = problems({"datasets": {"cub": {}}, "pools": {"single": {"datasets": ["cub"]}}})
        assert "a copy of that public data set needs `source: cub` and `path`" in found

    def test_sizes_are_checked_before_there_are_images(self):
        pools = {"pools": {"single": {"datasets": ["mine"]}}, "methods": ["random"]}
        mine = {"datasets": {"mine": {"source": "mini_imagenet", "path": "nowhere"}}} | pools
        assert validate_config({**mine, "shots": [5]})
        assert problems({**mine, "ways": 17}) == ["ways: 17 ways, but `mine` has 16 meta_val classes; use fewer"]
        eurosat = {"datasets": {"mine": {"source": "eurosat", "path": "nowhere"}}} | pools
        assert len(problems(eurosat)) == 2


@pytest.fixture
def lilliput(tmp_path, monkeypatch):
    """A public data set of four classes, of which two are for meta-training."""
    splits = tmp_path / "splits"
    lists = {"meta_train": ["ant", "bee"], "meta_val": ["cat"], "meta_test": ["dog"]}
    told = {
        "format": "dfml.split",
        "version": 1,
        "dataset": "cub",
        **lists,
        "images": {"ant": 2, "bee": 3, "cat": 2, "dog": 2},
    }
    write_files(splits, {"cub.json": json.dumps(told).encode()})
    return splits


def prepared(tmp_path, splits, files, **options):
    path = write_files(tmp_path / "copy", files)
    settings = SimpleNamespace(
        source="cub", path=str(path), side=16, split=None, split_seed=0, fractions=(0.6, 0.2, 0.2)
    )
    prepare_images("mine", settings, tmp_path / "out", resources=ROOT, splits=splits, **options)
    return ImagesManifest.load(tmp_path / "out" / MANIFEST)


WHOLE = class_files({"ant": 2, "bee": 3, "cat": 2, "dog": 2})


def test_a_whole_copy_has_the_official_split_and_the_published_normalisation(tmp_path, lilliput, caplog):
    more = class_files({"eel": 1, "dog/deep": 1}, first=20) | {"ant/more.png": encoded(photo(50))}
    with caplog.at_level(logging.WARNING):
        manifest = prepared(tmp_path, lilliput, WHOLE | more)
    assert {part: (entry.names, entry.counts) for part, entry in manifest.splits.items()} == {
        "meta_train": (["ant", "bee"], [3, 3]),
        "meta_val": (["cat"], [2]),
        "meta_test": (["dog"], [2]),
    }
    assert (manifest.mean, manifest.std) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert (manifest.normalisation, manifest.source) == ("published", "cub")
    assert "photographers" in manifest.licence
    assert "classes with more images than CUB-200-2011 has: ant (3, not 2)" in caplog.text
    assert "leaves out: eel" in caplog.text
    assert "class dog: 1 files are left out (1 in deeper folders)" in caplog.text


def test_a_partial_copy_is_named_before_anything_is_decoded(tmp_path, lilliput):
    files = {path: b"damaged" for path in WHOLE if path not in ("bee/2.png", "cat/0.png", "cat/1.png")}
    with pytest.raises(
        DataError,
        match=r"copy: this .* 6 of 11788 images, fewer .* in bee \(2 of 3\), cat \(0 of 2\); complete it$",
    ):
        prepared(tmp_path, lilliput, files)
    assert not (tmp_path / "out").exists()


def test_what_is_there_of_every_class_can_be_read_as_a_plain_folder(tmp_path, lilliput):
    few = {path: content for path, content in WHOLE.items() if path != "bee/2.png"}
    with pytest.raises(
        DataError, match=r"complete it, or read what is there by `source: folder` with `split: .*cub\.json`"
    ):
        prepared(tmp_path, lilliput, few)


def test_parts_of_the_copy_do_not_matter_but_are_compared(tmp_path, lilliput, caplog):
    parts = {"ant": "train", "cat": "train", "bee": "val", "dog": "test"}
    files = {f"{parts[path[:3]]}/{path}": content for path, content in WHOLE.items()}
    with caplog.at_level(logging.WARNING):
        manifest = prepared(tmp_path, lilliput, files)
    assert manifest.splits["meta_train"].names == ["ant", "bee"]
    assert "own parts have other classes than the split of CUB-200-2011" in caplog.text


def test_copies_are_in_the_manifest_and_counts_are_checked_again(tmp_path, lilliput):
    few = {f"few/{path}": content for path, content in (WHOLE | {"ant/1.png": WHOLE["dog/0.png"]}).items()}
    with pytest.raises(DataError, match=r"every class needs at least 2 images; too few in: ant \(1\)"):
        prepared(tmp_path / "few", lilliput, few)
    files = WHOLE | {"bee/2.png": WHOLE["dog/0.png"]}
    manifest = prepared(tmp_path, lilliput, files)
    assert manifest.copies.dropped == {"meta_train": ["bee/2.png"], "meta_val": []}
    assert manifest.splits["meta_train"].counts == [2, 2]
    left = load_images(tmp_path / "out" / "meta_train.npz").images[1]
    expected = [np.asarray(photo(2 + i, 20).resize((16, 16), 2)) for i in range(2)]
    assert np.array_equal(left.numpy().transpose(0, 2, 3, 1), np.stack(expected))


def test_the_documentation_says_the_same():
    text = (ROOT / "docs" / "your_images.md").read_text(encoding="utf-8")
    for name, known in KNOWN.items():
        sizes = " / ".join(str(known.sizes[part].classes) for part in SPLITS)
        normalisation = "published" if known.normalisation else "measured"
        facts = f"{sizes} | {known.total:,} | {known.side} | {normalisation} | {known.origin} |"
        assert f"| `{name}` | [{known.label}]({known.page}) | {facts}\n" in text
