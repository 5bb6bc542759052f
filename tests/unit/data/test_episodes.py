import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfml.data.episodes import Episodes, gather, sample_episodes
from dfml.errors import DataError

COUNTS = (12, 9, 30, 11, 10, 25)
TASK = {"ways": 3, "shots": 2, "queries": 4, "episodes": 20, "seed": 0, "split": "meta_test"}
# Taken once and kept: the episodes must not change between processes, machines or versions.
DIGEST = "e333ba6a2d0d64ea4a9c4f56268fffafed1223a561d3737d10dba6c33fc247f5"


@settings(max_examples=200, deadline=None)
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=7),
    data=st.data(),
    episodes=st.integers(1, 5),
    seed=st.integers(0, 3),
)
def test_episodes_hold_different_classes_and_images(counts, data, episodes, seed):
    ways = data.draw(st.integers(1, len(counts)))
    taken = data.draw(st.integers(1, min(counts)))
    shots = data.draw(st.integers(0, taken))
    drawn = sample_episodes(
        counts, ways=ways, shots=shots, queries=taken - shots, episodes=episodes, seed=seed, split="meta_val"
    )
    assert drawn.classes.shape == (episodes, ways)
    assert drawn.support.shape == (episodes, ways, shots)
    assert drawn.query.shape == (episodes, ways, taken - shots)
    assert (len(drawn), drawn.ways, drawn.shots, drawn.queries) == (episodes, ways, shots, taken - shots)
    assert {a.dtype for a in (drawn.classes, drawn.support, drawn.query)} == {np.dtype(np.int64)}
    for e in range(episodes):
        assert len(set(drawn.classes[e].tolist())) == ways
        for w in range(ways):
            images = [*drawn.support[e, w].tolist(), *drawn.query[e, w].tolist()]
            assert len(set(images)) == taken
            assert 0 <= min(images) <= max(images) < counts[drawn.classes[e, w]]


def test_episodes_depend_on_their_arguments_only():
    assert sample_episodes(COUNTS, **TASK).digest() == DIGEST
    for change in ({"seed": 1}, {"split": "meta_val"}, {"shots": 1}, {"queries": 5}, {"ways": 4}):
        assert sample_episodes(COUNTS, **(TASK | change)).digest() != DIGEST
    np.random.default_rng().random(3)
    torch.rand(3)
    assert sample_episodes(list(COUNTS), **TASK, names=list("abcdef")).digest() == DIGEST


def test_working_in_pieces_changes_nothing(monkeypatch):
    monkeypatch.setattr("dfml.data.episodes._KEYS_AT_ONCE", 200)
    assert sample_episodes(COUNTS, **TASK).digest() == DIGEST


def test_all_classes_and_images_are_about_equally_frequent():
    drawn = sample_episodes([8] * 6, **(TASK | {"episodes": 1000}))
    assert np.bincount(drawn.classes.ravel(), minlength=6).min() > 400
    assert np.bincount(drawn.support.ravel(), minlength=8).min() > 600
    assert np.bincount(drawn.query.ravel(), minlength=8).min() > 1300


def test_too_many_ways():
    with pytest.raises(DataError, match=r"meta_test has 2 classes.*ways = 3"):
        sample_episodes([20, 20], **TASK)


def test_too_few_images_names_the_classes():
    with pytest.raises(DataError, match=r"2 \+ 4 = 6 images.*fewer are in: owl \(5\), elk \(1\);"):
        sample_episodes([6, 5, 1], **TASK, names=["fox", "owl", "elk"])


def numbered(counts):
    """Images whose only pixel tells class and number: 100 * class + image."""
    values = torch.cat([100 * c + torch.arange(n) for c, n in enumerate(counts)])
    offsets = torch.tensor([0, *counts]).cumsum(0)
    return values.reshape(-1, 1, 1, 1), offsets


def test_labels_are_positions_of_classes_and_stay_with_their_images():
    images, offsets = numbered(COUNTS)
    drawn = sample_episodes(COUNTS, **TASK)
    for e in range(len(drawn)):
        batch = gather(images, offsets, drawn, e)
        for pixels, labels, within in (
            (batch.support, batch.support_labels, drawn.support[e]),
            (batch.query, batch.query_labels, drawn.query[e]),
        ):
            assert pixels.shape == (within.size, 1, 1, 1)
            order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(e))
            shuffled = zip(pixels.flatten()[order].tolist(), labels[order].tolist(), strict=True)
            for value, label in shuffled:
                assert value // 100 == drawn.classes[e, label]
                assert value % 100 in within[label]
            assert labels.tolist() == sorted(labels.tolist())
            assert (pixels.flatten() % 100).tolist() == within.ravel().tolist()


def test_a_slice_stacks_its_episodes():
    images, offsets = numbered(COUNTS)
    drawn = sample_episodes(COUNTS, **TASK)
    batch = gather(images.to(torch.uint8), offsets, drawn, slice(4, 9))
    assert batch.support.shape == (5, 6, 1, 1, 1)
    assert batch.query.shape == (5, 12, 1, 1, 1)
    assert batch.query.dtype == torch.uint8
    for e in range(5):
        one = gather(images.to(torch.uint8), offsets, drawn, 4 + e)
        for several, single in ((batch.support, one.support), (batch.query, one.query)):
            assert torch.equal(several[e], single)
        assert torch.equal(batch.support_labels, one.support_labels)
        assert torch.equal(batch.query_labels, one.query_labels)


def test_digest_sees_shapes():
    flat = np.arange(4).reshape(1, 2, 2)
    one = Episodes(np.zeros((1, 2), np.int64), flat, flat)
    other = Episodes(np.zeros((1, 2), np.int64), flat.reshape(1, 1, 4), flat)
    assert one.digest() != other.digest()
