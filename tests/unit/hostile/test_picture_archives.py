"""Archives of pictures that are damaged, or made to harm."""

import gzip
import io
import os
import stat
import tarfile
import zipfile

import numpy as np
import pytest

from dfml.data.sources.archives import MOST_INFLATION, SMALLEST_BOUND, Tar, Zip
from dfml.data.sources.opening import open_store
from dfml.errors import DataError
from support.pictures import class_files, write_tar, write_zip

FILES = class_files({"ant": 2, "bee": 1}, below="im/")


def contents(path):
    store = open_store(path)
    return dict(store.read([file.path for file in store.files]))


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "A.TGZ"])
def test_a_whole_archive_gives_what_was_put_in_and_writes_nothing(tmp_path, name):
    path = (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, FILES)
    before = sorted(os.listdir(tmp_path))
    assert contents(path) == FILES
    assert open_store(path).folders == {"im", "im/ant", "im/bee"}
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("kept", [0, 0.2, 0.5, 0.9])
def test_a_download_that_was_cut_off_is_named(tmp_path, name, kept):
    path = (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, class_files({"ant": 30}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DataError, match=r"is no whole archive .*cut off; get it anew") as caught:
        contents(path)
    assert name in str(caught.value)


@pytest.mark.parametrize("kind", [Zip, Tar])
def test_a_page_saved_under_the_name_of_an_archive(tmp_path, kind):
    path = tmp_path / "a.zip"
    path.write_text("<html>not found</html>" * 100)
    with pytest.raises(DataError, match="is no whole archive"):
        kind(path)


def test_a_changed_byte_of_a_zip_is_noticed(tmp_path):
    path = write_zip(tmp_path / "a.zip", FILES)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no whole archive"):
        contents(path)


def test_paths_lead_nowhere_since_nothing_is_extracted(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"/bee/0.png": b"y"})
    assert sorted(file.path for file in open_store(path).files) == ["bee/0.png"]


@pytest.mark.parametrize(("write", "name"), [(write_tar, "a.tar"), (write_zip, "a.zip")])
def test_members_that_are_named_out_of_the_archive_are_refused(tmp_path, write, name):
    path = write(tmp_path / name, {"../../ant/0.png": b"x", "bee/0.png": b"y"})
    with pytest.raises(DataError, match=r"has a member that is named out of it, '\.\./\.\./ant/0\.png'"):
        open_store(path)


def test_a_zip_with_the_separators_of_windows_has_folders(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"ant\\0.png": b"x", "bee\\1.png": b"y"})
    store = open_store(path)
    assert [file.path for file in store.files] == ["ant/0.png", "bee/1.png"]
    assert dict(store.read(["bee/1.png"])) == {"bee/1.png": b"y"}


def test_gzip_says_that_what_it_holds_was_changed(tmp_path):
    pictures = {f"ant/{n}.bmp": np.random.default_rng(n).bytes(2000) for n in range(20)}
    path = write_tar(tmp_path / "a.tgz", pictures)
    assert len(open_store(path).files) == 20
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the checksum itself, so that what is inflated is as it was
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is no whole archive .*CRC check failed"):
        open_store(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_of_a_tar_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("ant/0.png")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(info)
    with pytest.raises(DataError, match=r"a member that is a link or no file, 'ant/0\.png'"):
        Tar(tmp_path / "a.tar")


def test_links_and_secrets_of_a_zip_are_refused(tmp_path):
    info = zipfile.ZipInfo("ant/0.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="a link or no file"):
        Zip(tmp_path / "a.zip")
    path = write_zip(tmp_path / "b.zip", FILES)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"):
        Zip(path)


def test_two_members_of_one_name_are_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("ant/0.png"), io.BytesIO())
    with pytest.raises(DataError, match=r"two members called 'ant/0\.png'"):
        Tar(tmp_path / "a.tar")


def test_a_member_of_absurd_size_is_refused_before_it_is_read(tmp_path):
    info = tarfile.TarInfo("ant/0.png")
    info.size = 2**40
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(1024))
    with pytest.raises(DataError, match=r"says that it holds more than 256 MiB"):
        Tar(tmp_path / "a.tar")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_asks_for_gigabytes_takes_no_memory(tmp_path, kind):
    info = tarfile.TarInfo("name")
    info.size, info.type = 2**33, kind
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(2**22)))
    with pytest.raises(DataError, match="is no whole archive"):
        Tar(tmp_path / "a.tar.gz")


def test_a_bomb_is_refused_by_what_it_says_of_itself(tmp_path):
    zeros = bytes(2**24)
    path = write_zip(tmp_path / "a.zip", {f"ant/{i}.png": zeros for i in range(17)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < SMALLEST_BOUND / MOST_INFLATION
    with pytest.raises(DataError, match="which no archive of its size does"):
        Zip(path)


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"ant/0.png": bytes(2**20)}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no whole archive"):
        contents(path)
