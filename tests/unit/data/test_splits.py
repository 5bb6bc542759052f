import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfml.data.splits import ClassSplit, read_split, seeded_split, split_files
from dfml.errors import DataError, FileFormatError
from support.repository import ROOT

FRACTIONS = (0.64, 0.16, 0.2)
GOOD = {
    "format": "dfml.split",
    "version": 1,
    "dataset": "toy",
    "meta_train": ["cat", "ant"],
    "meta_val": ["bee"],
    "meta_test": ["dog"],
}
ANIMALS = ["ant", "bee", "cat", "dog"]


def written(tmp_path, **changes):
    path = tmp_path / "toy.json"
    path.write_text(json.dumps({k: v for k, v in (GOOD | changes).items() if v is not None}))
    return path


@pytest.mark.parametrize(
    ("name", "sizes"), [("icons", (64, 16, 20)), ("emoji", (66, 16, 20)), ("glyphs", (64, 16, 20))]
)
def test_committed_splits_are_disjoint_complete_and_those_of_the_files(name, sizes):
    with np.load(ROOT / "resources" / "embedded" / f"{name}.npz") as stored:
        names, part = [str(n) for n in stored["names"]], stored["split"]
    split = read_split(ROOT / "config" / "splits" / f"{name}.json", names, dataset=name)
    train, val, test = (set(split.meta_train), set(split.meta_val), set(split.meta_test))
    assert (len(train), len(val), len(test)) == sizes
    assert not train & val and not train & test and not val & test
    assert train | val | test == set(names)
    for number, classes in enumerate((train, val, test)):
        assert classes == {n for n, p in zip(names, part, strict=True) if p == number}


def test_a_split_is_read_and_sorted(tmp_path):
    split = read_split(written(tmp_path), [*ANIMALS, "unused"], dataset="toy")
    assert split == ClassSplit(("ant", "cat"), ("bee",), ("dog",))
    assert split.names == ("ant", "cat", "bee", "dog")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"meta_val": ["bee", "dog"]}, r"'dog' is in meta_val and again in meta_test"),
        ({"meta_train": ["ant", "ant"]}, r"'ant' is in meta_train and again in meta_train"),
        ({"meta_test": []}, "meta_test has no classes"),
        ({"meta_val": None}, "'meta_val' must be a list"),
        ({"meta_test": ["dog", 3]}, "'meta_test' must be a list of class names"),
        ({"meta_test": ["emu", "fox"]}, "no classes 'emu', 'fox';"),
        ({"meta_test": [f"x{i:02}" for i in range(30)]}, "'x19' and 10 more"),
        ({"dataset": "other"}, "is the split of 'other', not of 'toy'"),
    ],
)
def test_a_wrong_split_is_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        read_split(written(tmp_path, **changes), ANIMALS, dataset="toy")
    assert "toy.json" in str(caught.value)


@pytest.mark.parametrize("changes", [{"version": 2}, {"format": "other"}])
def test_a_foreign_file_is_refused(tmp_path, changes):
    with pytest.raises(FileFormatError):
        read_split(written(tmp_path, **changes), ANIMALS)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileFormatError):
        read_split(tmp_path / "toy.json", ANIMALS)


