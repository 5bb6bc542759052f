"""Zoos from elsewhere in bad hands: nothing runs that the user's own card does not name, and damage is told."""

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from dfml.artefacts.zoo import MANIFEST, WEIGHTS
from dfml.errors import DataError, FileFormatError
from dfml.files.reading import sha256_file
from support.lab import classes, model, module, pool_of, program, taken, write_card, write_lab, write_networks


@pytest.fixture
def lab(tmp_path):
    card = write_lab(tmp_path / "lab")
    manifest = taken(card, tmp_path / "zoo")
    return card, tmp_path / "zoo", manifest


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: torch.save({"a": Evil()}, path), "holds no plain weights"),
        (lambda path: torch.save(nn.Linear(3, 2), path), "holds no plain weights"),
        (lambda path: torch.save({"epoch": 3}, path), "holds no state dict"),
        (lambda path: torch.save([1, 2], path), "holds no state dict"),
        (lambda path: path.write_bytes(b"nothing"), "holds no plain weights"),
        (lambda path: path.write_bytes(b""), "holds no plain weights"),
    ],
)
def test_files_that_hold_no_plain_weights_run_nothing(tmp_path, write, said, capsys):
    write_networks(tmp_path)
    entry = model(tmp_path, "own", module("own", 5), "nets.py:own", options={"outputs": 5}, classes=classes(5))
    write(tmp_path / "bad.pt")
    with pytest.raises(DataError, match=rf"bad\.pt.*{said}"):
        taken(write_card(tmp_path, [entry | {"weights": "bad.pt"}]), tmp_path / "zoo")
    assert capsys.readouterr().out == ""


def test_code_that_changed_since_the_import_is_not_run(lab):
    card, folder, _ = lab
    (card.parent / "nets.py").write_text("raise SystemExit('run')")
    with pytest.raises(DataError, match=r"not as it was when .* was imported; import the zoo again"):
        pool_of(folder)


def test_a_manifest_names_nothing_that_runs(lab):
    """Were a stranger's zoo.json put in its place, the user's own card would still say what is built."""
    _, folder, _ = lab
    assert "nets" not in "".join(
        value for key, value in yaml.safe_load((folder / MANIFEST).read_text()).items() if isinstance(value, str)
    ).replace(str(folder), "")
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"kind": "module"', '"kind": "program"', 1))
    assert [one.architecture for one in pool_of(folder)] == ["birds", "plain", "grey", "sealed"]


def test_a_program_that_the_card_does_not_name_is_not_run(lab, tmp_path):
    """A stranger's zoo may say that it is of the user's card; its program is compared with the card's file."""
    card, folder, manifest = lab
    foreign = program(tmp_path, "sealed", module("own", 8, seed=4), classes=classes(8))
    tensors = load_file(folder / WEIGHTS)
    tensors["3.program"] = torch.frombuffer(bytearray((tmp_path / foreign["weights"]).read_bytes()), dtype=torch.uint8)
    save_file(tensors, folder / WEIGHTS)
    manifest.model_copy(update={"weights_sha256": sha256_file(folder / WEIGHTS)}).save(folder / MANIFEST)
    loaded = []
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(FileFormatError, match=r"model `sealed` is not .*not run"),
    ):
        patch.setattr(torch.export, "load", loaded.append)
        list(pool_of(folder))
    assert not loaded
    assert card.with_name("sealed.pt2").is_file()


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_damaged_zoos(lab, name):
    path = lab[1] / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileFormatError, match=name):
        pool_of(lab[1])
    path.unlink()
    with pytest.raises(FileFormatError, match=name):
        pool_of(lab[1])


def test_a_file_that_is_no_program(tmp_path):
    write_networks(tmp_path)
    entry = program(tmp_path, "sealed", module("own", 5), classes=classes(5))
    (tmp_path / "sealed.pt2").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="model `sealed`: its weights are no exported program"):
        taken(write_card(tmp_path, [entry]), tmp_path / "zoo")
