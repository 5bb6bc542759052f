"""The bank of recovered images against a plain list, and the episodes drawn from it."""

import pytest
import torch

from dfml.compute.seeds import numpy_rng, torch_generator
from dfml.errors import DfmlError
from dfml.inversion.bank import ImageBank
from support.inversion import recovered
from support.zoo import CPU, SIDE, WAYS, random_model, same_bits

PER_CLASS = 2


def bank(classes=6, *, slots=4, per_class=PER_CLASS):
    return ImageBank(classes, slots=slots, images_per_class=per_class, side=SIDE, device=CPU)


def flat_images(values):
    """One image of a single grey level, in 255ths, for each value."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE) / 255


def inversion(index, classes, *, per_class=PER_CLASS, levels=None):
    """What one inversion of model `index` gave: its images are told apart by their grey levels."""
    count = per_class * len(classes)
    levels = levels or [(index * 7 + i) % 256 for i in range(count)]
    return recovered(random_model(seed=index, classes=torch.tensor(classes)), flat_images(levels))


def levels_of(images):
    """Grey levels of images, uint8 or float."""
    pixels = images if images.dtype == torch.uint8 else (images * 255).round()
    return pixels[..., 0, 0, 0].long()


def filled_with_codes(classes=5, slots=2, per_class=20, *, written=2):
    """A bank whose image number i of class c has the grey level c · 40 + i."""
    own = bank(classes, slots=slots, per_class=per_class)
    for slot in range(written):
        for c in range(classes):
            own.add(inversion(c, [c], per_class=per_class, levels=[c * 40 + slot * 20 + i for i in range(per_class)]))
    return own


@pytest.mark.parametrize("slots", [1, 3, 4, 20])
def test_ring_against_a_list(slots):
    own, model, rng = bank(slots=slots), {c: [] for c in range(6)}, numpy_rng(slots)
    for index in range(12 * slots):
        classes = rng.permutation(5)[:WAYS].tolist()
        item = inversion(index, classes)
        own.add(item)
        levels = levels_of(item.images).view(PER_CLASS, WAYS)
        for position, c in enumerate(classes):
            model[c] = [*model[c], (index, sorted(levels[:, position].tolist()))][-slots:]
    images, labels, sources = own.everything()
    for c in range(6):
        chosen = labels == c
        found = zip(
            sources[chosen].view(-1, PER_CLASS)[:, 0].tolist(),
            levels_of(images[chosen]).view(-1, PER_CLASS).sort(1).values.tolist(),
            strict=True,
        )
        assert sorted(found) == sorted(model[c])
    assert own.filled.tolist() == [len(model[c]) for c in range(6)]
    assert max(own.filled) == slots
    assert own.ready.tolist() == [0, 1, 2, 3, 4]
    assert own.images == len(images) == PER_CLASS * sum(map(len, model.values()))


def test_memory_grows_by_doubling_up_to_the_slots():
    own = bank(slots=5)
    held = []
    for index in range(12):
        own.add(inversion(index, [0, 1, 2]))
        held.append(own.pixels.shape[1])
    assert held == [1, 2, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5]
    assert own.sources.shape == own.pixels.shape[:2]


def test_an_image_is_filed_under_the_class_of_its_target():
    item = inversion(3, [4, 0, 2])
    own = bank()
    own.add(item)
    images, labels, sources = own.everything()
    targets = dict(zip(levels_of(item.images).tolist(), item.targets.tolist(), strict=True))
    for level, label in zip(levels_of(images).tolist(), labels.tolist(), strict=True):
        assert [4, 0, 2][targets[level]] == label
    assert (sources == 3).all()


def test_storage_rounds_to_the_nearest_grey_level():
    images = torch.rand(PER_CLASS * WAYS, 3, SIDE, SIDE, generator=torch_generator(0))
    own = bank()
    own.add(recovered(random_model(classes=torch.arange(WAYS)), images))
    stored, labels, _ = own.everything()
    order = (torch.arange(len(images)) % WAYS).argsort(stable=True)
    assert torch.equal(labels, order % WAYS)
    assert (stored / 255 - images[order]).abs().max() <= 1 / 510 + 1e-6
    assert (stored / 255 - images[order]).abs().max() > 1 / 600


def test_values_at_the_ends_of_the_range_stay_there():
    ends = torch.tensor([0.0, 1.0, -1e-7, 1 + 1e-6, 1.0, 0.0]).view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE)
    own = bank()
    own.add(recovered(random_model(), ends))
    assert set(own.everything()[0].unique().tolist()) == {0, 255}


def test_an_empty_bank():
    own = bank()
    images, labels, sources = own.everything()
    assert (len(images), len(labels), len(sources), own.images) == (0, 0, 0, 0)
    assert own.ready.tolist() == []


def test_episodes_are_class_major_with_distinct_images():
    own = filled_with_codes()
    _, support, query = own.sample_episodes(200, ways=4, shots=2, queries=5, generator=torch_generator(0))
    assert support.shape == (200, 4 * 2, 3, SIDE, SIDE)
    assert query.shape == (200, 4 * 5, 3, SIDE, SIDE)
    for shots, queries in zip(levels_of(support).view(200, 4, 2), levels_of(query).view(200, 4, 5), strict=True):
        together = torch.cat([shots, queries], 1)
        classes = together // 40
        assert (classes == classes[:, :1]).all()
        assert len(classes[:, 0].unique()) == 4
        assert all(len(row.unique()) == 7 for row in together)


def test_every_class_and_every_image_is_drawn():
    own = filled_with_codes()
    _, support, query = own.sample_episodes(300, ways=4, shots=2, queries=5, generator=torch_generator(1))
    drawn = torch.cat([levels_of(support), levels_of(query)], 1)
    assert set(drawn.unique().tolist()) == {c * 40 + i for c in range(5) for i in range(40)}


def test_empty_slots_are_never_drawn():
    own = filled_with_codes(classes=3, slots=4, written=1)
    for c in range(2):  # classes 0 and 1 grow to two slots, class 2 keeps one
        own.add(inversion(c, [c], per_class=20, levels=[c * 40 + 20 + i for i in range(20)]))
    _, support, query = own.sample_episodes(200, ways=3, shots=5, queries=15, generator=torch_generator(0))
    drawn = torch.cat([levels_of(support), levels_of(query)], 1)
    assert set(drawn.unique().tolist()) == {*range(80), *range(80, 100)}


def test_classes_that_are_not_ready_are_never_drawn():
    own = bank(classes=9)
    own.add(inversion(0, [7, 1, 4], levels=[70, 10, 40, 70, 10, 40]))
    _, support, _ = own.sample_episodes(50, ways=2, shots=1, queries=1, generator=torch_generator(0))
    assert set(levels_of(support).unique().tolist()) == {70, 10, 40}


def test_episodes_are_those_of_their_draws():
    own = filled_with_codes()
    first, again, other = (
        own.sample_episodes(3, ways=4, shots=1, queries=2, generator=torch_generator(s)) for s in (0, 0, 1)
    )
    assert all(same_bits(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ways": 6, "shots": 1, "queries": 1}, "holds 5 classes, 6-way replay needs more"),
        ({"ways": 5, "shots": 5, "queries": 16}, "20 recovered images per class cannot give 5 shots and 16 queries"),
    ],
)
def test_episodes_that_the_bank_cannot_give(options, message):
    with pytest.raises(DfmlError, match=message):
        filled_with_codes().sample_episodes(1, generator=torch_generator(0), **options)


def test_images_of_a_models_classes_come_interleaved():
    own = filled_with_codes()
    images = own.of_model([3, 0, 4], 50, torch_generator(0))
    assert images.shape == (150, 3, SIDE, SIDE)
    levels = levels_of(images).view(50, 3)
    assert (levels // 40 == torch.tensor([3, 0, 4])).all()
    assert set(levels[:, 1].tolist()) <= set(range(40))
    assert len(levels[:, 1].unique()) > 20


def test_a_class_without_images_is_an_error_not_a_black_image():
    own = bank()
    own.add(inversion(0, [0, 1, 2]))
    with pytest.raises(DfmlError, match="the bank lacks some classes"):
        own.of_model([1, 3], 4, torch_generator(0))
