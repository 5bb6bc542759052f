"""`dfml data`: what is there, reading it as a run would, and getting it."""

from http.client import IncompleteRead

import pytest

from dfml.cli import data
from dfml.cli.main import main
from dfml.data.known import KNOWN
from support.pictures import class_files, write_files, write_tar, write_zip
from support.repository import ROOT


def write_pictures(folder, counts):
    write_files(folder, class_files(counts))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder that passes for the repository's root."""
    for name in ("workflow", "dvc.yaml", "config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_default_experiment_has_all_it_needs(repository, capsys):
    assert main(["data", "status"]) == 0
    said = capsys.readouterr().out
    assert "icons_colour: embedded" in said
    assert all(f"  {name}: missing" in said for name in KNOWN)


def test_what_is_missing_is_told_with_place_and_terms(repository, capsys):
    assert main(["data", "status", "--configfile", "config/paper.yaml"]) == 1
    said = capsys.readouterr().out
    own, others = said.split("Other public data sets")
    for name in ("cifar_fs", "mini_imagenet", "cub"):
        assert f"  {name}: missing\n    put into data/{name}: {KNOWN[name].layouts}" in own
        assert f"    from {KNOWN[name].page}; licence: {KNOWN[name].licence}" in own
        assert name not in others
    assert "icons_colour" not in said  # of the default file, and in no pool


@pytest.mark.parametrize(("classes", "told"), [(20, "damaged: data/eurosat has 40 images"), (0, "damaged: ")])
def test_less_than_a_whole_copy_is_damaged(repository, capsys, classes, told):
    (repository / "data/eurosat").mkdir(parents=True)
    write_pictures(repository / "data/eurosat", {f"c{n}": 2 for n in range(classes)})
    assert main(["data", "status"]) == 0  # the configuration does not need it
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "state"),
    [
        (
            "EuroSAT.zip",
            "damaged: data/eurosat/EuroSAT.zip has 1 images by class, a whole copy of EuroSAT (RGB) has 27000",
        ),
        ("EuroSAT.tar", "present, data/eurosat/EuroSAT.tar (not read: dfml data check)"),
    ],
)
def test_images_in_archives_are_not_read_and_those_of_a_zip_are_counted(repository, capsys, name, state):
    (write_zip if name.endswith("zip") else write_tar)(repository / name, {"a/1.jpg": b"no image"})
    write_files(repository / "data/eurosat", {name: (repository / name).read_bytes()})
    assert main(["data", "status"]) == 0
    said = capsys.readouterr().out
    assert f"  eurosat: {state}\n" in said
    assert f"    from {KNOWN['eurosat'].page}; licence: MIT" in said


@pytest.mark.parametrize(
    ("files", "path", "told"),
    [
        ({"CUB_200_2011.tgz.part": b"half"}, "", "holds no image files"),
        ({"README.txt": b"soon"}, "", "holds no image files"),
        ({"pictures.rar": b"Rar!"}, "/pictures.rar", "is neither a folder nor an archive"),
        ({"test": b"pickle", "train": b"pickle"}, "", "holds no image files"),
    ],
)
def test_what_holds_no_images_is_not_present(repository, capsys, files, path, told):
    write_files(repository / "mine", files)
    (repository / "mine.yaml").write_text(
        f"datasets: {{mine: {{source: folder, path: mine{path}}}}}\npools: {{single: {{datasets: [mine]}}}}\n"
    )
    assert main(["data", "status", "--configfile", "mine.yaml"]) == 1
    assert f"  mine: damaged: mine{path} {told}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "told"), [("~nobody_here/images", "home directory of a user who is not"), ("", "path")]
)
def test_a_path_that_leads_nowhere_is_one_line(repository, capsys, path, told):
    assert main(["data", "check", path]) == 1
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


def test_half_a_zip_is_damaged(repository, capsys):
    write_files(repository / "data/eurosat", {"EuroSAT.zip": b"no archive at all"})
    assert main(["data", "status"]) == 0
    assert "eurosat: damaged: data/eurosat/EuroSAT.zip is no whole archive" in capsys.readouterr().out
    assert main(["data", "check", "data/eurosat", "--source", "eurosat"]) == 1
    assert "EuroSAT.zip is no whole archive" in capsys.readouterr().err


