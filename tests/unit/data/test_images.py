import numpy as np
import pytest
import torch

from dfml.artefacts.images import MANIFEST, ImagesManifest
from dfml.data.images import ClassImages, class_images, load_images, packed_images, save_images
from dfml.errors import DataError, FileFormatError
from dfml.files.reading import sha256_file


def make(split="meta_train", *, names=("ant", "bee"), counts=(3, 2), side=4, seed=0, dataset="toy"):
    draws = torch.Generator().manual_seed(seed)
    images = [torch.randint(0, 256, (n, 3, side, side), generator=draws, dtype=torch.uint8) for n in counts]
    return ClassImages(dataset, split, names, images, "CC0-1.0")


def all_splits():
    return {
        "meta_train": make(),
        "meta_val": make("meta_val", names=("cat",), counts=(2,), seed=1),
        "meta_test": make("meta_test", names=("dog", "élan", "雁"), counts=(1, 2, 3), seed=2),
    }


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "images" / "toy"
    save_images(folder, all_splits(), source="folder")
    return folder


def test_what_is_saved_is_loaded(saved):
    for split, images in all_splits().items():
        loaded = load_images(saved / f"{split}.npz")
        for field in ("dataset", "split", "names", "licence", "counts", "classes", "side", "channels"):
            assert getattr(loaded, field) == getattr(images, field)
        assert all(torch.equal(a, b) for a, b in zip(loaded.images, images.images, strict=True))


def test_manifest_describes_the_files(saved):
    manifest = ImagesManifest.load(saved / MANIFEST)
    assert (manifest.dataset, manifest.source, manifest.licence) == ("toy", "folder", "CC0-1.0")
    assert (manifest.side, manifest.channels) == (4, 3)
    for split, images in all_splits().items():
        entry = manifest.splits[split]
        assert tuple(entry.names) == images.names
        assert tuple(entry.counts) == images.counts
        assert entry.sha256 == sha256_file(saved / entry.file)
    x = make().packed()[0].double() / 255
    assert torch.allclose(torch.tensor(manifest.mean).double(), x.mean((0, 2, 3)), atol=1e-12)
    deviation = x.transpose(0, 1).flatten(1).std(1, correction=0)
    assert torch.allclose(torch.tensor(manifest.std, dtype=torch.float64), deviation, atol=1e-12)


def test_a_constant_channel_keeps_a_positive_deviation(tmp_path):
    grey = [torch.full((2, 3, 4, 4), 9, dtype=torch.uint8)]
    splits = {s: ClassImages("toy", s, ("a",), grey, "") for s in ("meta_train", "meta_val", "meta_test")}
    save_images(tmp_path, splits, source="folder")
    assert ImagesManifest.load(tmp_path / MANIFEST).std == [1 / 255] * 3


