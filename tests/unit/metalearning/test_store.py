"""Learners on the shelf: what is written comes back, and what is damaged is named."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from dfml.artefacts.learner import MANIFEST, WEIGHTS, LearnerManifest
from dfml.artefacts.zoo import NetworkSpec
from dfml.errors import FileFormatError
from dfml.files.reading import sha256_file
from dfml.metalearning.store import load_learner
from support import manifests
from support.learners import SPEC, encoder, save_learner

CPU = torch.device("cpu")
WIDE = NetworkSpec(family="resnet10", width=2, ways=3, side=16)


def facts(**changes):
    plain = {
        "pool": "single",
        "method": "free",
        "ways": 3,
        "shots": 1,
        "seed": 0,
        "encoders": [SPEC, WIDE],
        "snapshots": [{"iteration": 5, "seconds": 1.5}, {"iteration": 10, "seconds": 3.0}],
        "finetune": False,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "train_seconds": 3.0,
        "teacher_passes": 40,
        "train_episodes": 80,
        "bank_seconds": 1.5,
        "bank_passes": 7,
        "stages": {"bell": 1.0, "replay": 2.0},
        "peak_memory_mb": 100.0,
        "options": {"iterations": 10, "five": None},
        "provenance": manifests.provenance(),
    }
    return plain | changes


def states(seed):
    return [dict(encoder(seed, spec).named_parameters()) for spec in (SPEC, WIDE)]


@pytest.fixture
def folder(tmp_path):
    detached = [[{n: p.detach() for n, p in state.items()} for state in states(seed)] for seed in (0, 1)]
    save_learner(tmp_path, detached, **facts())
    return tmp_path


def load(folder):
    return load_learner(folder, steps=7, learning_rate=0.02, device=CPU)


def rewrite_manifest(folder, **changes):
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite_weights(folder, change):
    """Change the tensors and let the manifest agree with the file, as a faulty writer would."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    rewrite_manifest(folder, weights_sha256=sha256_file(folder / WEIGHTS))


def test_every_kept_iterate_comes_back_bit_for_bit(folder):
    manifest, learners = load(folder)
    assert manifest.model_dump(exclude={"weights_sha256"}) == {
        **facts(),
        "head_only": False,
        "domains": {},
        "encoders": [SPEC.model_dump(), WIDE.model_dump()],
    }
    assert len(learners) == 2
    for seed, own in enumerate(learners):
        assert (own.steps, own.learning_rate, own.rules) == (7, 0.02, ("centroid_euclidean", "centroid_cosine"))
        assert own.mean.tolist() == torch.tensor([0.1, 0.2, 0.3]).tolist()
        for network, expected in zip(own.encoders, states(seed), strict=True):
            found = dict(network.named_parameters())
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[n], p) and not found[n].requires_grad for n, p in expected.items())
            assert not dict(network.named_buffers())  # no stored statistics


def test_iterates_share_no_memory(folder):
    _, (first, second) = load(folder)
    own = {p.data_ptr() for p in first.encoders[0].parameters()}
    assert own.isdisjoint(p.data_ptr() for p in second.encoders[0].parameters())


def test_the_same_learner_gives_the_same_bytes(folder, tmp_path):
    detached = [[{n: p.detach() for n, p in state.items()} for state in states(seed)] for seed in (0, 1)]
    save_learner(tmp_path / "again", detached, **facts())
    for name in (WEIGHTS, MANIFEST):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_file_is_named(folder, name, kept):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(FileFormatError, match=name):
        load(folder)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
@pytest.mark.parametrize("content", [b"PK\x03\x04 something else", b"\x00" * 64, b"[]"])
def test_a_foreign_file_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=name):
        load(folder)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileFormatError, match=name):
        load(folder)


def test_weights_of_another_learner_are_refused(folder):
    def negate(tensors):
        for tensor in tensors.values():
            tensor.neg_()

    tensors = load_file(folder / WEIGHTS)
    negate(tensors)
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(FileFormatError, match=rf"{WEIGHTS}: its digest differs from the manifest's"):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda tensors: tensors.pop("encoder0/head.weight"), id="missing"),
        pytest.param(lambda tensors: tensors.update({"encoder1/head.bias": torch.zeros(2, 4)}), id="shape"),
        pytest.param(lambda tensors: tensors.update({"encoder1/head.bias": torch.zeros(1, 3)}), id="iterates"),
        pytest.param(lambda tensors: tensors.update({"encoder1/head.bias": torch.zeros(())}), id="scalar"),
    ],
)
def test_tensors_that_do_not_fit_the_manifest_are_named(folder, change):
    rewrite_weights(folder, change)
    with pytest.raises(FileFormatError, match=rf"{WEIGHTS}: tensor.* its manifest; run the meta-learning again"):
        load(folder)


@pytest.mark.parametrize("version", [0, 1, 3, "2", None])
def test_an_unknown_version_is_named(folder, version):
    rewrite_manifest(folder, version=version)
    with pytest.raises(FileFormatError, match=rf"{MANIFEST} has dfml.learner version {version!r}"):
        LearnerManifest.load(folder / MANIFEST)


def test_a_manifest_of_another_artefact_is_named(folder):
    rewrite_manifest(folder, format="dfml.zoo")
    with pytest.raises(FileFormatError, match=f"{MANIFEST} is not a dfml.learner file"):
        LearnerManifest.load(folder / MANIFEST)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"mean": [0.1, 0.2]}, "mean"),
        ({"encoders": []}, "encoders"),
        ({"snapshots": [{"iteration": -1, "seconds": 0.0}]}, r"snapshots\.0\.iteration"),
        ({"encoders": [{"family": "vit", "width": 4, "ways": 3, "side": 16}]}, r"encoders\.0\.network"),
        ({"encoders": [5]}, r"encoders\.0\.network"),
        ({"encoders": [{"card": "card.yaml"}]}, r"encoders\.0\.imported\.layer"),
        ({"surprise": 1}, "surprise"),
        ({"seed": "0"}, "seed"),
    ],
)
def test_impossible_entries_are_named(folder, changes, where):
    rewrite_manifest(folder, **changes)
    with pytest.raises(FileFormatError, match=rf"{MANIFEST}: {where}: .*run the rule meta_learn again"):
        LearnerManifest.load(folder / MANIFEST)
