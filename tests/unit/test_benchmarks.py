"""The benchmarks: every arm exists and runs, both arms do the same, and the results have the promised form."""

import gc
import importlib
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import (
    end_to_end,
    episodes,
    evaluation,
    forms,
    growth,
    inversion,
    large,
    rules,
    use,
    workflow,
    zoo,
)
from benchmarks.arms import Arm, Case, measure
from benchmarks.draws import FreeDraws
from benchmarks.pools import PER_CLASS, WAYS, published_five, random_pool
from benchmarks.reference import maml
from benchmarks.reference.free import PublishedLoop
from benchmarks.reference.inversion import Upsampler
from dfml.artefacts.zoo import WEIGHTS, NetworkSpec
from dfml.files import tensors
from dfml.inversion.bank import ImageBank
from dfml.inversion.together import CANDIDATES
from dfml.networks.build import build_network
from dfml.networks.generator import Generator

MODULES = (end_to_end, episodes, evaluation, forms, inversion, use, workflow, zoo)


def arms():
    for device in ("cpu", "cuda"):
        for module in MODULES:
            for case in module.cases(device):
                yield from (case.ours, case.reference)
        yield from (arm for _, _, arm, _, _ in growth.series(device))
    yield from (arm for _, arm, _, _ in large.series(Path(), 1))


@pytest.mark.parametrize("target", sorted({arm.target for arm in arms()}))
def test_every_arm_leads_to_a_function(target):
    module, function = target.split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_reference_runs_with_torch_as_it_comes():
    for device in ("cpu", "cuda"):
        for module in MODULES:
            assert all(case.reference.plain and not case.ours.plain for case in module.cases(device))


def test_plain_conv4_is_the_networks_function():
    spec = NetworkSpec(family="conv4", width=4, ways=3, side=32)
    network = build_network(spec, generator=torch.Generator().manual_seed(0), episodic=True)
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(maml.conv4(list(network.parameters()), images), network(images))


def test_plain_generator_is_the_networks_function():
    ours = Generator(latent=6, width=4, side=16)
    ours.initialise(torch.Generator().manual_seed(0))
    plain = inversion.upsampler(ours)
    latents = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(plain.train()(latents), ours(latents))


def test_both_arms_of_evaluation_find_the_same_accuracies():
    tiny = {"side": 16, "shots": 2, "width": 4, "episodes": 3}
    ours, plain = (
        function(device=torch.device("cpu"), **tiny)() for function in (evaluation.ours, evaluation.reference)
    )
    assert ours.shape == (6, 3)
    # A query may lie so near a border that rounding decides.
    assert ((ours - plain).abs() > 1e-9).float().mean() < 0.1
    assert (ours - plain).abs().max() < 100 / 75 + 1e-9


@pytest.mark.parametrize("task", ["adapting", "answering"])
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")  # its folder goes with the arm
def test_both_arms_of_use_find_the_same(task):
    tiny = {"device": torch.device("cpu"), "side": 16, "width": 4, "repeats": 1}
    ours, plain = (getattr(use, name)(**tiny)() for name in (task, f"plain_{task}"))
    torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-5)