@pytest.mark.parametrize("side", ["33", "8", "1000"])
def test_a_side_that_no_configuration_may_have_is_one_line(repository, capsys, side):
    assert main(["data", "check", "mine", "--side", side]) == 1
    assert capsys.readouterr().err.startswith("dfml data: side: ")


def test_a_folder_of_ones_own(repository, capsys):
    write_pictures(repository / "mine", {f"c{n}": 4 for n in range(10)})
    (repository / "mine.yaml").write_text(
        "datasets: {mine: {source: folder, path: mine}}\npools: {single: {datasets: [mine]}}\n"
    )
    assert main(["data", "status", "--configfile", "mine.yaml"]) == 0
    assert "mine: present, 40 images of 10 classes in mine" in capsys.readouterr().out
    assert main(["data", "check", "mine", "--side", "16"]) == 0
    said = capsys.readouterr().out
    assert "meta_train: 24 images of 6 classes" in said
    assert "side 16" in said
    assert {path.name for path in repository.iterdir()} >= {"mine", "mine.yaml"}
    assert not (repository / "results").exists()


def test_a_folder_to_measure_on_alone(repository, capsys):
    write_pictures(repository / "mine", {"a": 4, "b": 4})
    assert main(["data", "check", "mine"]) == 1
    assert "`fractions: [0, 0, 1]`: all to meta-test" in capsys.readouterr().err
    assert main(["data", "check", "mine", "--fractions", "0", "0", "1"]) == 0
    assert "meta_test: 8 images of 2 classes" in capsys.readouterr().out
    assert main(["data", "check", "mine", "--fractions", "0", "0", "2"]) == 1
    assert capsys.readouterr().err.startswith("dfml data: fractions: ")


def test_a_damaged_picture_is_named(repository, capsys):
    write_pictures(repository / "mine", {f"c{n}": 2 for n in range(6)})
    broken = next((repository / "mine/c3").iterdir())
    broken.write_bytes(broken.read_bytes()[:40])
    assert main(["data", "check", "mine"]) == 1
    assert f"c3/{broken.name}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "told"),
    [("cifar", "no public data set"), ("cub", KNOWN["cub"].page), ("mini_imagenet", "has no downloader")],
)
def test_what_cannot_be_got_is_said(repository, capsys, name, told):
    assert main(["data", "get", name]) == 1
    assert told in capsys.readouterr().err
    assert not (repository / "data").exists()


@pytest.mark.parametrize("failed", [OSError("the line is dead"), IncompleteRead(b"the line is dead", 99)])
def test_a_download_is_whole_or_absent(repository, monkeypatch, capsys, failed):
    def cut_off(folder):
        write_pictures(repository / folder, {"a": 1})
        raise failed

    monkeypatch.setitem(data.DOWNLOADERS, "eurosat", cut_off)
    assert main(["data", "get", "eurosat"]) == 1
    said = capsys.readouterr().err
    assert str(failed) in said
    assert KNOWN["eurosat"].page in said
    assert list((repository / "data").iterdir()) == []

    monkeypatch.setitem(data.DOWNLOADERS, "eurosat", lambda folder: write_pictures(repository / folder, {"a": 1}))
    assert main(["data", "get", "eurosat"]) == 0
    assert [path.name for path in (repository / "data").iterdir()] == ["eurosat"]
    assert main(["data", "get", "eurosat"]) == 1
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("name", data.DOWNLOADERS)
def test_downloaders_are_torchvisions_with_a_checksum(repository, monkeypatch, name):
    from torchvision.datasets import utils

    asked = []

    def refuse(url, *places, **named):
        asked.append((url, [*places, *named.values()]))
        raise OSError("no network in a test")

    for module in ("caltech", "cifar", "flowers102", "omniglot", "eurosat"):
        for function in ("download_url", "download_and_extract_archive"):
            monkeypatch.setattr(f"torchvision.datasets.{module}.{function}", refuse, raising=False)
    monkeypatch.setattr(utils, "download_url", refuse)
    assert main(["data", "get", name]) == 1
    ((url, arguments),) = asked
    assert url.startswith("https://")
    assert any(isinstance(given, str) and len(given) == 32 and int(given, 16) for given in arguments)  # an MD5


def test_a_path_too_long_for_any_file_is_one_message(repository, capsys):
    assert main(["data", "check", "x" * 300]) == 1
    said = capsys.readouterr().err
    assert said.startswith("dfml data: xxx") and said.count("\n") == 1 and "does not exist" in said
