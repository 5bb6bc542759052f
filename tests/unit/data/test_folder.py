import numpy as np
import pytest
from PIL import Image

from dfml.data.sources.folder import list_classes, read_classes, read_image
from dfml.errors import DataError

RED = (200, 30, 30)


def picture(mode="RGB", colour=RED, size=(20, 20)):
    return Image.new(mode, size, colour)


def saved(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def centre(path):
    return tuple(int(value) for value in read_image(path, side=16)[:, 8, 8])


def test_classes_and_files_are_sorted_and_filtered(tmp_path):
    for name in (
        "b/2.png",
        "b/10.PNG",
        "b/1.Jpg",
        "b/.hidden.png",
        "a/x.tiff",
        ".cache/y.png",
        "b/deep/z.png",
    ):
        file = tmp_path / name
        saved(file, picture(), format="JPEG" if name.lower().endswith("jpg") else "PNG")
    (tmp_path / "b" / "notes.txt").write_text("no image")
    (tmp_path / "readme.png").write_text("not in a class")
    classes = list_classes(tmp_path)
    assert {c: [p.name for p in files] for c, files in classes.items()} == {
        "a": ["x.tiff"],
        "b": ["1.Jpg", "10.PNG", "2.png"],
    }
    assert list(classes) == ["a", "b"]


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "TIFF"])
def test_formats(tmp_path, extension):
    path = saved(tmp_path / "a" / f"x.{extension}", picture())
    assert list_classes(tmp_path) == {"a": [path]}
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


def test_cmyk(tmp_path):
    red, green, blue = centre(saved(tmp_path / "a.jpg", picture("CMYK", (0, 255, 255, 0))))
    assert red > 240
    assert green < 20
    assert blue < 20


def test_first_frame_of_an_animation(tmp_path):
    path = tmp_path / "a.gif"
    picture().save(path, save_all=True, append_images=[picture(colour=(0, 0, 255))])
    assert centre(path) == RED


def test_classes_are_read_in_order(tmp_path):
    files = {
        name: [saved(tmp_path / name / f"{i}.png", picture(colour=(i, 0, 9))) for i in range(count)]
        for name, count in (("b", 3), ("a", 2))
    }
    arrays = read_classes(files, side=16)
    assert list(arrays) == ["b", "a"]
    assert arrays["b"].shape == (3, 3, 16, 16)
    assert [int(image[0, 0, 0]) for image in arrays["b"]] == [0, 1, 2]


def test_all_broken_images_are_named_at_once(tmp_path):
    good = saved(tmp_path / "a" / "good.png", picture())
    content = good.read_bytes()
    broken = {
        "empty.png": b"",
        "text.jpg": b"not an image",
        "cut.png": content[: len(content) // 2],
        "header.png": content[:8] + b"\0" * 20,
    }
    for name, data in broken.items():
        (tmp_path / "a" / name).write_bytes(data)
    saved(tmp_path / "a" / "float.tif", Image.fromarray(np.zeros((4, 4), np.float32)))
    with pytest.raises(DataError, match="replace or remove them") as caught:
        read_classes(list_classes(tmp_path), side=16)
    message = str(caught.value)
    assert all(name in message for name in [*broken, "float.tif"])
    assert "good.png" not in message


def test_many_broken_images_are_counted(tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(25):
        (tmp_path / "a" / f"{i:02}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"19\.png.* and 5 more; replace") as caught:
        read_classes(list_classes(tmp_path), side=16)
    assert "20.png" not in str(caught.value)


def test_empty_places(tmp_path):
    with pytest.raises(DataError, match=r"missing is not a directory; `path`"):
        list_classes(tmp_path / "missing")
    with pytest.raises(DataError, match="has no sub-folders"):
        list_classes(tmp_path)
    saved(tmp_path / "train" / "ant" / "0.png", picture())
    with pytest.raises(DataError, match="directly above the class folders"):
        list_classes(tmp_path)
