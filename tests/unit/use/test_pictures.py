"""Every form of an image becomes the same pixels, and what is no image is named."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from dfml.errors import DataError
from dfml.use.pictures import is_one, read_files, read_picture, read_pictures

SIDE = 16


def pixels(height=SIDE, width=SIDE, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def as_array(tensor):
    return tensor.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(SIDE, SIDE), (40, 40), (40, 16), (16, 40), (5, 9)])
def test_a_file_a_picture_an_array_and_a_tensor_of_it_are_the_same(tmp_path, size):
    tensor = pixels(*size)
    picture = Image.fromarray(as_array(tensor))
    picture.save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    found = [read_picture(form, SIDE) for form in (path, str(path), picture, as_array(tensor), tensor, tensor.numpy())]
    assert found[0].shape == (3, SIDE, SIDE) and found[0].dtype == torch.float32
    assert all(torch.equal(found[0], other) for other in found[1:])
    assert torch.equal(read_files([path], SIDE)[0].float() / 255, found[0])


def test_images_of_the_right_size_keep_their_values():
    tensor = pixels()
    assert torch.equal(read_picture(tensor, SIDE), tensor.float() / 255)
    values = tensor.double() / 255
    assert torch.equal(read_picture(values, SIDE), values.float())
    assert torch.equal(read_picture(values.permute(1, 2, 0).numpy(), SIDE), values.float())


def test_floats_of_another_size_are_resized_as_bytes_are():
    tensor = pixels(40, 30)
    assert (read_picture(tensor.float() / 255, SIDE) - read_picture(tensor, SIDE)).abs().max() < 0.01


def test_pictures_in_memory_are_read_as_their_files_are(tmp_path):
    draw = np.random.default_rng(0)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        picture = Image.fromarray(draw.integers(0, 256, (20, 20, 4), dtype=np.uint8)).convert(mode)
        picture.save(tmp_path / "a.png")
        assert torch.equal(read_picture(picture, SIDE), read_picture(tmp_path / "a.png", SIDE)), mode
    for mode in ("CMYK", "YCbCr", "HSV"):
        assert read_picture(Image.new(mode, (20, 20)), SIDE).shape == (3, SIDE, SIDE)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_more_than_8_bits_are_scaled_in_memory_as_in_a_file(tmp_path, dtype):
    """Big-endian ones come from microscopes, and would be cut to white."""
    grey = np.random.default_rng(0).integers(0, 65536, (20, 20)).astype(dtype)
    mode = {"<u2": "I;16", ">u2": "I;16B"}[dtype]
    Image.frombytes(mode, (20, 20), grey.tobytes()).save(tmp_path / "grey.tif")
    found = read_picture(tmp_path / "grey.tif", SIDE)
    assert found.max() - found.min() > 0.4
    with Image.open(tmp_path / "grey.tif") as picture:
        assert torch.equal(read_picture(picture, SIDE), found)


def test_pixels_of_32_bits_are_refused_in_memory_as_in_a_file(tmp_path):
    """They may be of any range: of 0 to 255 as well, which would be black among 16 bits."""
    Image.fromarray(np.arange(400, dtype=np.int32).reshape(20, 20)).save(tmp_path / "grey.tif")
    with pytest.raises(DataError, match=r"grey\.tif: cannot be read .*32-bit pixels have no agreed range"):
        read_picture(tmp_path / "grey.tif", SIDE)
    with Image.open(tmp_path / "grey.tif") as picture, pytest.raises(DataError, match="32-bit pixels have no agreed"):
        read_picture(picture, SIDE)


def test_a_picture_that_fails_when_it_is_decoded_is_named(tmp_path):
    Image.fromarray(as_array(pixels(64, 64))).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:700])
    closed = Image.open(tmp_path / "cut.jpg")
    closed.close()
    with Image.open(tmp_path / "cut.jpg") as cut, pytest.raises(DataError) as error:
        read_pictures([pixels(), cut, closed], SIDE)
    assert re.match("image 1: it cannot be read .*image 2: it cannot be read", str(error.value))


@pytest.mark.filterwarnings("error")
def test_arrays_of_another_byte_order_or_locked_ones_are_read():
    array = as_array(pixels())
    array.flags.writeable = False
    assert torch.equal(read_picture(array, SIDE), pixels().float() / 255)
    assert torch.equal(read_picture((array / np.float32(255)).astype(">f4"), SIDE), pixels().float() / 255)


def test_a_turned_picture_is_set_upright():
    turned = Image.fromarray(as_array(pixels()))
    turned.getexif()[0x0112] = 3
    assert torch.equal(read_picture(turned, SIDE), read_picture(pixels().flip(1, 2), SIDE))


def test_several_images_come_in_one_batch():
    batch = torch.stack([pixels(seed=seed) for seed in range(3)])
    mixed = [batch[0], as_array(batch[1]), Image.fromarray(as_array(batch[2]))]
    arrays = np.stack([as_array(one) for one in batch])
    for images in (batch, list(batch), mixed, tuple(mixed), arrays, batch.numpy()):
        assert torch.equal(read_pictures(images, SIDE), batch.float() / 255)
        assert not is_one(images)
    assert all(is_one(one) for one in (batch[0], mixed[1], mixed[2], "a.png"))


def test_rounding_beyond_the_range_is_no_misuse():
    image = torch.full((3, SIDE, SIDE), 1.0000002)
    image[0] = -1e-7
    assert torch.equal(read_picture(image, SIDE), image.clamp(0, 1))


def test_grey_images_in_one_array_are_no_single_image():
    with pytest.raises(DataError, match=r"\(12, 20, 20\), neither an image of three channels nor several of them"):
        read_pictures(np.zeros((12, 20, 20), np.uint8), SIDE)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (pixels().float(), r"float pixels lie in \[0, 1\], .*Divide by 255"),
        (pixels().float() / 255 * 4 - 2, r"float pixels lie in \[0, 1\].*before any normalisation"),
        (pixels().float() / 255 * 1.4 - 0.2, r"float pixels lie in \[0, 1\].*images\.clamp\(0, 1\)"),
        (torch.zeros(3, SIDE, SIDE, device="meta"), "not plain numbers in memory"),
        (torch.zeros(3, SIDE, SIDE).to_sparse(), "not plain numbers in memory"),
        ("https://x.y/z.png", "nothing is downloaded here"),
        (torch.full((3, SIDE, SIDE), float("nan")), r"float pixels lie in \[0, 1\], these between nan"),
        (pixels().long(), "pixels are uint8, or float in .*these are int64"),
        (pixels()[:1], r"three channels.*\(1, 16, 16\), not \[3, height, width\]: repeat a grey channel"),
        (torch.zeros(4, SIDE, SIDE), r"three channels.*\(4, 16, 16\)"),
        (np.zeros((SIDE, SIDE, 4), np.uint8), r"three channels.*not \[height, width, 3\].*leave transparency out"),
        (np.zeros((SIDE, SIDE), np.uint8), r"one image has three dimensions, this is of shape \(16, 16\)"),
        (np.full((SIDE, SIDE, 3), "x"), "an array of <U1 is no image"),
        (torch.zeros(3, 0, SIDE), "has no pixel"),
        (Image.new("RGB", (0, 4)), "has no pixel"),
        (Image.new("F", (4, 4)), "no agreed range"),
        (7, "int is no image; give a path, a PIL picture"),
        (None, "NoneType is no image"),
        ("nowhere.png", "nowhere.png: there is no such file"),
    ],
)
def test_what_is_no_image_is_told(image, message):
    with pytest.raises(DataError, match=f"^image 1: .*{message}"):
        read_pictures([pixels(), image], SIDE)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "there is no image"),
        (torch.zeros(0, 3, SIDE, SIDE), "there is no image"),
        (pixels(), "this is one image where several are wanted; put it into a list"),
        ("a.png", "this is one image where several are wanted"),
        (torch.zeros(1, 1, 3, SIDE, SIDE), "several images have four dimensions"),
        (7, "images must be a list, an array or a tensor, not int"),
        ({"a.png": "cat"}, "images must be a list, an array or a tensor, not dict"),
        ({"a.png"}, "images must be a list, an array or a tensor, not set"),
    ],
)
def test_what_are_no_images_is_told(images, message):
    with pytest.raises(DataError, match=message):
        read_pictures(images, SIDE)


def test_every_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    names = ["broken.png", "text.png", "folder.png", "gone.png"]
    with pytest.raises(DataError) as caught:
        read_pictures([pixels(), *(tmp_path / name for name in names)], SIDE)
    assert all(f"image {place}: {tmp_path / name}" in str(caught.value) for place, name in enumerate(names, 1))


def test_very_many_problems_are_counted():
    with pytest.raises(DataError, match=r"image 19: .*; and 5 more$"):
        read_pictures([None] * 25, SIDE)
