import re

import numpy as np
import pytest
from PIL import Image

from dfml.data.packing import pack
from dfml.data.sources.layouts import find_classes
from dfml.data.sources.opening import open_store
from dfml.errors import DataError
from support.pictures import class_files, encoded, photo, write_files, write_zip


def packed(path, side=16, workers=1):
    store = open_store(path)
    return pack(store, find_classes(store).classes, side=side, workers=workers)


def test_images_are_packed_class_by_class_in_the_order_of_their_names(tmp_path):
    pictures = {f"{c}/{i}.png": photo(10 * n + i, 16) for n, c in enumerate(("bee", "ant")) for i in (0, 1, 2)}
    made = packed(write_files(tmp_path, {path: encoded(image) for path, image in pictures.items()}))
    assert made.counts == {"ant": 3, "bee": 3}
    assert made.paths == [f"{c}/{i}.png" for c in ("ant", "bee") for i in (0, 1, 2)]
    assert made.x.shape == (6, 3, 16, 16)
    for row, path in enumerate(made.paths):
        assert np.array_equal(made.x[row].transpose(1, 2, 0), np.asarray(pictures[path]))


def test_the_number_of_workers_and_the_store_change_nothing(tmp_path):
    files = class_files({"ant": 90, "bee": 70, "cat": 3})
    root, archive = write_files(tmp_path / "a", files), write_zip(tmp_path / "a.zip", dict(reversed(files.items())))
    first = packed(root)
    for other in (packed(root, workers=2), packed(root, workers=5), packed(archive, workers=2)):
        assert np.array_equal(first.x, other.x)
        assert (first.paths, first.files, first.counts) == (other.paths, other.files, other.counts)


def test_all_broken_images_are_named_at_once(tmp_path):
    content = encoded(photo(0))
    broken = {
        "a/cut.png": content[: len(content) // 2],
        "a/empty.png": b"",
        "a/header.png": content[:8] + b"\0" * 20,
        "b/text.jpg": b"not an image",
        "b/float.tif": encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"),
    }
    root = write_files(tmp_path, broken | {"a/good.png": content})
    with pytest.raises(DataError, match="replace or remove them") as caught:
        packed(root, workers=2)
    message = str(caught.value)
    assert [message.index(name) for name in sorted(broken)] == sorted(message.index(name) for name in broken)
    assert "good.png" not in message


def test_files_that_cannot_be_opened_are_named_with_those_that_cannot_be_decoded(tmp_path):
    root = write_files(tmp_path, {"a/0.png": encoded(photo(0)), "a/cut.png": b"\x89PNG"})
    for name in ("a/gone.png", "b/gone.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(root / "nowhere")
    with pytest.raises(DataError) as caught:
        packed(root)
    message = str(caught.value)
    assert re.search(r"cut\.png .*replace or remove them\. .*a/gone\.png cannot be read .*b/gone\.png cannot", message)
    (root / "a/cut.png").unlink()
    with pytest.raises(DataError, match=r"^.*a/gone\.png cannot be read .*b/gone\.png .*; mend or remove them$"):
        packed(root)


def test_many_broken_images_are_counted(tmp_path):
    write_files(tmp_path, {f"a/{i:03}.png": b"" for i in range(150)})
    with pytest.raises(DataError, match=r"019\.png.* and 130 more; replace") as caught:
        packed(tmp_path, workers=3)
    assert "020.png" not in str(caught.value)