def test_a_missing_folder_or_a_file_of_another_kind_is_never_to_be_deleted(tmp_path):
    path = tmp_path / "s.json"
    for content in (b"filename,label\n0.png,ant\n", b"", b"[]", b"{", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(
            FileFormatError, match=r'is no class split.*"dfml\.split".*label,split.*docs/your_images\.md'
        ) as caught:
            read_split(path, ANIMALS)
        assert "delete" not in str(caught.value)


def test_a_csv_file_names_the_split_of_every_class(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("Label,n,split\ncat,1,train\nbee,2,valid\n\ndog,3,meta_test\nant,4,train\ncat,5,train\n")
    assert read_split(path, ANIMALS) == ClassSplit(("ant", "cat"), ("bee",), ("dog",))


def test_a_folder_of_lists_of_images_is_a_split(tmp_path):
    for part, names in (("train", ("cat", "ant", "cat")), ("val", ("bee",)), ("test", ("dog",))):
        rows = "".join(f"{i}.jpg,{name}\n" for i, name in enumerate(names))
        (tmp_path / f"{part}.csv").write_text("filename,label\n" + rows)
    assert read_split(tmp_path, ANIMALS) == ClassSplit(("ant", "cat"), ("bee",), ("dog",))
    assert [file.name for file in split_files(tmp_path)] == ["train.csv", "val.csv", "test.csv"]
    (tmp_path / "val.csv").unlink()
    with pytest.raises(FileFormatError, match=r"cannot read the class split .*val\.csv \(No such file"):
        read_split(tmp_path, ANIMALS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,label\n0.png,ant\n", r"s\.csv has no column 'split'.*a split file is JSON"),
        ("label,split\nant,dev\n", r"'ant' is in the split 'dev'; write train, val or test"),
        ("label,split\nant,train\nbee,val\nant,test\n", r"'ant' is in meta_train and again in meta_test"),
        ("label,split\nant,train\nbee,val\n", "meta_test has no classes"),
        ("label,split\n,train\n", "'' is no name of a class"),
    ],
)
def test_a_wrong_csv_file_is_refused(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises((DataError, FileFormatError), match=message) as caught:
        read_split(tmp_path / "s.csv", ANIMALS)
    assert "delete" not in str(caught.value)


def test_names_are_compared_in_one_unicode_form(tmp_path):
    path = written(tmp_path, meta_val=["caf\u00e9"])
    assert read_split(path, ["ant", "cat", "dog", "cafe\u0301"]).meta_val == ("cafe\u0301",)
    assert read_split(written(tmp_path, meta_val=["cafe\u0301"]), ["ant", "cat", "dog", "caf\u00e9"]).meta_val == (
        "caf\u00e9",
    )


@given(
    classes=st.integers(3, 120),
    seed=st.integers(0, 5),
    fractions=st.sampled_from([FRACTIONS, (0.5, 0.25, 0.25), (0.98, 0.01, 0.01)]),
)
def test_a_seeded_split_is_disjoint_and_complete(classes, seed, fractions):
    names = [f"c{i:03}" for i in range(classes)]
    split = seeded_split(names, seed=seed, fractions=fractions)
    assert sorted(split.names) == names
    assert abs(len(split.meta_test) - fractions[2] * classes) <= 1
    assert abs(len(split.meta_val) - fractions[1] * classes) <= 1


def test_a_seeded_split_depends_on_names_and_seed_not_on_their_order():
    for order in permutations(ANIMALS):
        assert seeded_split(order, seed=3, fractions=FRACTIONS) == seeded_split(ANIMALS, seed=3, fractions=FRACTIONS)
    names = [f"c{i}" for i in range(100)]
    splits = [seeded_split(names, seed=seed, fractions=FRACTIONS) for seed in (0, 1)]
    assert splits[0] != splits[1]
    assert [len(p) for p in (splits[0].meta_train, splits[0].meta_val, splits[0].meta_test)] == [64, 16, 20]


@pytest.mark.parametrize("classes", [0, 1, 2])
def test_too_few_classes_to_share_out(classes):
    with pytest.raises(DataError, match="at least 3 are needed"):
        seeded_split(ANIMALS[:classes], seed=0, fractions=FRACTIONS)


@given(classes=st.integers(2, 40), fractions=st.sampled_from([(0, 0, 1), (0, 0.3, 0.7), (0.5, 0, 0.5)]))
def test_a_split_without_a_share_gets_no_class_and_the_others_all(classes, fractions):
    names = [f"c{i}" for i in range(classes)]
    split = seeded_split(names, seed=1, fractions=fractions)
    sizes = [len(part) for part in (split.meta_train, split.meta_val, split.meta_test)]
    assert [size > 0 for size in sizes] == [share > 0 for share in fractions]
    assert sorted(split.names) == sorted(names)
    assert all(abs(size - share * classes) <= 1 for size, share in zip(sizes, fractions, strict=True))


def test_a_class_is_not_shared_by_two_splits_with_a_share():
    with pytest.raises(DataError, match="at least 2 are needed"):
        seeded_split(["ant"], seed=0, fractions=(0, 0.5, 0.5))
