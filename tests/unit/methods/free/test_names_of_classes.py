"""The class names of a card decide what FREE calls one class: with wrong ones the learner falls to chance."""

import numpy as np
import pytest
import torch

from dfml.compute.seeds import numpy_rng
from dfml.data.images import ClassImages
from dfml.data.sources.embedded import read_embedded
from dfml.evaluation.episodes import EpisodeSet, episode_accuracies
from dfml.evaluation.settings import EvaluationSettings
from dfml.inversion.settings import InversionSettings
from dfml.metalearning.store import load_learner
from dfml.methods.free.settings import FreeSettings
from dfml.networks.settings import LearnerSettings
from support import lab
from support.cells import fit_cell, write_inversion
from support.repository import ROOT
from support.zoo import CPU

pytestmark = pytest.mark.slow

EMBEDDED = ROOT / "resources" / "embedded"
WAYS, MODELS, PER_CLASS = 5, 12, 10
INVERSION = InversionSettings(latent=8, width=2, images_per_class=PER_CLASS, slots=6)
REPLAY = {"mode": "fixed", "max_outer": 75, "episodes": 4, "queries": 5}
REPLAY |= {"inner_steps": 3, "inner_learning_rate": 0.03, "learning_rate": 0.003}
OPTIONS = {"start": "zero_head", "online": False, "iterations": 4, "snapshots": 1, "bell": {"mode": "off"}}


@pytest.fixture(scope="module")
def icons():
    """Icons by class name, and the names of each split."""
    with np.load(EMBEDDED / "icons.npz", allow_pickle=False) as file:
        names, split = file["names"], file["split"]
    images = {name: torch.from_numpy(np.array(own)) for name, own in read_embedded("icons_colour", EMBEDDED).items()}
    return images, [names[split == number].tolist() for number in range(3)]


def learner_of(folder, icons, shown, called):
    """FREE's learner of an imported zoo and of a bank of real images, as a perfect inversion would recover them.

    Each model was ``shown`` five classes, which its card has ``called`` by five names.
    """
    lab.write_networks(folder)
    cards = [
        lab.model(folder, f"m{i}", lab.module("own", WAYS, seed=i), "nets.py:own", classes=own, options={"outputs": 5})
        for i, own in enumerate(called)
    ]
    lab.taken(lab.write_card(folder, cards), folder / "zoo")
    pool = lab.pool_of(folder / "zoo")
    rng, classes_of = numpy_rng(0, "bank"), iter(shown)

    def images(_model):
        classes, rows = next(classes_of), rng.choice(90, PER_CLASS, replace=False)
        return torch.stack([icons[name][row] for row in rows for name in classes]).float() / 255

    inversion = write_inversion(folder / "inversion", pool, settings=INVERSION, side=lab.SIDE, images=images)
    inputs = {"zoos": [folder / "zoo"], "inversion": inversion, "inversion_settings": INVERSION, "ways": WAYS}
    options = FreeSettings(**OPTIONS, replay=REPLAY).resolved(INVERSION).model_dump(mode="json")
    made = fit_cell(folder / "learner", "free", options, learner=LearnerSettings(family="conv4", width=8), **inputs)
    return load_learner(made, steps=10, learning_rate=0.03, device=CPU)[1][-1]


def test_with_permuted_class_names_the_learner_falls_to_chance(icons, tmp_path):
    images, (trained, _, unseen) = icons
    shown = [numpy_rng(0, "classes", model).permutation(trained[:12])[:WAYS].tolist() for model in range(MODELS)]
    permuted = [numpy_rng(0, "names", model).permutation(own).tolist() for model, own in enumerate(shown)]
    data = ClassImages(
        "icons_colour", "meta_test", tuple(unseen), [images[name] for name in unseen], "see PROVENANCE.md"
    )
    episodes = EpisodeSet.draw(data, ways=WAYS, shots=1, settings=EvaluationSettings(), count=100, device=CPU)
    accuracy = {}
    for kind, called in {"true": shown, "permuted": permuted}.items():
        learner = learner_of(tmp_path / kind, images, shown, called)
        accuracy[kind] = episode_accuracies(learner, episodes)["centroid_cosine", "transductive"].mean()
    assert accuracy["true"] > 33
    assert accuracy["permuted"] < 24
