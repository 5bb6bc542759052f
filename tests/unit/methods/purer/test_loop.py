"""PURER: who is asked what (IF4), which images move (IF5), the adversarial step, and the learners it returns."""

import pytest
import torch

from dfml.compute.optimisers import Adam
from dfml.errors import DfmlError
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.inner_loop import parameters_of
from dfml.metalearning.meta_step import MetaStep
from dfml.metalearning.prototypes import PrototypeStep
from dfml.methods.fusion.average import averaged
from dfml.methods.purer.dynamic_set import DynamicImages
from dfml.methods.purer.loop import PurerLoop, fit
from dfml.methods.purer.settings import PurerSettings
from dfml.zoo.pool import Pool
from support.cells import InterruptedJobError, InterruptedProgress, context
from support.learners import encoder, generator
from support.zoo import CPU, WAYS, same_bits, write_random_zoo

LEARNERS = ["maml", "anil", "protonet"]
SMALL = {"iterations": 4, "queries": 2, "episodes": 2, "inner_steps": 2, "snapshots": 2}


def loop_of(pool, learner="maml", **options):
    return PurerLoop(context(f"purer_{learner}", pool=pool), PurerSettings(**(SMALL | options)), learner)


@pytest.mark.parametrize("learner", LEARNERS)
def test_in_the_warm_up_only_the_images_move(pool, learner):
    loop = loop_of(pool, learner, warmup=2)
    before, pixels = {n: p.detach().clone() for n, p in loop.parameters.items()}, loop.set.images.pixels.clone()
    for iteration in range(2):
        assert "replay_loss" not in loop.iteration(iteration)
    assert all(same_bits(p.detach(), before[n]) for n, p in loop.parameters.items())
    assert not torch.equal(loop.set.images.pixels, pixels)
    assert "replay_loss" in loop.iteration(2)
    assert any(not torch.equal(p.detach(), before[n]) for n, p in loop.parameters.items())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Pool:
    """A pool of two data sets of different sides and two architectures."""
    folder = tmp_path_factory.mktemp("mixed")
    zoos = [
        write_random_zoo(folder / "small"),
        write_random_zoo(folder / "large", dataset="large", side=32, seed=1, mean=[0.2, 0.3, 0.4], std=[0.3] * 3),
        write_random_zoo(folder / "resnet", architecture="resnet10", family="resnet10", seed=2),
    ]
    return Pool.load(zoos, label_space="global", device=CPU)


def asked_classes(loop, model):
    """The class of the images that are to be each output of the model."""
    for row, label in enumerate(loop.set.images.ready.tolist()):
        loop.set.images.pixels[row].fill_(label)
    question = loop._question(model)
    return question.images[:, 0, 0, 0, 0].long().tolist()


def test_every_image_is_to_be_what_its_class_is_to_the_model(pool):
    loop = loop_of(pool)
    assert any(list(model.class_ids) != sorted(model.class_ids) for model in pool)
    for model in pool:
        assert asked_classes(loop, model) == list(model.class_ids)


def test_the_published_order_gives_most_images_a_wrong_target(tmp_path):
    zoo = write_random_zoo(tmp_path, models=80, judges=0, ways=5, classes=20)
    pool = Pool.load([zoo], label_space="global", device=CPU)
    loop = loop_of(pool, label_order="official", start="random")
    wrong = []
    for model in pool:
        asked = asked_classes(loop, model)
        assert asked == sorted(model.class_ids)
        wrong += [own != label for own, label in zip(asked, model.class_ids, strict=True)]
    assert sum(wrong) / len(wrong) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("weight", "expected"), [("uniform", [1, 1, 1, 1]), ("triangular", [4, 3, 2, 1])])
def test_weights_of_the_models(zoo, monkeypatch, weight, expected):
    pool = Pool.load([zoo], label_space="per_model", device=CPU)  # no two models share a class
    loop, taken = loop_of(pool, model_weight=weight), {}
    monkeypatch.setattr(loop.set, "step", taken.update)

    def ones(self, questions):
        return [torch.ones_like(q.images) for q in questions], torch.zeros(4), torch.zeros(4)

    monkeypatch.setattr("dfml.methods.purer.pixel_loss.PixelLoss.gradients", ones)
    loop.iteration(0)
    assert [taken[loop.set.rows(model)[0]].unique().tolist() for model in pool] == [[w] for w in expected]


def test_shared_classes_get_the_sum_over_their_models(pool, monkeypatch):
    loop, taken = loop_of(pool), {}
    monkeypatch.setattr(loop.set, "step", taken.update)
    questions = []
    gradients = type(loop.loss).gradients
    monkeypatch.setattr(type(loop.loss), "gradients", lambda s, q: questions.extend(q) or gradients(s, q))
    loop.iteration(0)
    found, *_ = loop.loss.gradients(list(questions[: len(pool)]))
    expected = {}
    for model, gradient in zip(pool, found, strict=True):
        for label, own in zip(model.class_ids, gradient, strict=True):
            expected[label] = expected.get(label, 0) + own
    assert len(expected) < len(pool) * WAYS
    assert {loop.set.row_of[label] for label in expected} == set(taken)
    for label, gradient in expected.items():
        torch.testing.assert_close(taken[loop.set.row_of[label]], gradient)


