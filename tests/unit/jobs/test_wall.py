"""The data-free wall, tested by trying to read through it."""

import mmap
import os
import threading
import timeit
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfml.data.sources.opening import open_store
from dfml.errors import DfmlError
from dfml.jobs.wall import WallError, data_free_wall, real_image_folders
from support.pictures import write_tar, write_zip


@pytest.fixture
def images(tmp_path):
    """A folder of images, as an array and as a picture, and a link to it."""
    folder = tmp_path / "images"
    folder.mkdir()
    np.save(folder / "x.npy", np.arange(4))
    np.savez(folder / "x.npz", x=np.arange(4))
    Image.new("RGB", (2, 2)).save(folder / "x.png")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "images_recovered").mkdir()
    (tmp_path / "images_recovered" / "bank.txt").write_text("free")
    return folder


READERS = {
    "open": lambda folder: open(folder / "x.npz", "rb").close(),
    "open bytes": lambda folder: open(os.fsencode(folder / "x.npz"), "rb").close(),
    "Path": lambda folder: (folder / "x.npz").read_bytes(),
    "os.open": lambda folder: os.close(os.open(folder / "x.npz", os.O_RDONLY)),
    "np.load": lambda folder: np.load(folder / "x.npz").close(),
    "memory map": lambda folder: np.load(folder / "x.npy", mmap_mode="r"),
    "fromfile": lambda folder: np.fromfile(folder / "x.npy"),
    "PIL": lambda folder: Image.open(folder / "x.png").close(),
    "link": lambda folder: (folder.parent / "link" / "x.npz").read_bytes(),
    "up and down": lambda folder: (folder / ".." / "images" / "x.npz").read_bytes(),
    "relative": lambda folder: Path(os.path.relpath(folder / "x.npz")).read_bytes(),
    "the folder": lambda folder: os.close(os.open(folder, os.O_RDONLY)),
    "hard link": lambda folder: os.link(folder / "x.npz", folder.parent / "stolen"),
    "rename": lambda folder: os.rename(folder / "x.npz", folder.parent / "stolen"),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_no_way_of_reading_passes(images, read):
    with data_free_wall([images]), pytest.raises(WallError, match="behind the data-free wall"):
        read(images)
    read(images)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_an_archive_of_images_is_behind_the_wall(tmp_path, name):
    path = (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, {"ant/0.png": b"x"})
    roots = real_image_folders("demo", {"mine": str(path)})
    store = open_store(path)
    with data_free_wall(roots), pytest.raises(WallError, match="behind the data-free wall"):
        open_store(path)
    with data_free_wall(roots), pytest.raises(WallError, match="behind the data-free wall"):
        list(store.read(["ant/0.png"]))
    assert dict(store.read(["ant/0.png"])) == {"ant/0.png": b"x"}


def test_the_error_is_shown_to_users():
    assert issubclass(WallError, DfmlError)


def test_a_root_that_is_a_link_or_relative_is_walled_by_both_names(images, monkeypatch):
    monkeypatch.chdir(images.parent)
    for root in (images.parent / "link", Path("link"), "images"):
        with data_free_wall([root]):
            for path in (images / "x.npz", images.parent / "link" / "x.npz"):
                if root != "images" or path.parent == images:
                    with pytest.raises(WallError):
                        path.read_bytes()


def test_a_link_out_of_the_root_is_walled(images):
    outside = images.parent / "outside.npz"
    (images / "x.npz").rename(outside)
    (images / "x.npz").symlink_to(outside)
    with data_free_wall([images]), pytest.raises(WallError):
        (images / "x.npz").read_bytes()


def test_what_only_looks_alike_is_free(images):
    with data_free_wall([images, images.parent / "absent"]):
        assert (images.parent / "images_recovered" / "bank.txt").read_text() == "free"
        with pytest.raises(FileNotFoundError):
            (images.parent / "nothing").read_bytes()


def test_mapping_and_descriptors_opened_before_do_not_break(images):
    with (images / "x.npy").open("rb") as stream, data_free_wall([images]):
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
            assert view[:6] == b"\x93NUMPY"
        os.close(os.open(images.parent, os.O_RDONLY))
        with open(os.dup(stream.fileno()), "rb") as copy:
            assert copy.readable()


def test_walls_nest_and_fall_with_an_error(images):
    other = images.parent / "images_recovered"
    with data_free_wall([images]):
        with pytest.raises(ZeroDivisionError), data_free_wall([other]):
            for path in (images / "x.npz", other / "bank.txt"):
                with pytest.raises(WallError):
                    path.read_bytes()
            _ = 1 / 0
        assert (other / "bank.txt").read_text() == "free"
        with pytest.raises(WallError):
            (images / "x.npz").read_bytes()
    assert (images / "x.npz").read_bytes()


def test_other_threads_are_walled(images):
    caught = []

    def read():
        try:
            (images / "x.npz").read_bytes()
        except WallError as error:
            caught.append(error)

    with data_free_wall([images]):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert len(caught) == 1


def test_a_fallen_wall_costs_next_to_nothing(images):
    with data_free_wall([images]):
        pass
    path = images / "x.npz"
    assert min(timeit.repeat(lambda: os.close(os.open(path, os.O_RDONLY)), number=200, repeat=5)) / 200 < 1e-3


def test_the_wall_stands_around_every_place_of_real_images():
    datasets = {"icons": None, "mine": "~/pictures"}
    assert real_image_folders("toy", datasets) == [
        Path("resources/embedded"),
        Path("results/toy/images"),
        Path.home() / "pictures",
    ]


def test_a_method_that_reads_some_images_is_kept_from_all_others():
    datasets = {"icons": None, "emoji": None, "mine": "~/pictures"}
    assert real_image_folders("toy", datasets, but=[Path("results/toy/images/emoji")]) == [
        Path("resources/embedded"),
        Path("results/toy/images/icons"),
        Path("results/toy/images/mine"),
        Path("results/toy/images/emoji/meta_val.npz"),
        Path("results/toy/images/emoji/meta_test.npz"),
        Path.home() / "pictures",
    ]
