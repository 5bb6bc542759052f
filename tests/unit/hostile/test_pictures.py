"""Pictures of a user's folder, and resume files."""

import logging
import struct
import zipfile
import zlib

import pytest
import torch
from PIL import Image

from dfml.data.packing import pack
from dfml.data.sources.layouts import find_classes
from dfml.data.sources.opening import open_store
from dfml.errors import DataError
from dfml.jobs.checkpoint import Checkpoint


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def enormous_png(width, height):
    """A PNG file of some bytes that says it has this size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ant").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "ant" / "a.png")
    return tmp_path


def read(folder):
    store = open_store(folder)
    return pack(store, find_classes(store).classes, side=16)


@pytest.mark.parametrize("size", [(10_000, 10_000), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_a_picture_of_absurd_size(folder, size):
    (folder / "ant" / "b.png").write_bytes(enormous_png(*size))
    with pytest.raises(DataError, match=r"images that cannot be read: .*b\.png"):
        read(folder)


def test_a_truncated_picture(folder):
    whole = (folder / "ant" / "a.png").read_bytes()
    (folder / "ant" / "a.png").write_bytes(whole[:45])
    with pytest.raises(DataError, match=r"a\.png"):
        read(folder)


def test_postscript_named_as_a_picture_is_not_run(folder):
    (folder / "ant" / "b.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"b\.png \(ValueError: it is none of JPEG"):
        read(folder)


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", b"a\xff".decode(errors="surrogateescape")])
def test_a_class_that_cannot_be_printed(folder, name):
    (folder / name).mkdir()
    with pytest.raises(DataError, match=r"names of classes have .* all printable; rename 'a"):
        find_classes(open_store(folder))


STATE = {"weights": torch.arange(500.0), "history": [0.5, 0.25], "done": 3}


@pytest.fixture
def checkpoint(tmp_path):
    checkpoint = Checkpoint(tmp_path / "resume.pt", "abc")
    checkpoint.save(STATE)
    return checkpoint


def starts_afresh(checkpoint, caplog):
    caplog.clear()
    assert checkpoint.load() is None
    return [(record.levelno, "starting afresh" in record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


def test_a_resume_file_with_any_bit_changed_is_the_same_or_not_used(checkpoint):
    whole = checkpoint.path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        checkpoint.path.write_bytes(damaged)
        state = checkpoint.load()
        if state is not None:
            assert torch.equal(state.pop("weights"), STATE["weights"])
            assert state == {"history": [0.5, 0.25], "done": 3}


def test_a_resume_file_that_claims_terabytes(checkpoint, caplog):
    content = bytearray(checkpoint.path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 20 : at + 28] = struct.pack("<II", 2**32 - 2, 2**32 - 2)
    checkpoint.path.write_bytes(content)
    assert starts_afresh(checkpoint, caplog)


@pytest.mark.parametrize("state", [[1, 2], "text", 3, None])
def test_a_resume_file_of_another_kind(checkpoint, caplog, state):
    torch.save({"format": "dfml.checkpoint", "version": 3, "digest": "abc", "state": state}, checkpoint.path)
    assert starts_afresh(checkpoint, caplog)


def test_an_old_file_of_torch_is_not_unpickled(checkpoint, caplog):
    content = {"format": "dfml.checkpoint", "version": 3, "digest": "abc", "state": {}}
    torch.save(content, checkpoint.path, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(checkpoint.path)
    assert starts_afresh(checkpoint, caplog)
