"""Models as labs write and save them: what is taken as it is, and what is refused with the remedy."""

import argparse
import pickle

import pytest
import torch
from torch import nn

from dfml.errors import DataError
from dfml.metalearning.store import load_learner
from dfml.methods.heads.questions import ask
from support.cells import fit_cell
from support.lab import MEAN, SIDE, STD, classes, model, module, pool_of, taken, write_card, write_networks
from support.zoo import CPU

MORE = """

import sys
import threading

from torch.utils.checkpoint import checkpoint


class Sigmoid(Own):
    def forward(self, images):
        return super().forward(images).sigmoid()


class Percent(Own):
    def forward(self, images):
        return 100 * super().forward(images).softmax(1)


class Minus(Own):
    def forward(self, images):
        return -super().forward(images).log_softmax(1)


class Viewing(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=4)
        self.answer = nn.Linear(4 * 8 * 8, outputs)

    def forward(self, images):
        return self.answer(self.first(images).view(len(images), -1))


class Flat(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.answer = nn.Linear(3 * 32 * 32, outputs)

    def forward(self, images):
        return self.answer(images.view(-1, 3 * 32 * 32))


class Locked(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.lock = threading.Lock()


def synchronised(outputs):
    return Own(outputs, norm=nn.SyncBatchNorm)


class Training(Own):
    def train(self, data):
        raise ValueError("no data")


class NoGradient(Own):
    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)


class InPlace(Own):
    def forward(self, images):
        answers = super().forward(images).sigmoid()
        answers.mul_(2)
        return answers


def exits(outputs):
    sys.exit(3)


def doubles(outputs):
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    return Own(outputs)


def parallel(outputs):
    return nn.DataParallel(Own(outputs))


class Calibrated(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.scale = nn.Linear(outputs, outputs)

    def forward(self, images):
        return self.scale(super().forward(images))


class Beside(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.other = nn.Linear(3, outputs)

    def forward(self, images):
        answers = super().forward(images)
        self.other(images.mean((2, 3)))
        return answers


class Tempered(Beside):
    def forward(self, images):
        return super().forward(images) / 3


class Soft(Beside):
    def forward(self, images):
        return super().forward(images).softmax(1)


class Wide(Own):
    def __init__(self, outputs):
        super().__init__(outputs, width=outputs)


class Standardised(Own):
    def forward(self, images):
        return super().forward((images - images.mean((1, 2, 3), True)) / images.std((1, 2, 3), keepdim=True))


class Wrapped(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.module = Own(outputs)
        self.register_buffer("scale", torch.full((), 0.5))

    def forward(self, images):
        return self.module(images * self.scale)


class Dense(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, stride=4), nn.SyncBatchNorm(6), nn.ReLU())
        self.second = nn.SyncBatchNorm(6)
        self.answer = nn.Linear(6, outputs)

    def forward(self, images):
        return self.answer(self.second(self.first(images).mean((2, 3))))


class Mean(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.one, self.other = Own(outputs), Own(outputs)

    def forward(self, images):
        return (self.one(images) + self.other(images)) / 2
"""


@pytest.fixture
def lab(tmp_path):
    """Imports one model with the given facts into a zoo of its own; ``saved`` is what stands in its weights' file."""
    write_networks(tmp_path)
    with (tmp_path / "nets.py").open("a", encoding="utf-8") as file:
        file.write(MORE)
    scope = {}
    exec((tmp_path / "nets.py").read_text(encoding="utf-8"), scope)

    def made(network, *, saved=None, **facts):
        torch.manual_seed(0)
        kept = network if network not in ("exits", "doubles", "parallel") else "Own"
        built = scope[kept](5)
        options = {"options": {"outputs": 5}, "classes": classes(5)}
        entry = model(tmp_path, "odd", built, f"nets.py:{network}", **(options | facts))
        if saved is not None:
            torch.save(saved(built.state_dict()), tmp_path / "odd.pt")
            entry["weights"] = "odd.pt"
        return taken(write_card(tmp_path, [entry]), tmp_path / "zoo"), built.eval()

    made.folder = tmp_path / "zoo"
    return made


