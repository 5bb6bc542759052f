"""Atomic writes, JSON artefacts and locks."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dfml.errors import DfmlError, FileFormatError
from dfml.files.atomic import atomic_write, try_lock, write_json
from dfml.files.reading import read_json, sha256_file


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # a traceback may still hold a file open


def test_bytes_and_writers_make_the_file_and_its_folder(tmp_path):
    path = tmp_path / "a" / "b.bin"
    atomic_write(path, b"one")
    assert path.read_bytes() == b"one"
    atomic_write(path, lambda partial: partial.write_bytes(b"two"))
    assert path.read_bytes() == b"two"
    assert [file.name for file in path.parent.iterdir()] == ["b.bin"]


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "b.bin"
    atomic_write(path, b"old")

    def fail(partial):
        partial.write_bytes(b"half")
        assert partial.name == "b.bin"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "b.bin"

    def slow(partial):
        partial.write_bytes(b"slow")
        atomic_write(path, b"quick")
        assert path.read_bytes() == b"quick"
        assert partial.read_bytes() == b"slow"

    atomic_write(path, slow)
    assert path.read_bytes() == b"slow"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    path, other = tmp_path / "b.bin", tmp_path / "b.bin.json"
    code = """
import os, signal, sys
from dfml.files.atomic import atomic_write
def die(partial):
    partial.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
atomic_write(sys.argv[1], die)
"""
    for target in (path, other):
        assert subprocess.run([sys.executable, "-c", code, target], check=False).returncode == -signal.SIGKILL
    left = {file.name for file in tmp_path.iterdir()}
    assert len(left) == 2
    assert all(name.startswith(".b.bin.") and name.endswith(".partial") for name in left)
    atomic_write(path, b"whole")
    atomic_write(other, b"whole")
    assert sorted(tmp_path.iterdir()) == [path, other]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_who_may_read_a_file_is_for_the_umask_to_say_and_not_for_its_writer(tmp_path, umask, mode):
    def keep_others_out(partial):
        partial.touch(0o600)

    before = os.umask(umask)
    try:
        atomic_write(tmp_path / "a.bin", keep_others_out)
        atomic_write(tmp_path / "b.bin", b"new")
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in sorted(tmp_path.iterdir())] == [mode, mode]


NOT_HERE = ("EPERM", "ENOTSUP", "ENOSYS", "EACCES", "EINVAL")


@pytest.mark.parametrize("code", NOT_HERE)
@pytest.mark.parametrize("data", [b"content", lambda path: path.write_bytes(b"content")], ids=["bytes", "writer"])
def test_a_file_system_without_modes_takes_files(tmp_path, monkeypatch, code, data):
    refuse(monkeypatch, code, "os.fchmod", "os.chmod")
    atomic_write(tmp_path / "a.bin", data)
    assert (tmp_path / "a.bin").read_bytes() == b"content"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    handle = try_lock("device")
    assert handle is not None and try_lock("device") is None
    os.close(handle)


@pytest.mark.parametrize("code", [*NOT_HERE, "ENOLCK"])
def test_a_file_system_without_locks_takes_files_and_nothing_is_taken(tmp_path, monkeypatch, code):
    refuse(monkeypatch, code, "fcntl.flock")
    atomic_write(tmp_path / "a.bin", b"content")
    atomic_write(tmp_path / "a.bin", b"again")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    handles = [try_lock("device"), try_lock("device")]
    assert None not in handles
    for handle in handles:
        os.close(handle)


def refuse(monkeypatch, code, *calls):
    """Have calls of the system fail as a file system makes them that does not know them."""

    def fail(*_, **__):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    for call in calls:
        monkeypatch.setattr(call, fail)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_found_at_the_end_is_one_clear_error(tmp_path, monkeypatch, code):
    path = tmp_path / "b.bin"
    atomic_write(path, b"old")

    def full(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DfmlError, match=r"disk is full.*b\.bin.*MiB free.*free some space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
@pytest.mark.parametrize("step", ["mkdtemp", "fsync", "mkdir"])
def test_a_folder_that_may_not_be_written_is_one_clear_error(tmp_path, monkeypatch, code, step):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr({"mkdtemp": tempfile, "fsync": os, "mkdir": Path}[step], step, refuse)
    with pytest.raises(DfmlError, match=r"no permission to write .*new/b\.bin \(.*make its folder writable"):
        atomic_write(tmp_path / "new" / "b.bin", b"new")


def test_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    def refuse(handle):
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError):
        atomic_write(tmp_path / "b.bin", b"new")


def big_tensors():
    return {"x": torch.rand(2**18)}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(bytes(2**20), id="bytes"),
        pytest.param(lambda path: torch.save(big_tensors(), path), id="torch"),
        pytest.param(lambda path: save_file(big_tensors(), path), id="safetensors"),
        pytest.param(lambda path: np.save(path.open("wb"), np.ones(2**18)), id="numpy"),
    ],
)
# numpy's file is closed by the garbage collector, which cannot write the rest either.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_really_full_disk_keeps_the_old_file(small_disk, data):
    path = small_disk / "b.bin"
    atomic_write(path, b"old")
    with pytest.raises(DfmlError, match="disk is full"):
        atomic_write(path, data)
    assert path.read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [path]


def test_json_round_trip_makes_values_plain(tmp_path):
    path = tmp_path / "zoo.json"
    obj = {
        "format": "dfml.zoo",
        "version": 1,
        "accuracy": np.float32(0.5),
        "count": torch.tensor(3),
        "curve": (1.0, float("nan"), np.float64("inf")),
        "path": Path("a/b"),
        "name": "naïve",
    }
    write_json(path, obj)
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert read_json(path, format="dfml.zoo", version=1) == {
        "format": "dfml.zoo",
        "version": 1,
        "accuracy": 0.5,
        "count": 3,
        "curve": [1.0, None, None],
        "path": "a/b",
        "name": "naïve",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*run the step"),
        (b'{"format": "dfml.zoo", "ver', "not whole JSON"),
        (b"\xff\xfe\x00", "not whole JSON"),
        (b"[1]", "is not a dfml.zoo file"),
        (json.dumps({"format": "other", "version": 1}).encode(), "its format is 'other'"),
        (json.dumps({"format": "dfml.zoo", "version": 2}).encode(), "version 2, .* reads version 1"),
    ],
)
def test_bad_json_artefacts_are_named(tmp_path, content, message):
    path = tmp_path / "zoo.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message) as caught:
        read_json(path, format="dfml.zoo", version=1)
    assert str(path) in str(caught.value)


def test_sha256_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_lock_is_exclusive_and_ends_with_its_process(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "from dfml.files.atomic import try_lock; print(try_lock('a') is not None, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout.readline() == "True\n"
        assert try_lock("a") is None
        assert try_lock("b") is not None
        other.kill()
    assert try_lock("a") is not None


def test_a_folder_is_not_taken_for_a_file(tmp_path):
    with pytest.raises(IsADirectoryError) as error:
        atomic_write(tmp_path, b"x")
    assert error.value.filename == str(tmp_path)
    assert not list(tmp_path.iterdir())
