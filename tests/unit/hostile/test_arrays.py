"""Archives of arrays whose headers and directories lie, and the manifest beside them."""

import json
import struct
import zipfile

import numpy as np
import pytest

from dfml.artefacts.accuracies import ACCURACIES, EpisodeAccuracies
from dfml.artefacts.images import MANIFEST, ImagesManifest
from dfml.data.images import load_images
from dfml.errors import FileFormatError
from dfml.files import arrays as archives
from dfml.inversion.bank import ImageBank
from support.containers import zip_bytes
from support.specimens import edit_json, write_accuracies
from support.zoo import CPU, save_pattern_images


def npy(text, data=b""):
    """An array file with this header, however wrong."""
    raw = text.encode("latin1").ljust(118)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data


@pytest.fixture
def images(tmp_path):
    return save_pattern_images(tmp_path / "toy", classes=2, per_class=2, side=4)


def replace_member(path, name, content, **options):
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    path.write_bytes(zip_bytes(members | {name: content}, **options))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '<U250000000', 'fortran_order': False, 'shape': (1000,), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (8,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': [[[(4,), }",
        "__import__('os').system('true')",
    ],
)
def test_headers_of_arrays_that_lie(images, header):
    replace_member(images, "x.npy", npy(header, bytes(64)))
    with pytest.raises(FileFormatError, match="truncated or not an archive"):
        load_images(images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"twice": "y.npy"}, "two members of one name"),
        ({"renamed": {"y.npy": "../y.npy"}}, "named like a path"),
        ({"method": zipfile.ZIP_LZMA}, "unusual way"),
    ],
)
def test_archives_with_odd_members(images, options, message):
    replace_member(images, "z.npy", b"", **options)
    with pytest.raises(FileFormatError, match=message):
        load_images(images)


def test_an_archive_that_inflates(images, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_INFLATED", 2**20)
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2000000,), }"
    replace_member(images, "x.npy", npy(header, bytes(2_000_000)), method=zipfile.ZIP_DEFLATED)
    assert images.stat().st_size < 20_000
    with pytest.raises(FileFormatError, match="inflates to more than 1 MiB"):
        load_images(images)


@pytest.mark.parametrize("change", [{"compress_size": 24}, {"file_size": 20}])
def test_a_directory_that_lies(images, change):
    (place,) = change.values()
    content = bytearray(images.read_bytes())
    at = content.rindex(b"PK\x01\x02") + place
    content[at : at + 4] = struct.pack("<I", 2**31)
    images.write_bytes(content)
    with pytest.raises(FileFormatError, match="two sizes differ"):
        load_images(images)


@pytest.mark.parametrize("names", [["a", "\x1b[2J"], ["a", ""], ["a", "x" * 300], 3, [b"a", b"b"]])
def test_names_in_arrays_that_are_none(images, names):
    with np.load(images) as stored:
        arrays = dict(stored)
    np.savez(images, **(arrays | {"names": np.array(names)}))
    with pytest.raises(FileFormatError, match="inconsistent arrays"):
        load_images(images)


def test_a_bank_without_pixels_has_no_size(tmp_path):
    shape = (1, 0, 10**6, 3, 10**5, 10**5)
    facts = {"format": "dfml.bank", "version": 1, "slots": 3, "sources": np.zeros((1, 0), np.int64)}
    np.savez(tmp_path / "bank.npz", pixels=np.zeros(shape, np.uint8), written=np.zeros(1, np.int64), **facts)
    with pytest.raises(FileFormatError, match="do not fit together"):
        ImageBank.load(tmp_path / "bank.npz", CPU)


@pytest.fixture
def accuracies(tmp_path):
    write_accuracies(tmp_path, 0)
    return tmp_path / ACCURACIES


def test_accuracies_that_inflate(accuracies, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_INFLATED", 2**20)
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2000000), }"
    replace_member(accuracies, "right.npy", npy(header, bytes(2_000_000)), method=zipfile.ZIP_DEFLATED)
    with pytest.raises(FileFormatError, match="inflates to more than 1 MiB"):
        EpisodeAccuracies.load(accuracies)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "dfml.images"}, "not a dfml.accuracies file"),
        ({"format": 3}, "texts are wanted"),
        ({"version": 2}, "format version 2, expected 1"),
        ({"version": [1]}, "format version None"),
        ({"answers": 0}, "inconsistent"),
        ({"answers": -1, "right": np.full((2, 4), -2, np.int8)}, "inconsistent"),
        ({"answers": 9.0}, "inconsistent"),
        ({"answers": 2**63}, "inconsistent"),
        ({"answers": 2}, "more right answers than answers"),
        ({"right": np.zeros((2, 0), np.uint8)}, "inconsistent"),
        ({"right": np.zeros((3, 4), np.uint8)}, "inconsistent"),
        ({"right": np.zeros(4, np.uint8)}, "inconsistent"),
        ({"right": np.zeros((2, 4), np.int64)}, "inconsistent"),
        ({"right": np.full((2, 4), np.nan)}, "inconsistent"),
        ({"rule": ["finetune"]}, "inconsistent"),
        ({"rule": ["finetune", "finetune"]}, "inconsistent"),
        ({"rule": ["finetune", ""]}, "inconsistent"),
        ({"dataset": ["toy", "x" * 300]}, "inconsistent"),
        ({"dataset": ["toy", "\x1b[2J"]}, "cannot be printed"),
        ({"batch_norm": [1, 2]}, "texts are wanted"),
    ],
)
def test_accuracies_that_do_not_fit_together(accuracies, changes, message):
    with np.load(accuracies) as stored:
        arrays = dict(stored)
    np.savez(accuracies, **(arrays | {name: np.array(value) for name, value in changes.items()}))
    with pytest.raises(FileFormatError, match=message) as caught:
        EpisodeAccuracies.load(accuracies)
    assert "run the rule evaluate again" in str(caught.value)


def split_entry(images, **changes):
    splits = json.loads((images.parent / "images.json").read_bytes())["splits"]
    return {"splits": {**splits, "meta_val": {**splits["meta_val"], **changes}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "../../zoo.npz"}, "must be meta_val.npz in the same folder"),
        ({"file": "/etc/passwd"}, "must be meta_val.npz in the same folder"),
        ({"sha256": "x"}, "sha256: String should match"),
        ({"names": ["a\x1b", "b"]}, "cannot be printed"),
        ({"counts": [1]}, "a count for each"),
        ({"counts": ["many", 2]}, "counts.0: Input should be a valid integer"),
        ({"more": 1}, "more: Extra inputs"),
    ],
)
def test_a_manifest_of_images(images, changes, message):
    edit_json(images.parent / "images.json", **split_entry(images, **changes))
    with pytest.raises(FileFormatError, match=message):
        ImagesManifest.load(images.parent / MANIFEST)