IMAGES = torch.rand(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def at_home(network):
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    with torch.no_grad():
        return network((IMAGES - mean) / std)


@pytest.mark.parametrize("network", ["Viewing", "Flat", "synchronised", "Locked", "Standardised", "Wrapped", "Dense"])
def test_modules_as_people_write_them_answer_as_at_home(lab, network):
    _, built = lab(network)
    (model,) = pool_of(lab.folder)
    answers = model.logits(IMAGES.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(answers, at_home(built), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["Locked", "own"])
def test_asked_by_the_batch_nothing_is_copied_and_the_statistics_are_there_again(lab, network):
    lab(network)
    (model,) = pool_of(lab.folder)
    images = (IMAGES * 255).byte()
    stored, by_batch, again = (ask([model], images, statistics=how) for how in ("stored", "batch", "stored"))
    assert torch.equal(stored, again)
    assert not torch.allclose(stored, by_batch, atol=1e-3)


def test_norms_that_processes_share_are_plain_ones(lab):
    manifest, built = lab("synchronised")
    assert isinstance(built.first[1], nn.SyncBatchNorm)
    assert manifest.models[0].norms == 1
    assert lab("Dense")[0].models[0].norms == 1
    lab("synchronised")
    (model,) = pool_of(lab.folder)
    images = (IMAGES * 255).byte()
    assert not torch.equal(*(ask([model], images, statistics=how) for how in ("stored", "batch")))


def test_what_went_into_a_sigmoid_is_the_logits(lab):
    _, built = lab("Sigmoid", outputs="sigmoid")
    (model,) = pool_of(lab.folder)
    torch.testing.assert_close(model.logits(IMAGES).sigmoid(), at_home(built), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "facts", "said"),
    [
        ("Sigmoid", {}, "all between 0 and 1, .* say `outputs: sigmoid`, or `outputs: logits` if they are none"),
        ("Sigmoid", {"outputs": "probabilities"}, "do not sum to one; say `outputs: sigmoid`"),
        ("own", {"outputs": "sigmoid"}, "not all between 0 and 1.* say `outputs: logits`"),
        ("Percent", {}, "probabilities in percent; divide them by 100"),
        ("Minus", {}, "negative logarithms of probabilities; change their sign"),
        ("exits", {}, r"cannot be built \(SystemExit: 3\)"),
        ("Training", {}, r"cannot be put into evaluation mode on the cpu \(ValueError: no data\)"),
        ("NoGradient", {}, r"no gradient .*does not require grad.*; take `no_grad`"),
        (
            "InPlace",
            {"outputs": "logits"},
            r"no gradient .*inplace.*; take `no_grad`, `detach` and operations in place",
        ),
        ("Calibrated", {}, "scale takes no more numbers than there are classes"),
        ("Mean", {}, r"one\.answer, other\.answer all have as many outputs .*none of them is its answer"),
    ],
)
def test_what_would_be_misunderstood_is_refused(lab, network, facts, said):
    with pytest.raises(DataError, match=f"^model `odd`: .*{said}"):
        lab(network, **facts)


def test_an_owner_who_says_logits_is_believed(lab):
    _, built = lab("Sigmoid", outputs="logits")
    (model,) = pool_of(lab.folder)
    torch.testing.assert_close(model.logits(IMAGES), at_home(built), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "facts"),
    [("Beside", {}), ("own", {}), ("Tempered", {}), ("Soft", {"outputs": "probabilities"}), ("Wide", {})],
)
def test_features_are_of_the_layer_that_answers(lab, network, facts):
    manifest, _ = lab(network, **facts)
    assert (manifest.models[0].features.layer, manifest.models[0].features.of) == ("answer", "input")


def test_what_a_model_sets_for_all_of_torch_is_set_back(lab):
    lab("doubles")
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


PREFIXES = ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net."]


def holding_itself():
    found = {}
    found["model"] = found
    return found


def prefixed(prefix, state):
    return {prefix + key: tensor for key, tensor in state.items()}


@pytest.mark.parametrize(
    "saved",
    [
        *[lambda state, prefix=prefix: prefixed(prefix, state) for prefix in PREFIXES],
        lambda state: {"state_dict": prefixed("model.", state) | {"criterion.scale": torch.tensor(2.0)}, "epoch": 3},
        lambda state: prefixed("module.", state) | {"n_averaged": torch.tensor(7)},
        lambda state: {"net": state, "acc": 93.5},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")},
        lambda state: state | {"total_ops": torch.zeros(1), "first.0.total_params": torch.zeros(1)},
    ],
)
@pytest.mark.parametrize("network", ["own", "parallel"])
def test_checkpoints_as_people_save_them(lab, saved, network):
    _, built = lab(network, saved=saved)
    (model,) = pool_of(lab.folder)
    torch.testing.assert_close(model.logits(IMAGES), at_home(built), rtol=1e-4, atol=1e-5)


