import numpy as np
import pytest

from dfml.data.listing import find_pictures
from dfml.data.sources.opening import open_store
from dfml.errors import DataError
from support.pictures import pickled, write_files, write_tar

NAMES = [b"apple", b"tank"]


def part(labels, seed, **changes):
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    return pixels, {b"fine_labels": labels, b"coarse_labels": [0] * len(labels), b"data": pixels} | changes


TRAIN, TRAIN_PART = part([1, 0, 1], 0)
TEST, TEST_PART = part([0, 1], 1)


def files(**changes):
    contents = {"meta": {b"fine_label_names": NAMES}, "train": TRAIN_PART, "test": TEST_PART} | changes
    return {f"cifar-100-python/{name}": c if isinstance(c, bytes) else pickled(c) for name, c in contents.items()}


@pytest.mark.parametrize("packed", [True, False])
def test_the_authors_archive_and_what_it_unpacks_to(tmp_path, packed):
    archive = tmp_path / "cifar-100-python.tar.gz"
    path = write_tar(archive, files()) if packed else write_files(tmp_path, files())
    store, layout = find_pictures(open_store(path), "cifar_fs")
    assert {name: len(images) for name, images in layout.classes.items()} == {"apple": 2, "tank": 3}
    contents = dict(store.read(layout.classes["tank"]))
    expected = [TRAIN[0], TRAIN[2], TEST[1]]
    assert [contents[path].tolist() for path in layout.classes["tank"]] == [
        pixels.reshape(3, 32, 32).tolist() for pixels in expected
    ]


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("train", [{b"fine_labels": Evil()}, Evil(), np.array([Evil()], dtype=object)])
def test_code_in_a_pickle_is_not_run(tmp_path, train, capsys):
    path = write_tar(tmp_path / "a.tar.gz", files(train=train))
    with pytest.raises(
        DataError, match=r"is not the pickle of CIFAR-100's authors \(UnpicklingError: it wants .*\.print"
    ):
        find_pictures(open_store(path), "cifar_fs")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (pickled(TRAIN_PART)[:3000], "is not the pickle"),
        (b"", "is not the pickle"),
        ([1, 2], "is not the pickle"),
        ({b"fine_labels": [0]}, "has no data"),
        (TRAIN_PART | {b"data": TRAIN.astype(np.float32)}, "does not hold 3 images"),
        (TRAIN_PART | {b"data": TRAIN[:2]}, "does not hold 3 images"),
        (TRAIN_PART | {b"fine_labels": [0, 1, 2]}, "are not those of 2 classes"),
        (TRAIN_PART | {b"fine_labels": ["a", 0, 0]}, "are not those of 2 classes"),
    ],
)
def test_other_contents_are_refused(tmp_path, train, message):
    path = write_tar(tmp_path / "a.tar", files(train=train))
    with pytest.raises(DataError, match=message):
        find_pictures(open_store(path), "cifar_fs")


@pytest.mark.parametrize("names", [[b"apple", b"\x80\x03"], ["apple", "tank"], [b"apple", 3]])
def test_damaged_names_of_classes_are_refused(tmp_path, names):
    path = write_tar(tmp_path / "a.tar", files(meta={b"fine_label_names": names}))
    with pytest.raises(DataError, match="the names of the classes are damaged"):
        find_pictures(open_store(path), "cifar_fs")
