import logging
import os

import pytest

from dfml.data.listing import find_pictures
from dfml.data.sources.layouts import find_classes
from dfml.data.sources.opening import fingerprint, open_store
from dfml.errors import DataError
from support.pictures import class_files, encoded, photo, write_files, write_tar, write_zip

CLASSES = {"ant": 2, "bee": 1}


def names(layout):
    return {name: [path.rpartition("/")[2] for path in images] for name, images in layout.classes.items()}


def found(root, files, **options):
    return find_classes(open_store(write_files(root, files)), **options)


def test_class_folders_are_sorted_and_filtered(tmp_path):
    files = dict.fromkeys(("b/2.png", "b/10.PNG", "b/1.Jpg", "b/.hidden.png", "a/x.tiff", ".cache/y.png"), b"x")
    layout = found(tmp_path, files)
    assert names(layout) == {"a": ["x.tiff"], "b": ["1.Jpg", "10.PNG", "2.png"]}
    assert list(layout.classes) == ["a", "b"]
    assert not layout.parts
    assert not layout.left_out


def test_files_that_are_left_out_are_counted_by_class(tmp_path, caplog):
    files = {"a/1.png": b"", "a/2.heic": b"", "a/3.HEIC": b"", "a/4.avif": b"", "b/1.jpe": b"", "b/deep/2.png": b""}
    layout = found(tmp_path, files | {"readme.png": b"", "b/none": b""})
    assert names(layout) == {"a": ["1.png"], "b": ["1.jpe"]}
    with caplog.at_level(logging.WARNING):
        layout.warn()
    assert [record.getMessage() for record in caplog.records] == [
        "class a: 3 files are left out (1 .avif, 2 .heic)",
        "class b: 2 files are left out (1 in deeper folders, 1 without extension)",
        "1 images that are of no class are left out: readme.png",
    ]


def test_folders_that_hold_everything_are_passed_over(tmp_path):
    layout = found(tmp_path, class_files(CLASSES, below="CUB/images/") | {"CUB/parts/parts.txt": b"x"})
    assert {name: len(images) for name, images in layout.classes.items()} == CLASSES


@pytest.mark.parametrize("parts", [("train", "val", "test"), ("training", "valid", "testing")])
def test_parts_of_different_classes_are_the_split(tmp_path, parts):
    files = {}
    for number, part in enumerate(parts):
        files |= class_files({f"c{number}": 2, f"d{number}": 1}, below=f"{part}/")
    layout = found(tmp_path, files)
    assert layout.parts == {"train": ("c0", "d0"), "val": ("c1", "d1"), "test": ("c2", "d2")}
    assert list(layout.classes) == ["c0", "c1", "c2", "d0", "d1", "d2"]


def test_other_files_beside_the_parts_are_passed_over(tmp_path):
    files = class_files({"a": 2}, below="train/") | class_files({"b": 1}, below="test/")
    layout = found(tmp_path, files | {"annotations/xml/1.xml": b"x", "annotations/list.txt": b"x"})
    assert layout.parts == {"train": ("a",), "test": ("b",)}


def test_parts_of_the_same_classes_are_merged_in_their_order(tmp_path):
    layout = found(tmp_path, class_files(CLASSES, below="test/") | class_files(CLASSES, below="train/"))
    assert not layout.parts
    assert layout.classes["ant"] == ["train/ant/0.png", "train/ant/1.png", "test/ant/0.png", "test/ant/1.png"]


def test_parts_with_some_classes_in_common_are_refused(tmp_path):
    files = class_files({"ant": 1, "bee": 1}, below="train/") | class_files({"bee": 1, "cat": 1}, below="test/")
    with pytest.raises(
        DataError, match=r"train, test share some of their classes only \(bee; not in all of them: ant, cat"
    ):
        found(tmp_path, files)


def test_a_class_may_be_called_train(tmp_path):
    assert list(found(tmp_path, class_files({"train": 2, "tram": 1})).classes) == ["train", "tram"]


def test_nested_names_of_classes(tmp_path):
    files = class_files({"Greek/character01": 1, "Greek/character02": 2}, below="omni/images_background/")
    files |= class_files({"Oriya/character01": 1}, below="omni/images_evaluation/")
    layout = found(tmp_path, files, depth=2)
    assert {name: len(images) for name, images in layout.classes.items()} == {
        "Greek/character01": 1,
        "Greek/character02": 2,
        "Oriya/character01": 1,
    }


def test_names_are_normalised_and_namesakes_refused(tmp_path):
    store = write_files(tmp_path, class_files({"cafe\u0301": 1, "bar": 1}))
    assert list(find_classes(open_store(store)).classes) == ["bar", "caf\u00e9"]
    write_files(tmp_path, class_files({"caf\u00e9": 1}))
    if len(os.listdir(tmp_path)) == 3:  # a file system that does not normalise names itself
        with pytest.raises(DataError, match="differ in Unicode form only"):
            find_classes(open_store(store))


