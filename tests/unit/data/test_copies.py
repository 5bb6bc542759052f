import logging

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dfml.data.copies import without_copies
from dfml.data.packing import pack
from dfml.data.sources.layouts import find_classes
from dfml.data.sources.opening import open_store
from support.pictures import encoded, photo, write_files

PART = {"a": "meta_train", "b": "meta_val", "c": "meta_test"}
# Each class has three pictures of its own.
OWN = {f"{c}/{i}.png": encoded(photo(10 * n + i, 64)) for n, c in enumerate(PART) for i in range(3)}


def kept(root, extra, side=32):
    """What is left of every class, and what was counted."""
    store = open_store(write_files(root, OWN | extra))
    packed = pack(store, find_classes(store).classes, side=side)
    before = dict(zip(packed.paths, packed.x.copy(), strict=True))
    parts = [PART[path[0]] for path in packed.paths]
    after, copies = without_copies(packed, parts)
    for path, image in zip(after.paths, after.x, strict=True):
        assert np.array_equal(image, before[path])
    assert after.counts == {c: sum(path[0] == c for path in after.paths) for c in PART}
    assert len(after.x) == len(after.files) == len(after.paths)
    return set(after.paths), copies


def test_nothing_is_left_out_of_different_pictures(tmp_path):
    left, copies = kept(tmp_path, {})
    assert left == set(OWN)
    assert copies.model_dump() == {
        "same_files": 0,
        "same_pixels": 0,
        "across_splits": 0,
        "dropped": {"meta_train": [], "meta_val": []},
    }


@pytest.mark.parametrize(("copy", "split"), [("a/x.png", "meta_train"), ("b/x.png", "meta_val")])
def test_a_file_of_meta_test_is_left_out_elsewhere(tmp_path, caplog, copy, split):
    with caplog.at_level(logging.WARNING):
        left, copies = kept(tmp_path, {copy: OWN["c/1.png"]})
    assert left == set(OWN)
    assert copies.dropped[split] == [copy]
    assert (copies.same_files, copies.same_pixels, copies.across_splits) == (1, 1, 1)
    assert f"left out {copy}: meta-test shows the same in c/1.png" in caplog.text


def test_the_same_pixels_in_another_file_are_left_out_too(tmp_path):
    left, copies = kept(tmp_path, {"a/x.bmp": encoded(photo(21, 64), "BMP")})
    assert left == set(OWN)
    assert copies.dropped["meta_train"] == ["a/x.bmp"]
    assert (copies.same_files, copies.same_pixels) == (0, 1)


@pytest.mark.parametrize("options", [{"quality": 95}, {"quality": 75}, {"quality": 50}])
@pytest.mark.parametrize("size", [64, 40])
def test_a_picture_that_was_encoded_anew_is_left_out(tmp_path, options, size):
    again = encoded(photo(21, 64).resize((size, size)), "JPEG", **options)
    left, copies = kept(tmp_path, {"a/x.jpg": again, "b/y.jpg": again})
    assert left == set(OWN)
    assert copies.dropped == {"meta_train": ["a/x.jpg"], "meta_val": ["b/y.jpg"]}
    assert copies.same_files == 1  # the two with each other
    assert copies.across_splits == 1


def test_copies_elsewhere_are_counted_and_stay(tmp_path):
    extra = {"a/x.png": OWN["a/0.png"], "b/x.png": OWN["a/1.png"], "c/x.png": OWN["c/0.png"]}
    left, copies = kept(tmp_path, extra)
    assert left == set(OWN) | set(extra)
    assert (copies.same_files, copies.same_pixels, copies.across_splits) == (3, 3, 1)


def drawing(*lines):
    image = Image.new("L", (64, 64), "white")
    for line in lines:
        ImageDraw.Draw(image).line(line, fill="black", width=3)
    return encoded(image)


def test_what_merely_resembles_a_picture_stays(tmp_path):
    plain = {
        f"{c}/plain{i}.png": encoded(Image.new("RGB", (20, 20), (9 * i, 7, n)))
        for n, c in enumerate(PART)
        for i in (1, 2)
    }
    strokes = [(10, 10, 50, 12), (10, 12, 10, 52), (50, 12, 50, 52), (10, 52, 50, 52), (20, 30, 40, 30)]
    drawings = {"a/box.png": drawing(*strokes[:4]), "c/box.png": drawing(*strokes)}
    shifted = {"b/shifted.png": encoded(photo(21, 80).crop((8, 8, 72, 72)))}
    extra = plain | drawings | shifted
    assert kept(tmp_path, extra)[0] == set(OWN) | set(extra)


@pytest.mark.parametrize("side", [16, 20, 28, 84])
def test_any_side_will_do(tmp_path, side):
    left, _ = kept(tmp_path, {"a/x.jpg": encoded(photo(21, 64), "JPEG", quality=90)}, side)
    assert left == set(OWN)