def test_an_arm_that_fails_ends_the_benchmark(capfd):
    broken = {"side": 16, "shots": 1, "episodes": 2, "ways": 3}
    case = Case("broken", Arm("benchmarks.episodes:ours", broken), Arm("benchmarks.episodes:reference", broken))
    with pytest.raises(SystemExit, match="an arm of the benchmark failed"):
        measure(case, "cpu", 1)
    assert "missing 1 required keyword-only argument: 'width'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("benchmarks.zoo:ours", {"side": 16, "models": 2, "epochs": 1, "images": 300}),
        (
            "benchmarks.zoo:ours",
            {"side": 16, "models": 1, "epochs": 1, "images": 150, "family": "resnet18", "width": 2, "bfloat16": True},
        ),
        ("benchmarks.zoo:reference", {"side": 16, "models": 2, "epochs": 1, "images": 300}),
        ("benchmarks.growth:loading", {"models": 2}),
        ("benchmarks.growth:inverting", {"models": 4}),
        ("benchmarks.workflow:ours", {"jobs": 300}),
        ("benchmarks.workflow:reference", {"jobs": 3}),
    ],
)
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")  # its folder goes with the arm
def test_an_arm_that_no_other_test_builds_works(target, options):
    module, function = target.split(":")
    work = getattr(importlib.import_module(module), function)(device=torch.device("cpu"), **options)
    work()
    del work
    gc.collect()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Eight models in the place of thousands."""
    folder = tmp_path_factory.mktemp("large")
    large.write_shelf(folder, 8)
    return folder


@pytest.mark.parametrize("number", range(len(list(large.series(Path(), 8)))))
def test_all_that_is_measured_of_a_large_zoo_works(shelf, monkeypatch, number):
    for name, few in (("STEPS", 1), ("ASKED", 6), ("TAUGHT", 64), ("SOME", 3)):
        monkeypatch.setattr(large, name, few)
    _, arm, units, _ = list(large.series(shelf, 8))[number]
    work = getattr(large, arm.target.partition(":")[2])(device=torch.device("cpu"), **arm.options)
    assert work() is None and units >= 1


def test_a_zoo_that_is_not_what_its_receipt_says_is_no_good_for_measuring(tmp_path):
    large.write_shelf(tmp_path, 2)
    (large.zoo_in(tmp_path) / WEIGHTS).write_bytes(b"")
    with pytest.raises(AssertionError):
        large.verifying(device=torch.device("cpu"), folder=str(tmp_path))()


def test_rules_are_read_from_the_last_line_of_each_log(tmp_path):
    ends = {
        "invert/single/a.log": "finished in 3 s, peak 900 MiB\n… INFO finished in 2 min 05 s, peak 700 MiB",
        "invert/single/b.log": "finished in 59 s, peak 812 MiB",
        "evaluate/c.log": "finished in 1 h 02 min, peak 650 MiB",
        "evaluate/d.log": "killed",
        "train_zoo/e.log": "not yet",
    }
    for name, text in ends.items():
        path = tmp_path / "demo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"2026-01-01 00:00:00,000 INFO {text}\n", encoding="utf-8")
    (tmp_path / "demo" / "make_results.log").write_text("finished in 9 s, peak 100 MiB\n", encoding="utf-8")
    assert list(rules.read(tmp_path / "demo")) == [
        {"rule": "evaluate", "experiment": "demo", "jobs": 1, "seconds": 3720, "peak_memory_mb": 650},
        {"rule": "invert", "experiment": "demo", "jobs": 2, "seconds": 125, "peak_memory_mb": 812},
    ]


@pytest.mark.slow
@pytest.mark.parametrize("module", [end_to_end, inversion])
def test_the_published_loops_run(module):
    """At the smallest side that the generator knows, both arms; how far they differ is told, and is rounding."""
    case = module.case(16, rounds=1)
    result = measure(case, "cpu", 1)
    assert result["ratio"] > 0
    assert 0 < result["difference"] < 0.5


def test_the_published_loop_learns_from_the_files_it_wrote(tmp_path):
    torch.manual_seed(0)
    spec = NetworkSpec(family="conv4", width=4, ways=5, side=16)
    weights = [p.detach().clone().requires_grad_() for p in build_network(spec, episodic=True).parameters()]
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5))
    pool = random_pool(4, side=16, device=torch.device("cpu"), width=4)
    draws = FreeDraws(pool, published_five(), seed=0, shots=1, slots=20, per_class=PER_CLASS)
    loop = PublishedLoop([teacher] * 4, [[3, 1, 4, 0, 5]] * 4, weights, Upsampler(4, 4, 16), tmp_path, draws)
    before = [w.detach().clone() for w in weights]
    loss = loop.iteration(outer_steps=1, episodes=2)
    assert loss > 0
    assert sorted(int(folder.name) for folder in tmp_path.iterdir()) == [0, 1, 3, 4, 5]
    assert all(len(list(folder.iterdir())) == 20 for folder in tmp_path.iterdir())
    assert not any(torch.equal(a, b) for a, b in zip(before, weights, strict=True))


@pytest.fixture
def in_float64(monkeypatch):
    """Rounding alone makes two runs of a sign-like optimiser differ; with 53 bits it takes more steps than these."""
    monkeypatch.setitem(tensors._TYPES, torch.float64, "F64")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def runs_of_both_arms(module, count, own=None, **sizes):
    """What ours, with options of its ``own``, and the reference return in their first runs, ``[arm, run, …]``."""
    found = []
    for arm in (partial(module.ours, **(own or {})), module.reference):
        work = arm(device=torch.device("cpu"), side=16, width=4, generator_width=4, **sizes)
        found.append(torch.stack([work() for _ in range(count)]))
        del work
    gc.collect()
    return torch.stack(found)


def relative_difference(ours, reference):
    return float((ours - reference).norm() / reference.norm())


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("form", [None, *CANDIDATES])
def test_both_arms_of_inversion_recover_the_same_images(form):
    ours, plain = runs_of_both_arms(inversion, 2, own={"form": form})
    assert ours.dtype == torch.float64
    assert ours.shape == (2, inversion.MODELS, WAYS, 3, 16, 16)
    assert relative_difference(ours - 0.5, plain - 0.5) < 1e-10


@pytest.mark.usefixtures("in_float64")
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")  # its folder goes with the arm
def test_both_arms_of_a_free_iteration_learn_the_same():
    ours, plain = runs_of_both_arms(end_to_end, 3, outer_steps=2, episodes=2)
    assert ours.dtype == torch.float64
    assert relative_difference(ours, plain) < 1e-8
    # The same of how far an iteration moves the weights, which is a hundredth of them.
    assert relative_difference(ours.diff(dim=0), plain.diff(dim=0)) < 1e-6


def test_the_plain_loop_is_told_the_episodes_of_a_bank():
    pool = random_pool(1, side=16, device=torch.device("cpu"), width=4)
    draws = FreeDraws(pool, published_five(), seed=0, shots=1, slots=3, per_class=4)
    sizes = {"ways": 2, "shots": 1, "queries": 3}
    bank = ImageBank(64, slots=3, images_per_class=4, side=1, device=torch.device("cpu"))
    bank.pixels = torch.arange(12, dtype=torch.uint8).view(1, 3, 4, 1, 1, 1).repeat(64, 1, 1, 3, 1, 1)
    bank.written[[7, 2, 50]] = torch.tensor([1, 3, 5])
    same = torch.Generator()
    same.set_state(draws.generator.get_state())
    classes, *sets = bank.sample_episodes(5, **sizes, generator=same)
    numbers = torch.cat([images[:, :, 0, 0, 0].view(5, 2, -1) for images in sets], 2).mul(255).round().long()
    told = draws.episodes(5, {2: 12, 7: 4, 50: 12}, **sizes)
    assert [list(episode) for episode in told] == classes.tolist()
    assert [list(episode.values()) for episode in told] == numbers.tolist()
