"""Features of classifiers from elsewhere: the layer is found or named, and what gives none is told."""

import pytest
import torch
import torchvision
from torch import nn

from dfml.errors import DataError
from dfml.files.user_code import load_file
from dfml.metalearning.store import load_learner
from dfml.networks.batch_norm import statistics_of_first
from dfml.zoo.imported.store import build_features
from support.cells import fit_cell
from support.lab import (
    MEAN,
    SIDE,
    STD,
    classes,
    model,
    module,
    pool_of,
    program,
    taken,
    write_card,
    write_networks,
)
from support.zoo import CPU

MORE = """

class Functional(Own):
    def forward(self, images):
        return torch.nn.functional.linear(self.first(images).mean((2, 3)), self.answer.weight, self.answer.bias)


class Spare(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.unused = nn.Identity()


# As timm's: an activation follows.
class Acting(nn.BatchNorm2d):
    def forward(self, x):
        return torch.nn.functional.gelu(super().forward(x))


class Doubling(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(2 * x)


class Weighing(nn.BatchNorm2d):
    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.PReLU()

    def forward(self, x):
        return self.act(super().forward(x))


class Picky(nn.BatchNorm2d):
    def forward(self, x):
        if x.shape[-1] != 8:
            raise ValueError("maps of side 8")
        return super().forward(x)


class Last(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.last = nn.Identity()

    def forward(self, images):
        return self.answer(self.last(self.first(images).movedim(1, 3)).mean((1, 2)))


def channels_last(outputs):
    return Last(outputs)


def picky(outputs):
    return Own(outputs, norm=Picky)


def acting(outputs):
    return Own(outputs, norm=Acting)


def doubling(outputs):
    return Own(outputs, norm=Doubling)


def weighing(outputs):
    return Own(outputs, norm=Weighing)


class Tokens(Own):
    def forward(self, images):
        tokens = self.first(images).flatten(2).mT
        return self.answer(tokens).mean(1)
"""


def encoder(folder, index=0):
    """A model of the zoo as the encoder that a learner has."""
    chosen = pool_of(folder)[index]
    built = build_features(chosen.features)
    built.imported.load_state_dict({name: chosen.module.state_dict()[name] for name in built.imported.state_dict()})
    return built


def normal(images):
    return (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def entry(folder, name, built, function, **facts):
    return model(folder, name, built, f"nets.py:{function}", options={"outputs": 5}, classes=classes(5)) | facts


def test_a_resnet_gives_what_its_last_layer_takes_by_the_statistics_of_the_batch(tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=7)
    card = write_card(tmp_path, [model(tmp_path, "big", network, "torchvision:resnet18", classes=classes(7))])
    found = taken(card, tmp_path / "zoo").models[0].features
    assert (found.layer, found.of, found.size) == ("fc", "input", 512)
    images = torch.rand(6, 3, SIDE, SIDE)
    network.fc = nn.Identity()
    with torch.no_grad():
        wanted = network.train()(normal(images))
        torch.testing.assert_close(encoder(tmp_path / "zoo").features(images), wanted, rtol=1e-4, atol=1e-4)


def lab_of(folder, function):
    """A zoo of one of the models above, with statistics of chance: its card and the model."""
    write_networks(folder)
    (folder / "nets.py").write_text((folder / "nets.py").read_text() + MORE)
    built = load_file(folder / "nets.py", key="here").__dict__[function](5)
    for norm in built.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias, -1, 1)
    return write_card(folder, [entry(folder, function, built, function)]), built


def test_a_batch_norm_of_a_class_of_its_own_keeps_what_it_does_beside(tmp_path):
    card, built = lab_of(tmp_path, "acting")
    taken(card, tmp_path / "zoo")
    images = torch.rand(6, 3, SIDE, SIDE)
    fit_cell(tmp_path / "learner", "zoo_features", {}, zoos=[tmp_path / "zoo"], resume=None)
    _, (learner,) = load_learner(tmp_path / "learner", steps=1, learning_rate=0.1, device=CPU)
    (own,) = learner.encoders
    with torch.no_grad():
        wanted = built.train().first(normal(images)).mean((2, 3))
        torch.testing.assert_close(own.features(images), wanted, rtol=1e-4, atol=1e-4)
        with statistics_of_first(own, 4):
            by_support = own.features(images)
        torch.testing.assert_close(by_support[:4], own.features(images[:4]), rtol=1e-4, atol=1e-4)
        assert (by_support[4:] - wanted[4:]).abs().max() > 1e-3


