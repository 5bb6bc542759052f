"""Models as labs write them: what is taken as it is, and what is refused with the remedy."""

import pytest
import torch
from torch import nn

from dfml.errors import DataError
from dfml.metalearning.store import load_learner
from dfml.methods.heads.questions import ask
from support.cells import fit_cell
from support.habits import IMAGES, at_home
from support.lab import classes, model, module, pool_of, taken, write_card, write_networks
from support.zoo import CPU


@pytest.mark.parametrize("network", ["Viewing", "Flat", "synchronised", "Locked", "Standardised", "Wrapped", "Dense"])
def test_modules_as_people_write_them_answer_as_at_home(imported, network):
    _, built = imported(network)
    (model,) = pool_of(imported.folder)
    answers = model.logits(IMAGES.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(answers, at_home(built), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["Locked", "own"])
def test_asked_by_the_batch_nothing_is_copied_and_the_statistics_are_there_again(imported, network):
    imported(network)
    (model,) = pool_of(imported.folder)
    images = (IMAGES * 255).byte()
    stored, by_batch, again = (ask([model], images, statistics=how) for how in ("stored", "batch", "stored"))
    assert torch.equal(stored, again)
    assert not torch.allclose(stored, by_batch, atol=1e-3)


def test_norms_that_processes_share_are_plain_ones(imported):
    manifest, built = imported("synchronised")
    assert isinstance(built.first[1], nn.SyncBatchNorm)
    assert manifest.models[0].norms == 1
    assert imported("Dense")[0].models[0].norms == 1
    imported("synchronised")
    (model,) = pool_of(imported.folder)
    images = (IMAGES * 255).byte()
    assert not torch.equal(*(ask([model], images, statistics=how) for how in ("stored", "batch")))


def test_what_went_into_a_sigmoid_is_the_logits(imported):
    _, built = imported("Sigmoid", outputs="sigmoid")
    (model,) = pool_of(imported.folder)
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
def test_what_would_be_misunderstood_is_refused(imported, network, facts, said):
    with pytest.raises(DataError, match=f"^model `odd`: .*{said}"):
        imported(network, **facts)


def test_an_owner_who_says_logits_is_believed(imported):
    _, built = imported("Sigmoid", outputs="logits")
    (model,) = pool_of(imported.folder)
    torch.testing.assert_close(model.logits(IMAGES), at_home(built), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "facts"),
    [("Beside", {}), ("own", {}), ("Tempered", {}), ("Soft", {"outputs": "probabilities"}), ("Wide", {})],
)
def test_features_are_of_the_layer_that_answers(imported, network, facts):
    manifest, _ = imported(network, **facts)
    assert (manifest.models[0].features.layer, manifest.models[0].features.of) == ("answer", "input")


def test_what_a_model_sets_for_all_of_torch_is_set_back(imported):
    imported("doubles")
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


def test_a_learner_of_the_features_of_a_module_that_views_its_images(imported, tmp_path):
    imported("Viewing")
    fit_cell(tmp_path / "learner", "zoo_features", {}, zoos=[imported.folder], resume=None)
    _, (learner,) = load_learner(tmp_path / "learner", steps=1, learning_rate=0.1, device=CPU)
    answers = learner.adapt(IMAGES[:4], torch.tensor([0, 0, 1, 1]))
    assert answers(IMAGES[4:]).shape == (2, 2)


def test_every_faulty_model_is_named_at_once(tmp_path):
    write_networks(tmp_path)
    facts = {"options": {"outputs": 5}, "classes": classes(4)}
    models = [model(tmp_path, name, module("own", 5), "nets.py:own", **facts) for name in ("one", "two", "three")]
    good = model(tmp_path, "good", module("own", 5), "nets.py:own", **(facts | {"classes": classes(5)}))
    with pytest.raises(DataError, match=r"model `one`: .*; model `two`: .*; model `three`: ") as error:
        taken(write_card(tmp_path, [models[0], good, *models[1:]]), tmp_path / "zoo")
    assert "good" not in str(error.value)
    assert not (tmp_path / "zoo").exists()
