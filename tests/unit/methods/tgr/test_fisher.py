"""The diagonal Fisher information of a probe, against loops over images (T3)."""

import copy

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from dfml.artefacts.zoo import NetworkSpec
from dfml.errors import FileFormatError
from dfml.methods.tgr import fisher
from dfml.methods.tgr.fisher import batch_size, fisher_diagonal
from dfml.methods.tgr.probes import imagenet_resnet34, learner_probe, random_resnet34
from support.learners import SPEC, encoder, generator
from support.zoo import CPU, SIDE, WAYS, WIDTH, random_model, random_network, same_bits


def labelled(count, seed=0):
    draws = generator(seed)
    images = torch.randn(count, 3, SIDE, SIDE, generator=draws, dtype=torch.float64)
    return images, torch.randint(WAYS, (count,), generator=draws)


def gradient(network, images, targets):
    loss = F.cross_entropy(network(images), targets)
    names = [name for name, _ in network.named_parameters()]
    return dict(zip(names, torch.autograd.grad(loss, list(network.parameters())), strict=True))


def frozen(family="conv4", side=SIDE):
    spec = NetworkSpec(family=family, width=WIDTH, ways=WAYS, side=side)
    return random_network(spec, 3).double()


@pytest.mark.parametrize(("family", "side"), [("conv4", SIDE), ("conv4", None), ("resnet10", SIDE)])
def test_per_sample_is_a_loop_over_images(family, side, monkeypatch):
    monkeypatch.setattr(fisher, "MOST", 3)
    network = frozen(family, side)
    before = copy.deepcopy(network.state_dict())
    images, targets = labelled(7)
    found = fisher_diagonal(network, images, targets, kind="per_sample", stored=True)
    loop = [gradient(network.requires_grad_(True), images[i : i + 1], targets[i : i + 1]) for i in range(len(images))]
    for name, value in found.items():
        torch.testing.assert_close(value, torch.stack([g[name].square() for g in loop]).mean(0))
    assert all(same_bits(value, before[name]) for name, value in network.state_dict().items())


def test_squared_mean_is_of_five_batches_in_training_mode():
    network = frozen()
    before = copy.deepcopy(network.state_dict())
    images, targets = labelled(20)
    found = fisher_diagonal(network, images, targets, kind="squared_mean", stored=True)
    own = copy.deepcopy(network).requires_grad_(True).train()
    parts = [gradient(own, images[i : i + 4], targets[i : i + 4]) for i in range(0, 20, 4)]
    for name, value in found.items():
        torch.testing.assert_close(value, torch.stack([g[name].square() for g in parts]).mean(0))
    assert all(same_bits(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training


def test_the_two_estimates_differ():
    network, (images, targets) = frozen(), labelled(20)
    kinds = [fisher_diagonal(network, images, targets, kind=k, stored=True) for k in ("per_sample", "squared_mean")]
    assert kinds[0]["head.bias"].sum() > 1.5 * kinds[1]["head.bias"].sum()


def test_the_learner_as_a_probe_answers_as_it_does_in_an_episode():
    learner = encoder()
    probe = learner_probe(learner, SPEC, CPU)
    images, targets = labelled(12)
    images = images.float()
    measured = copy.deepcopy(probe.network)
    fisher._measure(measured, images)
    # The running variance is the unbiased one.
    torch.testing.assert_close(measured.eval()(images), learner(images), atol=0.05, rtol=0)
    found = fisher_diagonal(probe.network, images, targets, kind="per_sample", stored=False)
    again = fisher_diagonal(measured, images, targets, kind="per_sample", stored=True)
    assert found.keys() == dict(learner.named_parameters()).keys()
    assert all(same_bits(value, again[name]) for name, value in found.items())
    assert all(value.mean() > 0 for value in found.values())


def test_batches_fit_into_memory():
    small, large = frozen(), random_resnet34(generator(0), CPU).network
    assert batch_size(small, 1000, "per_sample") == fisher.MOST
    assert batch_size(large, 1000, "per_sample") * sum(p.numel() for p in large.parameters()) <= fisher.ROOM
    assert batch_size(small, 1001, "squared_mean") == 201


def test_random_resnet_is_of_its_seed_and_takes_local_labels():
    networks = [random_resnet34(generator(seed), CPU) for seed in (0, 0, 1)]
    states = [probe.network.state_dict()["layer1.0.conv1.weight"] for probe in networks]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    model, images = random_model(dtype=torch.float32), torch.rand(2, 3, SIDE, SIDE, generator=generator(0))
    inputs = networks[0].inputs(model, images)
    assert inputs.shape == images.shape
    assert not torch.allclose(inputs, model.inputs(images))  # ImageNet's own normalisation
    found = fisher_diagonal(networks[0].of(model), inputs, torch.tensor([0, 2]), kind="per_sample", stored=False)
    assert all(torch.isfinite(value).all() for value in found.values())


def test_imagenet_weights_are_read_from_the_file(tmp_path):
    given = {name: t.contiguous() for name, t in random_resnet34(generator(0), CPU).network.state_dict().items()}
    save_file(given, tmp_path / "r34.safetensors")
    probe = imagenet_resnet34(tmp_path / "r34.safetensors", CPU)
    assert probe.stored
    assert all(torch.equal(value, given[name]) for name, value in probe.network.state_dict().items())


@pytest.mark.parametrize("content", [None, b"nothing", {"conv1.weight": torch.zeros(2)}])
def test_missing_or_other_weights_are_refused(tmp_path, content):
    path = tmp_path / "r34.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file(content, path)
    with pytest.raises(FileFormatError, match=r"tgr\.probe_weights"):
        imagenet_resnet34(path, CPU)