def test_images_of_classes_that_no_drawn_model_has_stay(zoo):
    pool = Pool.load([zoo], label_space="per_model", device=CPU)
    moved = {}
    for sparse in (True, False):
        loop = loop_of(pool, models_per_iteration=1, sparse=sparse)
        loop.iteration(0)
        before = loop.set.images.pixels.clone()
        (first,), (second,) = loop._models(0), loop._models(1)
        assert first is not second
        loop.iteration(1)
        changed = [not same_bits(a, b) for a, b in zip(loop.set.images.pixels, before, strict=True)]
        moved[sparse] = {row for row, new in enumerate(changed) if new}
        expected = [second] if sparse else [first, second]
        assert moved[sparse] == {row for model in expected for row in loop.set.rows(model)}


def test_models_of_an_iteration_differ_and_depend_on_it_alone(pool):
    loop = loop_of(pool, models_per_iteration=3)
    drawn = [[model.index for model in loop._models(n)] for n in range(12)]
    assert all(len(set(one)) == 3 for one in drawn)
    assert len({tuple(one) for one in drawn}) > 3
    assert [model.index for model in loop._models(5)] == drawn[5]
    assert loop_of(pool)._models(0) == list(pool)


@pytest.mark.parametrize("side", ["native", "canvas"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_the_gradient_of_the_outer_loss_reaches_the_images(mixed, learner, side):
    network = encoder(spec=context("purer_maml", pool=mixed).learner_spec(None)).double()
    parameters = parameters_of(network)
    optimiser = Adam([list(parameters.values())], [0.001])
    if learner == "protonet":
        step = PrototypeStep(network, parameters, optimiser, ways=WAYS)
    else:
        inner = {"steps": 2, "learning_rate": 0.5, "first_order": False, "head_only": learner == "anil"}
        step = MetaStep(network, parameters, optimiser, ways=WAYS, **inner)
    labels = torch.tensor(sorted({label for model in mixed for label in model.class_ids}))
    norm = [values[labels].double() for values in mixed.class_normalisation]
    pixels = torch.randn(len(labels), 3, 3, 32, 32, dtype=torch.float64, generator=generator(0))

    def loss(at):
        images = DynamicImages(at, labels, *norm, "mixed")
        source = BankEpisodes(images, mixed, shots=1, queries=2, side=side)
        support, query = source.draw(1, ways=WAYS, generator=generator(3))
        return step.episode_loss(support[0], query[0])

    variable = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(variable), variable)
    support_only = gradient.flatten(2).abs().sum(2).gt(0).sum()
    assert support_only == WAYS * 3  # support and query images, all of them
    for seed in (1, 2, 3):  # batch norm makes the loss flat along the images themselves, which are of seed 0
        direction = torch.randn(pixels.shape, dtype=torch.float64, generator=generator(seed))
        ends = [loss(pixels + sign * 1e-6 * direction).item() for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / 2e-6
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_adversarial_step_makes_its_episode_harder(pool, learner):
    loop = loop_of(pool, learner, adversarial_weight=10.0, clip=False)
    draws, total = loop.generator.get_state(), {}
    with torch.no_grad():  # a head of zeros would make the loss flat in the images
        loop.parameters["head.weight"].normal_(0, 0.3, generator=generator(0))
    before = loop._make_harder(total)
    assert len(total) == WAYS
    norm = sum(gradient.square().sum() for gradient in total.values()).sqrt()
    size = 0.02 / norm
    for row, gradient in total.items():
        loop.set.images.pixels[row] -= size * gradient
    loop.generator.set_state(draws)
    risen = loop._make_harder({}) - before
    assert risen.item() == pytest.approx((size * norm.square() / 10).item(), rel=0.2)


def test_it_is_added_to_the_inversion_once_per_switch(pool, monkeypatch):
    loop = loop_of(pool, curriculum_after=0, curriculum_patience=1)
    taken = []
    monkeypatch.setattr(loop.set, "step", lambda total: taken.append({r: g.clone() for r, g in total.items()}))
    monkeypatch.setattr(loop, "_make_harder", lambda total: total.update({0: total[0] + 5}) or torch.tensor(1.0))
    monkeypatch.setattr(loop.patience, "used_up", iter([False, True, False]).__next__)
    rows = [loop.iteration(n) for n in range(3)]
    assert ["adversarial_loss" in row for row in rows] == [False, True, False]
    assert [step[0].mean().round() for step in taken] == [0, 5, 0]


def test_images_are_fitted_to_the_models(zoo):
    pool = Pool.load([zoo], label_space="per_model", device=CPU)  # untrained models agree on no class
    loop = loop_of(pool, "protonet", roll=0, curriculum_after=None)
    curve = [loop.iteration(n)["teacher_ce"].item() for n in range(30)]
    assert sum(curve[-5:]) < 0.5 * sum(curve[:5])
    assert loop.teacher_passes == 30 * len(pool)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_pool_of_several_sides_and_architectures(mixed, learner):
    loop = loop_of(mixed, learner, curriculum_after=0, curriculum_patience=1, models_per_iteration=6)
    assert loop.set.images.pixels.shape[-1] == 32
    rows = [loop.iteration(n) for n in range(4)]
    loop.check()
    assert all(torch.isfinite(value) for row in rows for value in row.values())


def test_starts(pool, mixed):
    zero, kept = (loop_of(pool, head=head).parameters for head in ("zero", "averaged"))
    expected = averaged(context("average", pool=pool), "averaged")
    for name, value in expected.items():
        assert torch.equal(kept[name], value)
        assert torch.equal(zero[name], torch.zeros_like(value) if name.startswith("head.") else value)
    fresh = context("random", pool=mixed).new_learner(None)  # ResNets among the models: there is no average
    assert all(torch.equal(loop_of(mixed).parameters[n], p) for n, p in fresh.named_parameters())


def test_models_of_several_sides_have_an_average_without_their_heads(tmp_path):
    zoos = [write_random_zoo(tmp_path / "a"), write_random_zoo(tmp_path / "b", dataset="b", side=32, seed=1)]
    pool = Pool.load(zoos, label_space="global", device=CPU)
    parameters = loop_of(pool).parameters
    name = next(n for n in parameters if n.endswith("weight"))
    expected = torch.stack([dict(model.network.named_parameters())[name] for model in pool]).mean(0)
    torch.testing.assert_close(parameters[name].detach(), expected)
    assert not parameters["head.weight"].any()


@pytest.mark.parametrize(
    ("learner", "finetune", "head_only"), [("maml", True, False), ("anil", True, True), ("protonet", False, False)]
)
def test_the_learner_adapts_as_it_was_trained(pool, learner, finetune, head_only):
    cell = context(f"purer_{learner}", pool=pool, options=PurerSettings(**SMALL).model_dump(mode="json"))
    fitted = fit(cell)
    assert (fitted.finetune, fitted.head_only) == (finetune, head_only)
    assert [s.iteration for s in fitted.snapshots] == [0, 2, 4]
    assert (fitted.teacher_passes, fitted.train_episodes) == (4 * len(pool), 4 * 2)
    assert set(fitted.stages) == {"inversion", "meta_learning"}
    first, last = fitted.snapshots[0].states[0], fitted.snapshots[-1].states[0]
    moved = {name.split(".")[0] for name in first if not torch.equal(first[name], last[name])}
    assert ("head" in moved) == (learner != "protonet")
    assert moved - {"head"}


def test_the_inner_loop_of_anil_alone_is_restricted_to_the_head(pool):
    losses = {}
    for learner in ("maml", "anil"):
        loop = loop_of(pool, learner, inner_learning_rate=0.5, start="random")
        losses[learner] = loop.iteration(0)["replay_loss"]
    assert losses["maml"] != losses["anil"]


def test_a_loss_that_is_not_finite_names_what_to_change(pool):
    loop = loop_of(pool)
    loop.iteration(0)
    loop.check()
    loop.set.images.pixels[0].fill_(float("nan"))
    loop.iteration(1)
    with pytest.raises(DfmlError, match=r"not finite.*purer\.image_learning_rate"):
        loop.check()


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize(("done", "every"), [(1, 1), (5, 2)])
def test_a_resumed_run_reaches_the_same_bits(pool, tmp_path, learner, done, every):
    changes = {"iterations": 7, "curriculum_after": 0, "curriculum_patience": 1, "models_per_iteration": 2}
    options = PurerSettings(**(SMALL | changes)).model_dump(mode="json")

    def run(path, progress=None):
        return fit(
            context(
                f"purer_{learner}",
                pool=pool,
                options=options,
                resume=path,
                every=every,
                progress=progress,
            )
        )

    whole, path = run(None), tmp_path / "resume.pt"
    with pytest.raises(InterruptedJobError):
        run(path, InterruptedProgress(done))
    resumed = run(path)
    assert resumed.teacher_passes == whole.teacher_passes == 14
    for a, b in zip(whole.snapshots, resumed.snapshots, strict=True):
        assert all(same_bits(a.states[0][name], b.states[0][name]) for name in a.states[0])
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in f.history] for f in (whole, resumed)]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 7
    assert any("adversarial_loss" in row for row in rows[0])
