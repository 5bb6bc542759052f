"""Zoos from elsewhere: what a card says is what a pool asks, and what is not so is refused in one line."""

import pytest
import torch
import torchvision
from safetensors import safe_open
from torch import nn

from dfml.artefacts.imported_zoo import ImportedZooManifest
from dfml.artefacts.zoo import MANIFEST
from dfml.errors import DataError
from dfml.files import tensors
from dfml.imaging.pixels import resized
from dfml.zoo.access import AccessError
from dfml.zoo.imported.building import function_of, program_of
from dfml.zoo.imported.card import read_card
from dfml.zoo.imported.inputs import InputCard
from dfml.zoo.imported.store import load_imported
from support.lab import (
    MEAN,
    NETWORKS,
    SIDE,
    STD,
    classes,
    model,
    module,
    pool_of,
    program,
    taken,
    write_card,
    write_lab,
    write_networks,
)
from support.zoo import CPU, write_random_zoo


@pytest.fixture
def lab(tmp_path):
    card = write_lab(tmp_path / "lab")
    manifest = taken(card, tmp_path / "zoo")
    return card, tmp_path / "zoo", manifest


def test_models_answer_in_a_pool_as_they_do_at_home(lab):
    pool = pool_of(lab[1])
    images = torch.rand(3, 3, SIDE, SIDE)
    normal = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    larger = resized(images, SIDE + 2)
    grey = 255 * (larger * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    with torch.no_grad():
        wanted = [
            module("own", 5)(normal),
            module("plain", 8, seed=1)(normal),
            module("grey", 5, seed=2)(grey).log(),
            module("own", 8, seed=3)(normal),
        ]
        for one, answers in zip(pool, wanted, strict=True):
            torch.testing.assert_close(one.logits(images), answers, rtol=1e-4, atol=1e-4)
    assert [one.architecture for one in pool] == ["birds", "plain", "grey", "sealed"]
    assert [one.selection_accuracy for one in pool] == [81.5, 0.0, 0.0, 0.0]
    assert {one.dataset for one in pool} == {"lab"}


def test_however_often_models_are_read_the_header_of_their_file_is_parsed_once(lab, monkeypatch):
    opened = []
    monkeypatch.setattr(
        tensors, "safe_open", lambda *given, **options: opened.append(given) or safe_open(*given, **options)
    )
    _, models = load_imported(lab[1], CPU)
    first, again = (list(models) for _ in range(2))
    assert len(opened) == 1
    for one, other in zip(first, again, strict=True):
        assert one is not other
        for name, tensor in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)


def test_what_a_model_says_of_itself_is_in_the_manifest(lab):
    _, folder, manifest = lab
    assert ImportedZooManifest.load(folder / MANIFEST) == manifest
    assert [one.kind for one in manifest.models] == ["module", "module", "module", "program"]
    assert [one.norms for one in manifest.models] == [1, 0, 0, 0]
    assert manifest.models[2].std == pytest.approx([1 / 255] * 3)
    assert manifest.class_names == classes(5) + classes(6, 5)
    assert manifest.models[1].classes == list(range(3, 11))


@pytest.mark.parametrize(
    ("given", "mean", "std"),
    [
        ({"mean": MEAN, "std": STD}, MEAN, STD),
        ({"channels": "bgr", "mean": MEAN, "std": STD}, MEAN[::-1], STD[::-1]),
        ({"channels": "grey", "mean": [0.5], "std": [0.25]}, [0.5] * 3, [0.25] * 3),
        ({"largest": 255, "mean": [102, 127.5, 153], "std": [51]}, [0.4, 0.5, 0.6], [0.2] * 3),
    ],
)
def test_pixels_are_scaled_as_the_card_says(given, mean, std):
    found = InputCard.model_validate({"side": SIDE, **given}).normalisation
    assert found[0] == pytest.approx(mean)
    assert found[1] == pytest.approx(std)


