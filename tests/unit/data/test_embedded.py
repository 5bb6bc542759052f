import hashlib
import json
import re

import numpy as np
import pytest

from dfml.data.settings import EMBEDDED_FILES
from dfml.data.sources.colour import CONTRAST, SHIFT, colour_masks
from dfml.data.sources.embedded import read_embedded
from dfml.errors import DataError, FileFormatError
from support.repository import ROOT

RESOURCES = ROOT / "resources" / "embedded"
# Names and pixels of icons_colour. If this changes, every result on icons_colour changes.
COLOUR_DIGEST = "deb123833111d7895c79a44ec5e33be16f232e9e8a0bb75746c47026eeb90ccd"


@pytest.fixture(scope="module")
def coloured():
    return read_embedded("icons_colour", RESOURCES)


@pytest.mark.parametrize(("name", "classes"), [("icons", 100), ("emoji", 102), ("glyphs", 100)])
def test_images_of_the_file_in_its_order(name, classes):
    images = read_embedded(name, RESOURCES)
    with np.load(RESOURCES / f"{name}.npz") as stored:
        x, y, names = stored["x"], stored["y"], stored["names"]
    assert len(images) == classes
    for c in (0, 7, classes - 1):
        expected = x[y == c]
        expected = expected[:, None].repeat(3, 1) if expected.ndim == 3 else np.moveaxis(expected, 3, 1)
        assert images[str(names[c])].dtype == np.uint8
        assert np.array_equal(images[str(names[c])], expected)


def test_coloured_icons_are_the_same_everywhere(coloured):
    digest = hashlib.sha256()
    for name in sorted(coloured):
        digest.update(name.encode())
        digest.update(coloured[name].tobytes())
    assert digest.hexdigest() == COLOUR_DIGEST


def test_coloured_icons_keep_classes_and_counts(coloured):
    icons = read_embedded("icons", RESOURCES)
    assert {n: x.shape for n, x in coloured.items()} == {n: x.shape for n, x in icons.items()}


def test_colours_have_contrast():
    masks = np.zeros((500, 32, 32), np.uint8)
    masks[:, 8:24, 8:24] = 255
    images = colour_masks(masks, np.random.default_rng(0)).astype(int)
    luma = np.tensordot([30, 59, 11], images, (0, 1))
    ink, ground = luma[:, 16, 16], luma[:, 0, 0]
    assert np.abs(ink - ground).min() > 100 * CONTRAST
    assert 0.3 < (ink > ground).mean() < 0.7


class Still:
    """A generator whose jitter is none and whose colours are white ink on a black ground."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def uniform(self, low, high, shape):
        if low == -SHIFT:
            return np.full(shape, self.shift)
        return np.full(shape, 1.0 if high == 1.0 else 0.0)

    def integers(self, low, high, shape, dtype):
        pairs = np.zeros(shape, dtype)
        pairs[:, 0] = 255
        return pairs


def test_without_jitter_a_smooth_mask_stays():
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    mask = np.broadcast_to(ramp[:, None], (1, 32, 32))
    image = colour_masks(mask, Still())[0]
    assert np.abs(image[0].astype(int) - mask[0]).max() <= 4
    assert np.array_equal(image[0], image[1])


def test_a_whole_shift_moves_the_mask():
    mask = np.zeros((1, 32, 32), np.uint8)
    mask[0, 10:14, 20:24] = 255
    still, moved = colour_masks(mask, Still())[0, 0], colour_masks(mask, Still(shift=2.0))[0, 0]
    assert np.array_equal(np.roll(still, (2, 2), (0, 1)), moved)
    assert (still >= 128).sum() == 16


def test_unknown_name():
    with pytest.raises(DataError, match=r"'icon' is not an embedded data set.*icons_colour"):
        read_embedded("icon", RESOURCES)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(FileFormatError, match=r"glyphs\.npz is missing"):
        read_embedded("glyphs", tmp_path)
    (tmp_path / "glyphs.npz").write_bytes((RESOURCES / "glyphs.npz").read_bytes()[:5000])
    with pytest.raises(FileFormatError, match=r"glyphs\.npz is truncated"):
        read_embedded("glyphs", tmp_path)
    np.savez(tmp_path / "glyphs.npz", x=np.zeros((2, 8, 8), np.uint8), y=np.zeros(2), names=np.array(["a"]))
    with pytest.raises(FileFormatError, match="32x32"):
        read_embedded("glyphs", tmp_path)


@pytest.mark.parametrize("name", sorted(set(EMBEDDED_FILES.values())))
def test_every_image_is_credited(name):
    credits = json.loads((RESOURCES / f"{name}.attribution.json").read_text(encoding="utf-8"))
    page = (RESOURCES / "ATTRIBUTION.md").read_text(encoding="utf-8")
    with np.load(RESOURCES / f"{name}.npz") as stored:
        total = len(stored["y"])
    assert total == sum(c["images"] if "images" in c else sum(c["families"].values()) for c in credits)
    for entry in credits:
        assert (entry.get("title") or entry["debian_package"]).replace("|", "\\|") in page
        licence = RESOURCES / "LICENSES" / f"{entry['licence']}.txt"
        assert licence.is_file() or entry["licence"] == "public domain"


def test_fxemojis_artwork_is_credited_as_its_authors_say():
    credits = json.loads((RESOURCES / "emoji.attribution.json").read_text(encoding="utf-8"))
    assert [c["licence"] for c in credits if c["set"] == "fxemoji"] == ["CC-BY-4.0"]


def test_links_of_the_credits_exist():
    for page in ("ATTRIBUTION.md", "PROVENANCE.md"):
        text = (RESOURCES / page).read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
        assert links
        assert all((RESOURCES / link).exists() for link in links)