def test_layers_that_fail_when_they_are_looked_at(tmp_path):
    card, _ = lab_of(tmp_path, "picky")
    said = r"model `picky`: its features cannot be had \(ValueError: maps of side 8\); say `features: none`"
    with pytest.raises(DataError, match=said):
        taken(card, tmp_path / "zoo")


@pytest.mark.parametrize(("function", "called"), [("doubling", "Doubling"), ("weighing", "Weighing")])
def test_a_batch_norm_that_is_more_than_one_gives_no_features(tmp_path, function, called):
    card, _ = lab_of(tmp_path, function)
    said = rf"layer first\.1, a {called}, is more than a batch norm.*`features: none`"
    with pytest.raises(DataError, match=said):
        taken(card, tmp_path / "zoo")


@pytest.mark.parametrize(
    ("named", "layer", "of"), [({}, "answer", "input"), ({"features": "first"}, "first", "output")]
)
def test_a_layer_is_found_or_named_and_a_map_is_averaged(tmp_path, named, layer, of):
    write_networks(tmp_path)
    own = module("plain", 5)
    card = write_card(tmp_path, [entry(tmp_path, "plain", own, "plain", **named)])
    found = taken(card, tmp_path / "zoo").models[0].features
    assert (found.layer, found.of, found.size) == (layer, of, 6)
    images = torch.rand(3, 3, SIDE, SIDE)
    with torch.no_grad():
        wanted = own.first(normal(images)).mean((2, 3))
    torch.testing.assert_close(encoder(tmp_path / "zoo").features(images), wanted, rtol=1e-4, atol=1e-4)


def test_a_map_with_channels_last_is_averaged_over_the_picture(tmp_path):
    card, built = lab_of(tmp_path, "channels_last")
    text = card.read_text()
    card.write_text(text.replace("network: nets.py:channels_last", "network: nets.py:channels_last\n  features: last"))
    found = taken(card, tmp_path / "zoo").models[0].features
    assert (found.layer, found.of, found.size) == ("last", "output", 6)
    images = torch.rand(6, 3, SIDE, SIDE)
    with torch.no_grad():
        wanted = built.train().first(normal(images)).mean((2, 3))
        torch.testing.assert_close(encoder(tmp_path / "zoo").features(images), wanted, rtol=1e-4, atol=1e-4)


def test_a_convolution_may_answer(tmp_path):
    write_networks(tmp_path)
    facts = {
        "outputs": "probabilities",
        "input": {"side": SIDE, "channels": "grey", "largest": 255, "mean": [0.0], "std": [1.0]},
    }
    card = write_card(tmp_path, [entry(tmp_path, "grey", module("grey", 5), "grey", **facts)])
    found = taken(card, tmp_path / "zoo").models[0].features
    assert (found.layer, found.of, found.size) == ("layer", "input", 1)


def test_none_where_the_card_says_so_or_no_layer_shows(tmp_path):
    write_networks(tmp_path)
    models = [
        entry(tmp_path, "own", module("own", 5), "own", features="none"),
        program(tmp_path, "sealed", module("own", 5), classes=classes(5)),
    ]
    assert [one.features for one in taken(write_card(tmp_path, models), tmp_path / "zoo").models] == [None, None]
    assert [one.features for one in pool_of(tmp_path / "zoo")] == [None, None]


@pytest.mark.parametrize(
    ("function", "named", "said"),
    [
        ("own", {"features": "body"}, "`features` names body, and its module has no such layer"),
        ("Spare", {"features": "unused"}, "the output of layer unused is nothing for 8 images"),
        ("Functional", {}, "no linear layer or convolution answers for its 5 classes.*say `features: none`"),
        ("Tokens", {}, r"the input of layer answer is \[8, 64, 6\] for 8 images.*or say `none`"),
    ],
)
def test_layers_that_give_no_features(tmp_path, function, named, said):
    write_networks(tmp_path)
    code = tmp_path / "nets.py"
    code.write_text(code.read_text() + MORE)
    card = write_card(tmp_path, [entry(tmp_path, "odd", module("own", 5), function, **named)])
    with pytest.raises(DataError, match=f"model `odd`: .*{said}") as error:
        taken(card, tmp_path / "zoo")
    assert "\n" not in str(error.value)