def test_of_several_sets_of_weights_the_card_names_one(lab):
    def saved(state):
        return {"state_dict": {key: torch.zeros_like(tensor) for key, tensor in state.items()}, "ema": state}

    with pytest.raises(DataError, match=r"model `odd`: .*several sets of weights, 'state_dict', 'ema'; name one by"):
        lab("own", saved=saved)
    _, built = lab("own", saved=saved, below="ema")
    torch.testing.assert_close(pool_of(lab.folder)[0].logits(IMAGES), at_home(built), rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match=r"nothing below 'emma'; it has 'state_dict', 'ema'"):
        lab("own", saved=saved, below="emma")


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (
            lambda state: prefixed("student.", state) | prefixed("teacher.", state),
            r"several networks, student\., teacher",
        ),
        (lambda state: {"scores": [1.0], "epoch": 3}, "no state dict of tensors; it has 'scores', 'epoch'"),
        (
            lambda state: {"state_dict": state, "args": argparse.Namespace(lr=1)},
            r"holds no plain weights: there is a argparse\.Namespace in it",
        ),
        (lambda state: {"best": state, "epoch": 3}, r"it has 'best', 'epoch'\. If 'best' is it, say `below: best`"),
        (
            lambda state: prefixed("net.", state) | {"scale.weight": torch.ones(5, 5)},
            r"beside net\., which fits its network, .*odd\.pt has scale\.weight; save",
        ),
        (lambda state: holding_itself(), "no state dict of tensors; it has 'model'"),
        (lambda state: prefixed("body.", {"x": torch.ones(1)}), r"unknown body\.x, missing"),
    ],
)
def test_checkpoints_that_are_not_understood(lab, saved, said):
    with pytest.raises(DataError, match=f"^model `odd`: .*{said}") as error:
        lab("own", saved=saved)
    assert len(str(error.value)) < 700
    assert "weights_only" not in str(error.value)


def test_of_a_file_of_another_kind_only_what_is_wrong_is_told(lab, tmp_path):
    write_networks(tmp_path)
    entry = model(tmp_path, "own", module("own", 5), "nets.py:own", options={"outputs": 5}, classes=classes(5))
    (tmp_path / "own.pt").write_bytes(pickle.dumps({"a": torch.ones(2)}, protocol=4))
    with pytest.raises(DataError, match=r"model `own`: .*own\.pt holds no plain weights") as error:
        taken(write_card(tmp_path, [entry | {"weights": "own.pt"}]), tmp_path / "zoo")
    assert "weights_only" not in str(error.value) and "likely succeed" not in str(error.value)


def test_a_learner_of_the_features_of_a_module_that_views_its_images(lab, tmp_path):
    lab("Viewing")
    fit_cell(tmp_path / "learner", "zoo_features", {}, zoos=[lab.folder], resume=None)
    _, (learner,) = load_learner(tmp_path / "learner", steps=1, learning_rate=0.1, device=CPU)
    answers = learner.adapt(IMAGES[:4], torch.tensor([0, 0, 1, 1]))
    assert answers(IMAGES[4:]).shape == (2, 2)


def test_a_pointer_and_a_file_of_another_name(tmp_path):
    write_networks(tmp_path)
    entry = model(tmp_path, "own", module("own", 5), "nets.py:own", options={"outputs": 5}, classes=classes(5))
    (tmp_path / "own.safetensors").rename(tmp_path / "own.bin")
    taken(write_card(tmp_path, [entry | {"weights": "own.bin"}]), tmp_path / "zoo")
    (tmp_path / "own.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match=r"model `own`: .*own\.pt is a pointer of Git LFS"):
        taken(write_card(tmp_path, [entry | {"weights": "own.pt"}]), tmp_path / "zoo")


def test_every_faulty_model_is_named_at_once(tmp_path):
    write_networks(tmp_path)
    facts = {"options": {"outputs": 5}, "classes": classes(4)}
    models = [model(tmp_path, name, module("own", 5), "nets.py:own", **facts) for name in ("one", "two", "three")]
    good = model(tmp_path, "good", module("own", 5), "nets.py:own", **(facts | {"classes": classes(5)}))
    with pytest.raises(DataError, match=r"model `one`: .*; model `two`: .*; model `three`: ") as error:
        taken(write_card(tmp_path, [models[0], good, *models[1:]]), tmp_path / "zoo")
    assert "good" not in str(error.value)
    assert not (tmp_path / "zoo").exists()
