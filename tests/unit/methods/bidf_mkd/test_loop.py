"""BiDf-MKD as a whole, on tiny zoos: what an outer step is made of, what it costs, and that it resumes (IF7)."""

import csv
import json

import pytest
import torch

from dfml.compute.state import collect
from dfml.errors import DfmlError
from dfml.jobs.progress import NullProgress
from dfml.metalearning.meta_gradient import meta_gradient
from dfml.metalearning.store import load_learner
from dfml.methods.bidf_mkd import loop as bidf_mkd
from dfml.methods.bidf_mkd.loop import BidfMkdLoop, fit
from dfml.methods.bidf_mkd.settings import BidfMkdBlackBoxSettings, BidfMkdSettings
from dfml.methods.training import iterate
from dfml.zoo.access import AccessError, GradientsOnly, LogitsOnly
from support.cells import INVERSION, InterruptedJobError, InterruptedProgress, context, fit_cell
from support.zoo import CPU, WAYS, write_random_zoo

METHODS = {"bidf_mkd": BidfMkdSettings, "bidf_mkd_black_box": BidfMkdBlackBoxSettings}
STEPS, INNER, DIRECTIONS = 3, 2, 4
IMAGES = WAYS * INVERSION.images_per_class


def options(method, **changes):
    """Plain settings of a run that takes a moment; an event before every second step at most."""
    section = {
        "iterations": 4,
        "tasks_per_step": 2,
        "patience": 1,
        "inversion_steps": STEPS,
        "inner_steps": INNER,
        "adversary": {"after": 1},
        "replay": {"queries": 3, "inner_steps": 2},
        "snapshots": 2,
    }
    section |= {"directions": DIRECTIONS} if method == "bidf_mkd_black_box" else {}
    return METHODS[method](**(section | changes)).model_dump(mode="json")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, zoo):
    """A zoo of Conv4 and one of ResNet-10 on images of twice the side, of another data set."""
    folder = tmp_path_factory.mktemp("mixed") / "resnet"
    resnets = write_random_zoo(folder, dataset="large", architecture="resnet10", family="resnet10", models=2, side=32)
    return [zoo, resnets]


def cell(method, zoos, *, progress=None, path=None, every=1, **changes):
    return context(
        method,
        zoos=zoos,
        options=options(method, **changes),
        progress=progress,
        resume=path,
        every=every,
    )


def make(method, zoos, **changes):
    made = cell(method, zoos, **changes)
    return BidfMkdLoop(made, made.own(METHODS[method]))


