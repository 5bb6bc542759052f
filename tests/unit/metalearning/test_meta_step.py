"""The outer step as one call, and on a GPU as one recorded graph."""

import pytest
import torch

from dfml.compute.capture import WARM_UP
from dfml.compute.optimisers import Adam
from dfml.metalearning.inner_loop import parameters_of
from dfml.metalearning.meta_gradient import meta_gradient, set_gradients
from dfml.metalearning.meta_step import MetaStep
from support.learners import SIDE, WAYS, encoder, generator

INNER = {"steps": 3, "learning_rate": 0.1, "first_order": False}
CONVOLUTION_BIASES = {f"blocks.{4 * block}.bias" for block in range(4)}


def batches(count, device="cpu"):
    draws = generator(0)
    for _ in range(count):
        yield tuple(torch.randn(2, WAYS * n, 3, SIDE, SIDE, generator=draws).to(device) for n in (1, 3))


def test_a_step_is_the_meta_gradient_handed_to_the_optimiser():
    network = encoder()
    found, expected = parameters_of(network), parameters_of(network)
    step = MetaStep(network, found, Adam([list(found.values())], [0.01]), ways=WAYS, **INNER)
    optimiser = Adam([list(expected.values())], [0.01])
    for support, query in batches(3):
        loss, accuracy = step(support, query)
        result = meta_gradient(network, expected, support, query, ways=WAYS, **INNER)
        set_gradients(expected, result.gradients)
        optimiser.step()
        assert torch.equal(loss, result.loss) and torch.equal(accuracy, result.accuracy)
    assert all(torch.equal(found[name], p) for name, p in expected.items())
    assert all(p.grad is None for p in found.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_recorded_step_is_the_step_on_the_cpu():
    ends = {}
    for device in ("cpu", "cuda"):
        network = encoder().to(device)
        parameters = parameters_of(network)
        optimiser = Adam([list(parameters.values())], [1e-3], averaging=1.0)
        step = MetaStep(network, parameters, optimiser, ways=WAYS, **INNER)
        losses = [step(*batch)[0].item() for batch in batches(WARM_UP + 4, device)]
        averages = {f"average of {name}": p for name, p in optimiser.averaged(parameters).items()}
        ends[device] = losses, {name: p.detach().cpu() for name, p in (parameters | averages).items()}
    assert ends["cuda"][0] == pytest.approx(ends["cpu"][0], rel=1e-3)
    for name, p in ends["cpu"][1].items():
        # A bias in front of a batch norm has no gradient but rounding errors, and Adam makes whole steps of them.
        if name.removeprefix("average of ") not in CONVOLUTION_BIASES:
            torch.testing.assert_close(ends["cuda"][1][name], p, rtol=1e-2, atol=2e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_bits_run_to_run_on_one_device():
    def run():
        network = encoder().to("cuda")
        parameters = parameters_of(network)
        step = MetaStep(network, parameters, Adam([list(parameters.values())], [1e-3]), ways=WAYS, **INNER)
        for batch in batches(WARM_UP + 4, "cuda"):
            step(*batch)
        return {name: p.detach().cpu() for name, p in parameters.items()}

    first, second = run(), run()
    assert all(torch.equal(first[name], p) for name, p in second.items())
