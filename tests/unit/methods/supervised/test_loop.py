"""Learning from real images: the kind of learner, what of it moves, and that every data set is met."""

from dataclasses import replace

import pytest
import torch

from dfml.data.images import SPLITS, save_images
from dfml.methods.supervised import loop
from dfml.methods.supervised.settings import SupervisedProtonetSettings
from support.cells import context, supervised_options
from support.zoo import WAYS, pattern_images

PROTONET = {"iterations": 4, "episodes": 2, "queries": 3, "snapshots": 2}
KINDS = {"supervised_maml": (True, False), "supervised_anil": (True, True), "supervised_protonet": (False, False)}


def fit(method, images):
    options = supervised_options()
    if method == "supervised_protonet":
        options = SupervisedProtonetSettings(**PROTONET).model_dump(mode="json")
    return loop.fit(context(method, images=[images], options=options))


@pytest.mark.parametrize("method", KINDS)
def test_the_learner_is_of_the_kind_asked_for(images, method):
    fitted = fit(method, images)
    assert (fitted.finetune, fitted.head_only) == KINDS[method]
    first, last = (snapshot.states[0] for snapshot in fitted.snapshots)
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    # The outer steps of ANIL move the features too; no centroid depends on a head, nothing on `idle`.
    idle = {f"blocks.{block}.bias" for block in (0, 4, 8, 12)}
    assert moved - idle == {n for n in first if method != "supervised_protonet" or not n.startswith("head.")} - idle


def test_the_inner_loop_of_anil_is_not_that_of_maml(images):
    maml, anil = (fit(method, images).history[0] for method in ("supervised_maml", "supervised_anil"))
    assert maml["replay_loss"] != anil["replay_loss"]


def test_every_data_set_is_met_with_its_own_normalisation(tmp_path, monkeypatch):
    """Rows and columns of two greys; each at the mean and deviation of its own data set is rows or columns of ±1."""
    greys = {"rows": (40, 60), "columns": (100, 220)}
    for name, (dark, light) in greys.items():
        splits = {s: replace(pattern_images(split=s, per_class=6), dataset=name) for s in SPLITS}
        for images in (images for split in splits.values() for images in split.images):
            images[:] = dark
            (images if name == "rows" else images.mT)[..., ::2, :] = light
        save_images(tmp_path / name, splits, source="folder")
    met = []

    def step(support, query):
        for images in (support, query):
            torch.testing.assert_close(images.abs(), torch.ones_like(images))
        assert support.shape[:2] == (2, WAYS)
        met.append("rows" if torch.equal(support[..., :1].expand_as(support), support) else "columns")
        return torch.zeros(()), torch.zeros(())

    monkeypatch.setattr(loop, "make_outer_step", lambda *_, **__: step)
    options = {"iterations": 20, "episodes": 2, "queries": 3, "snapshots": 1}
    folders = [tmp_path / name for name in greys]
    fitted = loop.fit(context("supervised_protonet", images=folders, options=options))
    assert len(met) == 20 and set(met) == set(greys) == set(fitted.domains)
