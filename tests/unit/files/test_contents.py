"""Contents of many files: what changed is seen, and nothing else is read again."""

import os
import shutil

import pytest

from dfml.files import contents
from dfml.files.contents import content_digests

NAMES = ("a.bmp", "b.bmp", "c.bmp")


@pytest.fixture
def files(tmp_path):
    """Files of one size and one time."""
    paths = [tmp_path / "images" / name for name in NAMES]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 100)
        os.utime(path, ns=(10**18, 10**18))
    return paths


def swap(a, b):
    """Two files change their names."""
    a.rename(a.with_suffix(".x"))
    b.rename(a)
    a.with_suffix(".x").rename(b)


def rewrite(path):
    """Another content of the same size, and the time of before."""
    path.write_bytes(bytes([7]) * 100)
    os.utime(path, ns=(10**18, 10**18))


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda a, b, c: swap(a, b), {"a.bmp", "b.bmp"}),
        (lambda a, b, c: rewrite(c), {"c.bmp"}),
        (lambda a, b, c: shutil.copy2(a, b), {"b.bmp"}),
        (lambda a, b, c: os.replace(a, c) or a.write_bytes(bytes(100)), {"c.bmp"}),
        (lambda a, b, c: c.unlink() or c.symlink_to(b), {"c.bmp"}),
        (lambda a, b, c: os.utime(a), set()),
        (lambda a, b, c: a.chmod(0o600), set()),
    ],
    ids=["swapped", "written in place", "copied with its time", "moved over", "a link", "touched", "another mode"],
)
def test_changed_contents_are_seen_whatever_size_and_time_say(files, tmp_path, change, changed):
    memory = tmp_path / "memory" / "images.json"
    before = content_digests(files, memory)
    change(*files)
    after = content_digests(files, memory)
    assert {name for name, old, new in zip(NAMES, before, after, strict=True) if old != new} == changed


@pytest.mark.parametrize("kept", ["kept", "damaged", "of another form", "not to be written"])
def test_files_that_did_not_change_are_not_read_again(files, tmp_path, monkeypatch, kept):
    memory = tmp_path / "images.json"
    if kept == "not to be written":
        memory = tmp_path / "images" / "a.bmp" / "images.json"  # below a file
    before = content_digests(files, memory)
    if kept in ("damaged", "of another form"):
        memory.write_text("{" if kept == "damaged" else '{"a": 3}')
    read = []
    real = contents.sha256_file
    monkeypatch.setattr(contents, "sha256_file", lambda path: read.append(path) or real(path))
    assert content_digests(files, memory) == before
    assert read == ([] if kept == "kept" else files)


def test_a_copy_has_the_same_digests_and_a_lost_file_none(files, tmp_path):
    before = content_digests(files, tmp_path / "one.json")
    shutil.copytree(files[0].parent, tmp_path / "copy")
    copies = [tmp_path / "copy" / name for name in NAMES]
    assert content_digests(copies, tmp_path / "two.json") == before
    copies[1].unlink()
    assert content_digests(copies, tmp_path / "two.json") == [before[0], "", before[2]]