def test_pictures_without_class_folders_are_a_pile(tmp_path):
    layout = found(tmp_path, {"1.png": b"", "0.jpg": b"", "notes.txt": b""})
    assert layout.classes == {}
    assert layout.pile == ("0.jpg", "1.png")


def test_empty_places(tmp_path):
    with pytest.raises(DataError, match=r"missing does not exist; `path` must name a folder of images or an archive"):
        open_store(tmp_path / "missing")
    with pytest.raises(DataError, match="holds no image files"):
        find_classes(open_store(tmp_path))
    write_files(tmp_path, {"a/x/1.png": b"", "b/y/1.png": b"", "note.txt": b""})
    with pytest.raises(DataError, match="directly above the class folders"):
        find_classes(open_store(tmp_path))
    with pytest.raises(DataError, match=r"note\.txt is neither a folder nor an archive"):
        open_store(tmp_path / "note.txt")


def lists(**parts):
    """CSV lists of the classes of every part, and their images in one folder."""
    files = {}
    for part, classes in parts.items():
        rows = [(f"{name}{i}.jpg", name) for name, count in classes.items() for i in range(count)]
        files[f"{part}.csv"] = ("filename,label\n" + "".join(f"{file},{name}\n" for file, name in rows)).encode()
        files |= {f"images/{file}": b"" for file, _ in rows}
    return files


def test_csv_lists_beside_one_folder_of_images(tmp_path):
    layout = found(tmp_path, lists(train={"a": 2, "b": 1}, val={"c": 1}, test={"d": 1}))
    assert names(layout) == {"a": ["a0.jpg", "a1.jpg"], "b": ["b0.jpg"], "c": ["c0.jpg"], "d": ["d0.jpg"]}
    assert layout.parts == {"train": ("a", "b"), "val": ("c",), "test": ("d",)}


def in_folders(**parts):
    """The same images in class folders, the lists beside these."""
    files = {}
    for part, classes in parts.items():
        rows = [(f"{name}/{i}.jpg", name) for name, count in classes.items() for i in range(count)]
        files[f"{part}.csv"] = ("filename,label\n" + "".join(f"{file},{name}\n" for file, name in rows)).encode()
        files |= {file: b"" for file, _ in rows}
    return files


def test_csv_lists_beside_class_folders_are_the_split(tmp_path, caplog):
    layout = found(tmp_path, in_folders(train={"d": 2, "b": 1}, val={"c": 1}, test={"a": 1}) | {"a/9.jpg": b""})
    assert layout.parts == {"train": ("b", "d"), "val": ("c",), "test": ("a",)}
    layout.warn()
    assert "1 images that are of no class are left out: a/9.jpg" in caplog.text


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"train.csv": b"filename,label\na/0.jpg,7\n", "test.csv": b"filename,label\nb/0.jpg,8\n"}, "not those of the"),
        ({"train.csv": b"filename,label\na/7.jpg,a\n", "test.csv": b"filename,label\nb/0.jpg,b\n"}, "not there: a/7"),
        ({"train.csv": b"id,x\n1,2\n", "test.csv": b"id\n1\n"}, "has no column"),
        ({"test.csv": b"filename,label\na/0.jpg,a\n"}, "test images alone"),
    ],
)
def test_lists_that_do_not_fit_the_class_folders_are_not_followed_and_said(tmp_path, caplog, files, why):
    layout = found(tmp_path, {"a/0.jpg": b"", "b/0.jpg": b"", "c/0.jpg": b""} | files)
    assert list(layout.classes) == ["a", "b", "c"]
    assert not layout.parts
    assert ".csv beside the class folders are not followed" in caplog.text and why in caplog.text


def test_a_picture_beside_the_folder_of_images_does_not_stop_the_lists(tmp_path):
    layout = found(tmp_path, lists(train={"a": 2}, val={"c": 1}, test={"d": 1}) | {"preview.png": b""})
    assert layout.parts == {"train": ("a",), "val": ("c",), "test": ("d",)}
    assert layout.pile == ("preview.png",)


def test_two_lists_of_one_part_are_refused(tmp_path):
    files = lists(train={"a": 2}, training={"b": 1}, test={"d": 1})
    with pytest.raises(DataError, match=r"several lists of one part, train\.csv, training\.csv; keep one"):
        found(tmp_path, files)