def passes(method, events):
    """Batches asked of models in some events."""
    per_step = DIRECTIONS + 1 if method == "bidf_mkd_black_box" else 1
    return events * (2 * STEPS * per_step + INNER + 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pool", ["conv4", "mixed"])
def test_runs_behind_its_access(zoo, mixed, method, pool):
    made = cell(method, [zoo] if pool == "conv4" else mixed, tasks_per_step=1, iterations=6)
    fitted = fit(made)
    kind = LogitsOnly if method == "bidf_mkd_black_box" else GradientsOnly
    assert {type(model.network) for model in made.pool} == {kind}
    with pytest.raises(AccessError):
        made.pool[0].network.parameters()
    events = [row for row in fitted.history if "distillation" in row]
    assert len(events) >= 2
    assert fitted.teacher_passes == passes(method, len(events))
    assert fitted.train_episodes == 6 - len(events)
    if kind is LogitsOnly:
        assert sum(model.network.queries for model in made.pool) == fitted.teacher_passes * IMAGES
    first, last = fitted.snapshots[0].states[0], fitted.snapshots[-1].states[0]
    assert all(value.isfinite().all() for value in last.values())
    assert any(not torch.equal(last[name], first[name]) for name in first)
    assert set(fitted.stages) == {"inversion", "distillation", "replay"}


@pytest.mark.parametrize("method", METHODS)
def test_an_event_fills_one_bank_with_both_sets(zoo, method):
    loop = make(method, [zoo])
    rows = [loop.iteration(0), loop.iteration(1)]
    assert ["distillation" in row for row in rows] == [True, False]
    assert len(loop.bank.ready) == WAYS
    assert loop.bank.images == 2 * IMAGES
    assert loop.teacher_passes == passes(method, 1)


def test_a_step_is_the_weighted_sum_of_its_tasks(zoo, monkeypatch):
    """One distillation task and the replay episodes, by their gradients taken apart."""
    loop = make("bidf_mkd", [zoo], tasks_per_step=4, kd_weight=3.0)
    seen = {}
    inner, distil = bidf_mkd.meta_gradient, loop.distillation.outer

    def episodes(*arguments, **facts):
        seen["episodes"], seen["replay"] = len(arguments[2]), meta_gradient(*arguments, **facts)
        return inner(*arguments, **facts)

    def outer(*arguments):
        seen["task"] = distil(*arguments)
        return seen["task"]

    monkeypatch.setattr(bidf_mkd, "meta_gradient", episodes)
    monkeypatch.setattr(loop.distillation, "outer", outer)
    given = {}
    step = loop.optimiser.step
    monkeypatch.setattr(
        loop.optimiser, "step", lambda: given.update({n: p.grad.clone() for n, p in loop.parameters.items()}) or step()
    )
    row = loop.iteration(0)
    assert seen["episodes"] == 3
    for name, gradient in given.items():
        expected = 3.0 * seen["task"].gradients[name] + seen["replay"].gradients[name]
        torch.testing.assert_close(gradient, expected, msg=name)
    torch.testing.assert_close(row["replay_loss"], seen["replay"].loss / 3)
    mean = (seen["task"].accuracy + 3 * seen["replay"].accuracy) / 4
    torch.testing.assert_close(collect(loop.patience)["_unread"][-1], mean)


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_the_adversary_is_the_adapted_learner_and_comes_later(zoo, monkeypatch, weight):
    loop = make("bidf_mkd", [zoo], adversary={"after": 1, "weight": weight}, tasks_per_step=1)
    asked = []
    student, inner = loop._student, loop.distillation.inner
    monkeypatch.setattr(loop.distillation, "inner", lambda *a: asked.append("adapted") or inner(*a))

    def watched(model, inputs):
        assert any(not torch.equal(loop.student[n], p) for n, p in loop.parameters.items())
        asked.append("student")
        return student(model, inputs)

    monkeypatch.setattr(loop, "_student", watched)
    loop.recover = {adversarial: loop._recovery(adversarial=adversarial) for adversarial in (False, True)}
    monkeypatch.setattr(loop.patience, "used_up", lambda: True)
    # Recorded work finds the student where it was when it was recorded.
    places = {name: values.data_ptr() for name, values in loop.student.items()}
    loop.iteration(0)
    assert asked == ["adapted"]
    loop.iteration(1)
    assert asked == ["adapted", "adapted"] + ["student"] * (STEPS if weight else 0)
    assert {name: values.data_ptr() for name, values in loop.student.items()} == places


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("done", "every"), [(1, 1), (3, 2), (4, 3)])
def test_a_resumed_run_reaches_the_same_bits(zoo, tmp_path, method, done, every):
    def run(progress=None, path=None):
        loop = make(method, [zoo], progress=progress or NullProgress(), path=path, every=every)
        kept, history = iterate(loop.context, loop, iterations=5, snapshots=2)
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in history]
        return loop, [snapshot.states for snapshot in kept], rows

    undisturbed, states, rows = run()
    assert sum("distillation" in row for row in rows) >= 2
    with pytest.raises(InterruptedJobError):
        run(InterruptedProgress(done), tmp_path / "resume.pt")
    resumed, resumed_states, resumed_rows = run(path=tmp_path / "resume.pt")
    assert resumed_rows == rows
    assert resumed.teacher_passes == undisturbed.teacher_passes
    pairs = zip(states, resumed_states, strict=True)
    assert all(torch.equal(a[name], b[name]) for (a,), (b,) in pairs for name in a)
    assert torch.equal(resumed.bank.pixels, undisturbed.bank.pixels)


def test_a_loss_that_is_not_finite_is_told_with_the_key_to_change(zoo):
    with pytest.raises(DfmlError, match=r"lower `bidf_mkd\.learning_rate`"):
        fit(cell("bidf_mkd", [zoo], inner_learning_rate=1e30))


@pytest.mark.parametrize("method", METHODS)
def test_the_stage_writes_a_learner(zoo, tmp_path, method):
    folder = fit_cell(tmp_path / "learner", method, options(method), zoos=[zoo])
    facts = json.loads((folder / "learner.json").read_text())
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert facts["teacher_passes"] == passes(method, sum(bool(row["distillation"]) for row in rows))
    assert load_learner(folder, steps=1, learning_rate=0.01, device=CPU)


def test_a_black_box_gives_no_weights_to_start_from():
    with pytest.raises(ValueError, match="start"):
        METHODS["bidf_mkd_black_box"](start="best_model")
