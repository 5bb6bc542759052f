import numpy as np
import pytest
from PIL import Image, ImageOps

from dfml.data.sources.folder import Folder, is_image, read_image
from dfml.errors import DataError
from support.pictures import photo, write_files

RED = (200, 30, 30)


def picture(mode="RGB", colour=RED, size=(20, 20)):
    return Image.new(mode, size, colour)


def saved(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def centre(path):
    return tuple(int(value) for value in read_image(path, side=16)[:, 8, 8])


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "JFIF", "jpe", "png", "bmp", "gif", "webp", "tif", "TIFF"])
def test_formats(tmp_path, extension):
    kind = {"format": "JPEG"} if extension.lower() in ("jfif", "jpe") else {}
    path = saved(tmp_path / "a" / f"x.{extension}", picture(), **kind)
    assert is_image(str(path))
    assert np.abs(np.subtract(centre(path), RED)).max() <= 6


def test_resizing_averages_and_does_not_keep_the_aspect_ratio(tmp_path):
    stripes = np.zeros((64, 128), np.uint8)
    stripes[:, ::2] = 200
    stripes[:, 64:] = 40
    image = read_image(saved(tmp_path / "x.png", Image.fromarray(stripes)), side=16)
    assert image.shape == (3, 16, 16)
    assert image.dtype == np.uint8
    assert (np.abs(image[:, :, 2].astype(int) - 100) <= 2).all()
    assert (image[:, :, 12] == 40).all()


def test_exif_orientation(tmp_path):
    image = picture(size=(32, 16))
    image.paste((0, 0, 255), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    path = saved(tmp_path / "x.jpg", image, exif=exif, quality=95)
    turned = read_image(path, side=16)
    assert turned[2, 3, 8] > 200
    assert turned[2, 12, 8] < 100


def test_transparency_is_laid_over_white(tmp_path):
    assert centre(saved(tmp_path / "a.png", picture("RGBA", (*RED, 0)))) == (255, 255, 255)
    half = centre(saved(tmp_path / "b.png", picture("RGBA", (0, 0, 0, 128))))
    assert half == (127, 127, 127)
    assert centre(saved(tmp_path / "c.png", picture("LA", (0, 0)))) == (255, 255, 255)
    palette = picture("P", 3)
    palette.putpalette([0, 0, 0] * 3 + list(RED) + [0, 0, 0] * 252)
    assert centre(saved(tmp_path / "d.png", palette)) == RED
    assert centre(saved(tmp_path / "e.gif", palette, transparency=3)) == (255, 255, 255)
    assert centre(saved(tmp_path / "f.png", picture("RGB"), transparency=RED)) == (255, 255, 255)


def test_grey_of_8_16_and_1_bit(tmp_path):
    assert centre(saved(tmp_path / "a.png", picture("L", 77))) == (77, 77, 77)
    for value, expected in ((0, 0), (257 * 100, 100), (65535, 255)):
        image = Image.fromarray(np.full((20, 20), value, np.uint16))
        for extension in ("png", "tif"):
            path = saved(tmp_path / f"{value}.{extension}", image)
            assert centre(path) == (expected,) * 3
    assert centre(saved(tmp_path / "c.png", picture("1", 1))) == (255, 255, 255)


def test_transparency_of_16_bit_grey_is_laid_over_white(tmp_path):
    grey = np.full((8, 8), 1000, dtype=np.uint16)
    grey[4:] = 60000
    Image.fromarray(grey).save(tmp_path / "grey.png", transparency=1000)
    found = read_image(tmp_path / "grey.png", side=8)
    assert (found[:, :4] == 255).all() and (found[:, 4:] == 233).all()


def test_what_macos_adds_is_no_class(tmp_path):
    write_files(tmp_path, {"ant/0.png": b"", "__MACOSX/ant/._0.png": b""})
    assert [file.path for file in Folder(tmp_path).files] == ["ant/0.png"]
    assert Folder(tmp_path).folders == {"ant"}


def test_cmyk(tmp_path):
    red, green, blue = centre(saved(tmp_path / "a.jpg", picture("CMYK", (0, 255, 255, 0))))
    assert red > 240
    assert green < 20
    assert blue < 20


def test_first_frame_of_an_animation(tmp_path):
    path = tmp_path / "a.gif"
    picture().save(path, save_all=True, append_images=[picture(colour=(0, 0, 255))])
    assert centre(path) == RED


@pytest.mark.parametrize("extension", ["png", "webp", "jpg"])
def test_exif_that_cannot_be_read_does_not_matter(tmp_path, extension):
    path = saved(tmp_path / f"x.{extension}", picture(), exif=b"Exif\0\0garbage")
    assert np.abs(np.subtract(centre(path), RED)).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_every_orientation_is_that_of_pillow(tmp_path, orientation, extension):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"x.{extension}", photo(1, 32), exif=exif)
    with Image.open(path) as opened:
        expected = np.asarray(
            ImageOps.exif_transpose(opened).convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
        )
    assert np.array_equal(read_image(path, side=16).transpose(1, 2, 0), expected)


def test_large_jpeg_is_read_smaller_and_looks_the_same(tmp_path):
    path = saved(tmp_path / "x.jpg", photo(1, 640), quality=95)
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    difference = np.abs(read_image(path, side=32).transpose(1, 2, 0) - expected)
    assert 0 < difference.max() <= 6
    assert difference.mean() < 1


def test_files_of_a_folder_are_sorted_and_visible(tmp_path):
    write_files(tmp_path, dict.fromkeys(("b/2.png", "b/10.png", ".cache/y.png", "b/.z.png", "a/deep/x.txt"), b"x"))
    (tmp_path / "empty").mkdir()
    folder = Folder(tmp_path)
    assert [file.path for file in folder.files] == ["a/deep/x.txt", "b/10.png", "b/2.png"]
    assert folder.folders == {"a", "a/deep", "b", "empty"}
    assert dict(folder.read(["b/2.png"])) == {"b/2.png": b"x"}


def test_a_link_to_nothing_is_no_image_less_without_a_word(tmp_path):
    write_files(tmp_path, {"a/x.png": b"x"})
    (tmp_path / "a" / "y.png").symlink_to(tmp_path / "gone.png")
    folder = Folder(tmp_path)
    assert [file.path for file in folder.files] == ["a/x.png", "a/y.png"]
    with pytest.raises(DataError, match=r"a/y\.png cannot be read \(No such file"):
        list(folder.read(["a/y.png"]))


def test_a_link_to_above_ends(tmp_path):
    write_files(tmp_path, {"a/x.png": b"x"})
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert len(Folder(tmp_path).files) < 10


def test_a_file_that_goes_away_is_named(tmp_path):
    folder = Folder(write_files(tmp_path, {"a/x.png": b"x"}))
    (tmp_path / "a" / "x.png").unlink()
    with pytest.raises(DataError, match=r"a/x\.png cannot be read \(No such file"):
        list(folder.read(["a/x.png"]))