def test_names_in_lists_are_compared_in_one_unicode_form(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    files = lists(train={composed: 1, "a": 1}, test={apart: 1})
    with pytest.raises(DataError, match=f"share some of their classes only .{composed}"):
        found(tmp_path / "one", files)
    table = f"filename,label\n{composed}.jpg,a\n".encode()
    layout = found(tmp_path / "two", lists(test={"d": 1}) | {f"images/{apart}.jpg": b"", "train.csv": table})
    assert layout.classes["a"] == [f"images/{apart}.jpg"]


def test_a_test_folder_or_list_alone_is_all_meta_test(tmp_path):
    for name, files in (
        ("folders", class_files({"ant": 1, "bee": 1}, below="mine/test/")),
        ("list", lists(test={"ant": 1, "bee": 1})),
    ):
        layout = found(tmp_path / name, files)
        assert layout.parts == {"test": ("ant", "bee")}
    assert not found(tmp_path / "training", class_files({"ant": 1, "bee": 1}, below="train/")).parts


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"filename,label\na0.jpg,a\ngone.jpg,a\n", r"train\.csv lists images that are not there: gone\.jpg;"),
        (b"filename,label\na0.jpg,a\na0.jpg,a\n", r"'a0\.jpg' is listed twice"),
        (b"name,label\na0.jpg,a\n", r"no column 'filename' \(its first line must name them: filename, label"),
        (b"", r"no column 'filename' and no column 'label'"),
        (b"filename,label\na0.jpg\n", r"line 2 has 1 values, not 2"),
        (b"\xff\xfe", r"train\.csv is no CSV file in UTF-8"),
        (b'filename,label\n"a0.jpg,a\n', r"train\.csv is no CSV file"),
    ],
)
def test_wrong_lists_are_named(tmp_path, table, message):
    with pytest.raises(DataError, match=message):
        found(tmp_path, lists(train={"a": 1}, val={"c": 1}, test={"d": 1}) | {"train.csv": table})


def test_flowers_in_one_folder_need_their_labels(tmp_path):
    from scipy.io import savemat

    files = {f"jpg/image_{i:05}.jpg": b"" for i in range(1, 5)}
    store = open_store(write_files(tmp_path / "flowers", files))
    with pytest.raises(DataError, match=r"imagelabels\.mat is needed; put it beside"):
        find_pictures(store, "vgg_flower")
    savemat(tmp_path / "imagelabels.mat", {"labels": [[3, 1, 3, 2]]}, do_compression=True)
    assert names(find_pictures(store, "vgg_flower")[1]) == {
        "1": ["image_00002.jpg"],
        "2": ["image_00004.jpg"],
        "3": ["image_00001.jpg", "image_00003.jpg"],
    }
    savemat(tmp_path / "imagelabels.mat", {"labels": [[3, 1, 3]]})
    with pytest.raises(DataError, match=r"4 images .* is for 3"):
        find_pictures(store, "vgg_flower")
    (tmp_path / "imagelabels.mat").write_bytes(b"not a matrix")
    with pytest.raises(DataError, match=r"imagelabels\.mat holds no labels"):
        find_pictures(store, "vgg_flower")


def test_the_fingerprint_sees_names_and_contents(tmp_path):
    root = write_files(tmp_path / "im", {"a/1.png": b"x", "b/1.png": b"y"})

    def seen(path=root):
        return fingerprint(path, tmp_path / "memory.json")

    before = seen()
    write_files(root, {"a/notes.txt": b"of no matter"})
    assert seen() == before == fingerprint(root, tmp_path / "none.json")
    write_files(root, {"a/1.png": b"y", "b/1.png": b"x"})  # the same names and sizes
    swapped = seen()
    assert swapped != before
    (root / "a" / "1.png").rename(root / "a" / "2.png")
    assert seen() not in (before, swapped)
    archive = tmp_path / "im.zip"
    archive.write_bytes(b"no archive at all")
    first = seen(archive)
    archive.write_bytes(b"of the same size.")
    assert seen(archive) != first


def test_an_archive_may_lie_deeper(tmp_path):
    """As in the folder that the zip of Caltech-101 gives."""
    (tmp_path / "caltech-101").mkdir()
    write_tar(tmp_path / "caltech-101/101_ObjectCategories.tar.gz", {"all/ant/0.png": encoded(photo(0))})
    assert list(find_classes(open_store(tmp_path), depth=1).classes) == ["ant"]


def test_archives_in_a_folder_are_what_it_holds(tmp_path):
    picture = encoded(photo(0))
    write_zip(tmp_path / "images_background.zip", {"images_background/Greek/c1/0.png": picture})
    assert open_store(tmp_path).where.name == "images_background.zip"
    write_tar(tmp_path / "images_evaluation.tar.gz", {"images_evaluation/Oriya/c1/0.png": picture})
    store = open_store(tmp_path)
    layout = find_classes(store, depth=2)
    assert list(layout.classes) == ["Greek/c1", "Oriya/c1"]
    paths = [path for images in layout.classes.values() for path in images]
    assert dict(store.read(paths)) == dict.fromkeys(paths, picture)
    write_zip(tmp_path / "again.zip", {"images_background/Greek/c1/0.png": picture})
    with pytest.raises(DataError, match="hold files of the same names"):
        open_store(tmp_path)


def test_a_member_without_a_name_is_passed_over(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"x/a.png": encoded(photo(0)), "unnamed": b"nothing"})
    archive.write_bytes(archive.read_bytes().replace(b"unnamed", b"\0nnamed"))  # a name ends at a zero byte
    assert [file.path for file in open_store(archive).files] == ["x/a.png"]