def test_same_images_same_bytes(saved, tmp_path):
    save_images(tmp_path / "again", all_splits(), source="folder")
    for file in ("meta_train.npz", "meta_val.npz", "meta_test.npz", "images.json"):
        assert (saved / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_packed_rows_follow_the_offsets():
    images = make()
    x, offsets = images.packed()
    assert offsets.tolist() == [0, 3, 5]
    assert offsets.dtype == torch.int64
    for c, expected in enumerate(images.images):
        assert torch.equal(x[offsets[c] : offsets[c + 1]], expected)


def test_classes_of_one_tensor_are_packed_without_a_copy(saved):
    x = np.arange(5 * 3 * 4 * 4, dtype=np.uint8).reshape(5, 3, 4, 4)
    images = packed_images("toy", "meta_val", x, {"ant": 2, "bee": 3}, "")
    assert images.counts == (2, 3)
    assert images.packed()[0].data_ptr() == torch.from_numpy(x).data_ptr()
    assert np.array_equal(images.packed()[0].numpy(), x)
    loaded = load_images(saved / "meta_test.npz")
    assert loaded.packed()[0].data_ptr() == loaded.images[0].data_ptr()
    turned = ClassImages("toy", "meta_val", ("ant", "bee"), images.images[::-1], "")
    assert np.array_equal(turned.packed()[0].numpy(), np.concatenate([x[2:], x[:2]]))
    part = ClassImages("toy", "meta_val", ("ant",), images.images[1:], "")
    assert np.array_equal(part.packed()[0].numpy(), x[2:])


def test_a_published_normalisation_is_written_as_it_is(tmp_path):
    save_images(tmp_path, all_splits(), source="cub", normalisation=((0.5, 0.4, 0.3), (0.1, 0.2, 0.3)))
    manifest = ImagesManifest.load(tmp_path / MANIFEST)
    assert (manifest.mean, manifest.std, manifest.normalisation) == ([0.5, 0.4, 0.3], [0.1, 0.2, 0.3], "published")


def test_missing_file(tmp_path):
    with pytest.raises(FileFormatError, match=r"meta_val\.npz is missing"):
        load_images(tmp_path / "meta_val.npz")


@pytest.mark.parametrize("kept", [0, 10, 0.3, 0.95])
def test_truncated_file(saved, kept):
    path = saved / "meta_train.npz"
    content = path.read_bytes()
    path.write_bytes(content[: kept if kept in (0, 10) else int(len(content) * kept)])
    with pytest.raises(FileFormatError, match=r"meta_train\.npz.*prepare_images"):
        load_images(path)


def test_changed_byte(saved):
    path = saved / "meta_train.npz"
    content = bytearray(path.read_bytes())
    content[content.index(make().packed()[0].numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="truncated or not"):
        load_images(path)


def test_foreign_files(tmp_path):
    path = tmp_path / "meta_train.npz"
    path.write_text("not an archive")
    with pytest.raises(FileFormatError):
        load_images(path)
    with path.open("wb") as handle:
        np.save(handle, np.zeros(3))
    with pytest.raises(FileFormatError):
        load_images(path)
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(FileFormatError, match="foreign file: it has no dataset, format"):
        load_images(path)
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(FileFormatError):
        load_images(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", np.array(1), "version 1, expected 2"),
        ("x", np.zeros((5, 3, 4, 4), np.float32), "inconsistent"),
        ("y", np.array([0, 0, 1, 1]), "inconsistent"),
        ("y", np.array([0, 1, 0, 1, 1]), "inconsistent"),
        ("y", np.array([0, 0, 0, 0, 0]), "inconsistent"),
        ("split", np.array("meta"), "not sound"),
        ("names", np.array(["a", "a"]), "not sound"),
    ],
)
def test_inconsistent_file(saved, key, value, message):
    path = saved / "meta_train.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(arrays | {key: value}))
    with pytest.raises(FileFormatError, match=message):
        load_images(path)


def test_unsound_images_are_refused():
    good = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    for names, images in (
        (("a",), [good.float()]),
        (("a",), [good[:0]]),
        (("a",), [good[0]]),
        (("a",), [good[..., :3]]),
        (("a", "b"), [good, good[..., :2, :2]]),
        (("a", "a"), [good, good]),
        (("a",), [good, good]),
        ((), []),
    ):
        with pytest.raises(DataError):
            ClassImages("toy", "meta_val", names, images, "")


def test_splits_must_be_known_and_alike(tmp_path):
    with pytest.raises(DataError, match=r"some of the splits .* got none"):
        save_images(tmp_path, {}, source="folder")
    with pytest.raises(DataError, match=r"some of the splits .* got train"):
        save_images(tmp_path, {"train": make()}, source="folder")
    with pytest.raises(DataError, match="differ in side"):
        save_images(tmp_path, all_splits() | {"meta_val": make("meta_val", side=8)}, source="folder")
    assert not list(tmp_path.iterdir())


def test_classes_are_collected_in_order_of_name():
    arrays = {name: np.full((2, 3, 4, 4), i, np.uint8) for i, name in enumerate(("owl", "ant", "Bee"))}
    collected = class_images("toy", "meta_val", arrays, ["owl", "Bee", "ant"], "")
    assert collected.names == ("Bee", "ant", "owl")
    assert [int(images[0, 0, 0, 0]) for images in collected.images] == [2, 1, 0]
