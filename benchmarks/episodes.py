"""The meta-step of MAML: all episodes of an outer step, second order, optimiser included."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.arms import Arm, Case
from benchmarks.reference import maml
from benchmarks.report import run
from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.optimisers import Adam
from dfml.compute.placement import to_device
from dfml.metalearning.episode_forms import CANDIDATES
from dfml.metalearning.inner_loop import parameters_of
from dfml.metalearning.meta_step import MetaStep
from dfml.networks.build import build_network, forward_macs
from dfml.networks.conv4 import Conv4

QUERIES, STEPS, RATE, OUTER_RATE = 15, 5, 0.01, 1e-3


def case(side: int, *, shots: int = 1, episodes: int = 10, ways: int = 5, width: int = 32, rounds: int = 5) -> Case:
    """The paper's Conv4 and inner loop at one image side."""
    options = {"side": side, "shots": shots, "episodes": episodes, "ways": ways, "width": width}
    network = build_network(_spec(side, ways, width), episodic=True)
    support, query = ways * shots, ways * QUERIES
    # A query image is passed forward and back; a support image at every inner step too, and both once more back.
    flops = 2 * forward_macs(network, side) * (3 * query + 9 * STEPS * support)
    activations = width * sum((side // 2**block) ** 2 for block in range(4))
    # Convolution and norm write one such tensor each, pool and ReLU a quarter each; each is read once.
    traffic = 4 * 5 * activations * (3 * query + 9 * STEPS * support)
    return Case(
        f"meta-step, Conv4-{width} {side} px, {ways}-way {shots}-shot, {episodes} episodes (per episode)",
        Arm("benchmarks.episodes:ours", options),
        Arm("benchmarks.episodes:reference", options, plain=True),
        units=episodes,
        rounds=rounds,
        flops=flops,
        bytes=traffic,
    )


def cases(device: str) -> Sequence[Case]:
    """The two image sides of the paper, and 5-shot."""
    return [case(32), case(32, shots=5, rounds=3), case(84, episodes=10 if device != "cpu" else 4, rounds=3)]


def _spec(side: int, ways: int, width: int) -> NetworkSpec:
    return NetworkSpec(family="conv4", width=width, ways=ways, side=side)


def _start(side: int, ways: int, width: int) -> Conv4:
    network = build_network(_spec(side, ways, width), generator=torch.Generator().manual_seed(0), episodic=True)
    assert isinstance(network, Conv4)
    return network


def _images(episodes: int, ways: int, shots: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    support = torch.randn(episodes, ways * shots, 3, side, side, generator=draws)
    return support.to(device), torch.randn(episodes, ways * QUERIES, 3, side, side, generator=draws).to(device)


def ours(
    *, device: torch.device, side: int, shots: int, episodes: int, ways: int, width: int, form: str | None = None
) -> Callable[[], Tensor]:
    """Dfml's step, in the form that it chooses or in one of ``CANDIDATES``; returns the query loss."""
    network = to_device(_start(side, ways, width), device)
    parameters = parameters_of(network)
    optimiser = Adam([list(parameters.values())], [OUTER_RATE])
    step = MetaStep(
        network,
        parameters,
        optimiser,
        ways=ways,
        steps=STEPS,
        learning_rate=RATE,
        first_order=False,
        form=None if form is None else CANDIDATES[form],
    )
    support, query = _images(episodes, ways, shots, side, device)

    def work() -> Tensor:
        return step(support, query)[0]

    return work


def reference(
    *, device: torch.device, side: int, shots: int, episodes: int, ways: int, width: int
) -> Callable[[], float]:
    """The plain loop; returns the query loss."""
    weights = [p.detach().to(device).requires_grad_() for p in _start(side, ways, width).parameters()]
    optimiser = torch.optim.Adam(weights, OUTER_RATE)
    support, query = _images(episodes, ways, shots, side, device)

    def work() -> float:
        sets = list(zip(support, query, strict=True))
        return maml.outer_step(weights, optimiser, sets, ways=ways, steps=STEPS, rate=RATE)[0]

    return work


if __name__ == "__main__":
    run("Meta-step", cases)
