"""Banks on the shelf: what is saved is loaded, and damage is told in one line."""

import numpy as np
import pytest
import torch

from dfml.compute.seeds import torch_generator
from dfml.compute.state import collect, restore
from dfml.errors import FileFormatError
from dfml.inversion.bank import ImageBank
from support.containers import Trap
from support.inversion import recovered
from support.zoo import CPU, SIDE, random_model, same_bits


def filled(inversions=5):
    own = ImageBank(6, slots=3, images_per_class=2, side=SIDE, device=CPU)
    for index in range(inversions):
        images = torch.rand(6, 3, SIDE, SIDE, generator=torch_generator(index))
        own.add(recovered(random_model(seed=index, classes=torch.tensor([index % 4, 4, 5])), images))
    return own


@pytest.fixture
def path(tmp_path):
    filled().save(tmp_path / "bank.npz")
    return tmp_path / "bank.npz"


def respoil(path, **changes):
    """Write the file again with other arrays; None drops one."""
    with np.load(path) as stored:
        arrays = {**stored, **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize("inversions", [0, 1, 5])
def test_what_is_saved_is_loaded_and_goes_on_alike(tmp_path, inversions):
    own = filled(inversions)
    own.save(tmp_path / "bank.npz")
    loaded = ImageBank.load(tmp_path / "bank.npz", CPU)
    for _ in range(3):
        assert all(same_bits(tensor, collect(loaded)[name]) for name, tensor in collect(own).items())
        assert (loaded.slots, loaded.images_per_class) == (own.slots, own.images_per_class)
        item = recovered(random_model(seed=9), torch.rand(6, 3, SIDE, SIDE, generator=torch_generator(9)))
        own.add(item)
        loaded.add(item)


def test_a_restored_state_does_not_follow_the_bank_it_came_from():
    own, other = filled(), filled(0)
    restore(other, collect(own))
    before = other.written.clone()
    own.add(recovered(random_model(), torch.rand(6, 3, SIDE, SIDE)))
    assert torch.equal(other.written, before)


def test_saving_is_repeatable_to_the_byte(path, tmp_path):
    filled().save(tmp_path / "again.npz")
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_truncated_anywhere(path):
    whole = path.read_bytes()
    for keep in [0, 1, 3, 4, 29, 100, *range(500, len(whole), len(whole) // 40), *(len(whole) - n for n in (1, 2, 22))]:
        path.write_bytes(whole[:keep])
        with pytest.raises(FileFormatError, match=r"bank.npz is .*; run the inversion again"):
            ImageBank.load(path, CPU)


def test_damaged_pixels_do_not_pass(path):
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FileFormatError, match="run the inversion again"):
        ImageBank.load(path, CPU)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileFormatError, match=r"none\.npz is missing; run the inversion again"):
        ImageBank.load(tmp_path / "none.npz", CPU)


@pytest.mark.parametrize("name", ["format", "version", "slots", "pixels", "sources", "written"])
def test_a_missing_array(path, name):
    respoil(path, **{name: None})
    with pytest.raises(FileFormatError, match=f"it has no {name}"):
        ImageBank.load(path, CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": np.array(2)}, "dfml.bank version 2, not dfml.bank version 1"),
        ({"format": np.array("dfml.images")}, "dfml.images version 1, not dfml.bank"),
        ({"pixels": np.zeros((6, 2, 2, 3, SIDE, SIDE), np.float32)}, "do not fit together"),
        ({"pixels": np.zeros((6, 2, 2, 1, SIDE, SIDE), np.uint8)}, "do not fit together"),
        ({"pixels": np.zeros((6, 2, 2, 3, SIDE, SIDE + 1), np.uint8)}, "do not fit together"),
        ({"pixels": np.zeros((6, SIDE), np.uint8)}, "do not fit together"),
        ({"sources": np.full((5, 3), -1)}, "do not fit together"),
        ({"sources": np.full((6, 3), -1)}, "do not fit together"),
        ({"written": np.zeros(5, np.int64)}, "do not fit together"),
        ({"written": np.full(6, -1)}, "do not fit together"),
        ({"written": np.zeros(6)}, "do not fit together"),
        ({"slots": np.array(1)}, "do not fit together"),
        ({"slots": np.array([3])}, "do not fit together"),
        ({"slots": np.array("3")}, "do not fit together"),
    ],
)
def test_foreign_contents(path, changes, message):
    respoil(path, **changes)
    with pytest.raises(FileFormatError, match=message):
        ImageBank.load(path, CPU)


def test_a_pickled_object_is_never_unpickled(path, tmp_path):
    mark = tmp_path / "executed"
    respoil(path, pixels=np.array([Trap(mark)], dtype=object))
    with pytest.raises(FileFormatError, match="run the inversion again"):
        ImageBank.load(path, CPU)
    assert not mark.exists()