def test_a_model_of_blue_first_sees_blue_first(tmp_path):
    write_networks(tmp_path)
    own = module("own", 5)
    entry = model(tmp_path, "own", own, "nets.py:own", options={"outputs": 5}, classes=classes(5))
    card = write_card(tmp_path, [entry], input={"side": SIDE, "channels": "bgr", "mean": MEAN, "std": STD})
    taken(card, tmp_path / "zoo")
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        wanted = own((images.flip(1) - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])
        torch.testing.assert_close(pool_of(tmp_path / "zoo")[0].logits(images), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", ["halved", "beside"])
def test_networks_that_come_in_half_precision_or_import_a_file_beside_when_built(tmp_path, network):
    write_networks(tmp_path)
    (tmp_path / "blocks.py").write_text(f"{NETWORKS}\nBlock = Own\n")
    entry = model(tmp_path, "own", module("own", 5), f"nets.py:{network}", options={"outputs": 5}, classes=classes(5))
    taken(write_card(tmp_path, [entry]), tmp_path / "zoo")
    found = pool_of(tmp_path / "zoo")[0].module.state_dict()
    assert torch.equal(found["module.answer.weight"], module("own", 5).answer.weight)


def test_torchvision_builds_its_own_and_answers_the_same(tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=7).eval()
    entry = model(tmp_path, "big", network, "torchvision:resnet18", classes=classes(7))
    manifest = taken(write_card(tmp_path, [entry]), tmp_path / "zoo")
    assert manifest.models[0].norms == 20
    images = torch.rand(2, 3, SIDE, SIDE)
    normal = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(pool_of(tmp_path / "zoo")[0].logits(images), network(normal), rtol=1e-3, atol=1e-3)


def test_pools_unite_zoos_of_both_kinds(lab, tmp_path):
    own = write_random_zoo(tmp_path / "a", dataset="apples", models=2)
    pool = pool_of(own, lab[1])
    assert len(pool) == 6
    assert pool.ways == 8
    assert len(pool.class_names) == len(set(pool.class_names))
    assert {pool.dataset_of(label) for label in pool[3].class_ids} == {"lab"}
    assert pool.domains.keys() == {"apples", "lab"}
    torch.testing.assert_close(pool.domains["lab"][0], torch.tensor(lab[2].mean))
    assert {len(ids) for ids in (model.class_ids for model in pool)} == {3, 5, 8}


def test_classes_of_one_name_are_one_class_or_not(tmp_path):
    for space, wanted in (("global", 5), ("per_model", 10)):
        folder = tmp_path / space
        write_networks(folder)
        models = [
            model(folder, name, module("own", 5, seed=seed), "nets.py:own", options={"outputs": 5}, classes=classes(5))
            for seed, name in enumerate(("one", "two"))
        ]
        taken(write_card(folder, models, label_space=space), folder / "zoo")
        assert len(pool_of(folder / "zoo").class_names) == wanted
        assert len(pool_of(folder / "zoo", label_space="per_model").class_names) == 10


def test_a_service_gives_its_answers_and_nothing_else(tmp_path):
    card = write_lab(tmp_path / "lab", service={})
    assert taken(card, tmp_path / "zoo").models[-1].kind == "function"
    service = pool_of(tmp_path / "zoo", access="logits")[-1]
    images = torch.rand(2, 3, SIDE, SIDE)
    normal = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    wanted = normal.mean((2, 3)) @ torch.linspace(-1, 1, 15).view(5, 3).T
    torch.testing.assert_close(service.logits(images), wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(AccessError):
        service.logits(images.requires_grad_())


@pytest.mark.parametrize(("options", "network"), [({"places": 3}, "service"), ({}, "services"), ({}, "Two")])
def test_services_that_cannot_be_had(tmp_path, options, network):
    write_networks(tmp_path)
    entry = {"name": "odd", "network": f"nets.py:{network}", "answers_only": True, "classes": classes(5)}
    with pytest.raises(DataError, match="model `odd`: ") as error:
        taken(write_card(tmp_path, [entry | {"options": options}]), tmp_path / "zoo")
    assert "\n" not in str(error.value)


def broken(**changes):
    return {"options": {"outputs": 5}, "classes": classes(5), **changes}


def test_a_program_for_small_batches_alone(tmp_path):
    entry = program(tmp_path, "sealed", module("own", 5), largest=8, classes=classes(5))
    with pytest.raises(DataError, match=r"model `sealed`: its program takes at most 8 images at once.*dynamic_shapes"):
        taken(write_card(tmp_path, [entry]), tmp_path / "zoo")


def test_a_program_takes_what_it_makes_of_its_own_to_another_device(tmp_path):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.answer = nn.Linear(3, 5)
            self.register_buffer("mean", torch.ones(3, 1, 1), persistent=False)

        def forward(self, images):
            places = torch.arange(5)
            return self.answer((images - self.mean).mean((2, 3))) + places + torch.tensor([0.5])

    entry = program(tmp_path, "sealed", Own(), classes=classes(5))
    content = (tmp_path / entry["weights"]).read_bytes()
    elsewhere = torch.device("meta")
    answers = program_of(content, elsewhere, "sealed")(torch.zeros(4, 3, SIDE, SIDE, device=elsewhere))
    assert (answers.device, answers.shape) == (elsewhere, (4, 5))


def test_a_service_is_asked_on_the_cpu_and_answers_where_the_images_are(tmp_path):
    class Elsewhere(torch.Tensor):
        def cpu(self):
            return torch.Tensor(self.detach().numpy())

    write_networks(tmp_path)
    with (tmp_path / "nets.py").open("a") as file:
        file.write(
            "\n\ndef strict():\n"
            "    return lambda images: images.mean((2, 3)) if type(images) is torch.Tensor else 1 / 0\n"
        )
    card = write_card(
        tmp_path, [{"name": "remote", "network": "nets.py:strict", "answers_only": True, "classes": classes(3)}]
    )
    (model,) = read_card(card).models
    answer = function_of(model, read_card(card).input_of(model), tmp_path)
    assert answer(torch.rand(2, 3, SIDE, SIDE).as_subclass(Elsewhere)).shape == (2, 3)


def test_a_buffer_of_whole_numbers_without_a_sign(tmp_path):
    write_networks(tmp_path)
    entry = model(tmp_path, "own", module("Numbered", 5), "nets.py:Numbered", **broken())
    taken(write_card(tmp_path, [entry]), tmp_path / "zoo")
    assert pool_of(tmp_path / "zoo")[0].module.state_dict()["module.places"].dtype == torch.uint16


@pytest.mark.parametrize(
    ("built", "network", "changes", "said"),
    [
        ("own", "own", {"classes": classes(4)}, r"answers have the shape \[4, 5\], its 4 `classes` want \[4, 4\]"),
        (
            "own",
            "own",
            {"options": {"outputs": 6}},
            r"does not fit its network: answer.weight is \[5, 6\], not \[6, 6\]",
        ),
        ("own", "own", {"options": {"outputs": 5, "depth": 3}}, "cannot be built .*depth"),
        ("own", "ours", {}, "has no function `ours`"),
        ("own", "grey", {}, "unknown .*, missing layer.weight, unknown .*, missing layer.bias"),
        (
            "grey",
            "grey",
            {"input": {"side": SIDE, "channels": "grey", "mean": [0.0], "std": [1.0]}},
            "probabilities; say `outputs: probabilities`",
        ),
        ("own", "own", {"outputs": "probabilities"}, "no probabilities; say `outputs: logits`"),
        (
            "own",
            "own",
            {"input": {"side": SIDE, "channels": "grey", "mean": [0.0], "std": [1.0]}},
            "it fails on a batch of 4 images of side 32",
        ),
        ("dropping", "dropping", {}, "asked twice, it answers differently"),
        ("Counting", "Counting", {}, "changes its own buffers"),
        ("Together", "Together", {}, "depends on the others of the batch"),
        ("Two", "Two", {}, "answers with a tuple"),
        ("Drawn", "Drawn", {}, "drawn by chance that its state dict does not hold"),
        ("Rounded", "Rounded", {}, "gradient of its answers with respect to the image is zero"),
        ("Writing", "Writing", {}, "writes into the images"),
        ("own", "Lazy", {}, r"the sizes of answer\.weight, answer\.bias are not known before the first call"),
    ],
)
def test_models_that_are_not_what_they_say(tmp_path, built, network, changes, said):
    write_networks(tmp_path)
    entry = model(tmp_path, "odd", module(built, 5), f"nets.py:{network}", **broken(**changes))
    with pytest.raises(DataError, match=f"model `odd`: .*{said}") as error:
        taken(write_card(tmp_path, [entry]), tmp_path / "zoo")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "zoo").exists()
