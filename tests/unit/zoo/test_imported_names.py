"""Class names of a card: two models that share a name must mean one thing by it, and where they do not, it shows."""

import pytest
import torch

from dfml.compute.seeds import torch_generator
from dfml.inversion.bank import ImageBank
from dfml.inversion.quality import cross_model_accuracy, teacher_scores
from dfml.jobs.job import Job
from dfml.jobs.progress import NullProgress
from dfml.zoo.imported.store import import_zoo
from dfml.zoo.pool import Pool
from support.inversion import recovered
from support.lab import SIDE, model, write_card
from support.zoo import CPU

COLOURS = ["red", "green", "blue"]
CODE = """
from torch import nn


class Colours(nn.Module):
    def __init__(self):
        super().__init__()
        self.answer = nn.Linear(3, 3)

    def forward(self, images):
        return self.answer(images.mean((2, 3)))
"""


def pool_with(folder, names, label_space="global"):
    """Two models that tell red, green and blue apart alike; the second one's outputs have these names."""
    scope = {}
    exec(CODE, scope)
    network = scope["Colours"]()
    network.load_state_dict({"answer.weight": 10 * torch.eye(3), "answer.bias": torch.zeros(3)})
    folder.mkdir()
    (folder / "nets.py").write_text(CODE)
    models = [
        model(folder, one, network, "nets.py:Colours", classes=classes)
        for one, classes in (("first", COLOURS), ("second", names))
    ]
    card = write_card(folder, models, input={"side": SIDE}, label_space=label_space)
    import_zoo(card, folder / "zoo", name="lab", job=Job("import_zoo", 1, 0, NullProgress()))
    return Pool.load([folder / "zoo"], label_space=label_space, device=CPU)


@pytest.mark.parametrize(
    ("names", "label_space", "agreed"),
    [
        (COLOURS, "global", 100.0),
        (["green", "blue", "red"], "global", 0.0),
        (["green", "red", "blue"], "global", 100 / 3),
        (["green", "blue", "red"], "per_model", None),
    ],
)
def test_other_models_do_not_recognise_what_goes_by_a_wrong_name(tmp_path, names, label_space, agreed):
    pool = pool_with(tmp_path / "lab", names, label_space)
    bank = ImageBank(len(pool.class_names), slots=2, images_per_class=1, side=SIDE, device=CPU)
    pictures = torch.eye(3)[:, :, None, None].expand(3, 3, SIDE, SIDE)  # one of each colour
    for one in pool:
        found = recovered(one, pictures)
        assert teacher_scores(found)[1] == 100
        bank.add(found)
    assert cross_model_accuracy(pool, bank, torch_generator(0)) == (agreed if agreed is None else pytest.approx(agreed))
