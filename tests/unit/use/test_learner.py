"""A learner in a user's hands answers as evaluation does, for any number of classes."""

import enum
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import dfml
from dfml.data.episodes import gather
from dfml.data.images import ClassImages
from dfml.errors import DataError, DfmlError
from dfml.evaluation.episodes import EpisodeSet, right_answers
from dfml.evaluation.settings import EvaluationSettings
from dfml.metalearning.learner import CENTROID_RULES, RULES
from support.use import SPEC, photos, protonet, shelf_learner
from support.zoo import CPU

RESNET = {"family": "resnet10", "width": 4, "ways": 5, "side": 32}


def test_the_package_loads_torch_only_when_it_is_needed():
    code = "import dfml, sys; print('torch' in sys.modules); dfml.load; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
    assert {"load", "load_classifier"} <= set(dir(dfml))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dfml.nothing


@pytest.mark.parametrize("ways", [2, 5, 7])
@pytest.mark.parametrize("rule", RULES)
def test_it_is_right_as_often_as_evaluation_says(learner, ways, rule):
    images = photos(8)
    data = ClassImages("toy", "meta_test", tuple(f"c{c}" for c in range(8)), images, "CC0-1.0")
    settings = EvaluationSettings(queries=6)
    tasks = EpisodeSet.draw(data, ways=ways, shots=2, settings=settings, count=6, device=CPU)
    expected = right_answers(learner.learner.for_ways(ways), tasks)[rule, "support"]
    for index, right in enumerate(expected):
        batch = gather(tasks.images, tasks.offsets, tasks.episodes, index)
        classify = learner.adapt(batch.support, batch.support_labels, rule=rule)
        found = classify.probabilities(batch.query).argmax(1)
        assert (found == batch.query_labels).sum() == right
        own = learner.learner.for_ways(ways)
        prepared = (own.prepare(x) for x in (batch.support, batch.query))
        scores = own.all_scores(*prepared, batch.support_labels, ways)[rule, "support"]
        torch.testing.assert_close(classify.module.scores(batch.query.float() / 255), scores, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "mode",
    [
        torch.inference_mode,
        torch.no_grad,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: torch.device("meta"),
    ],
    ids=["inference mode", "no gradient", "autocast", "another device"],
)
@pytest.mark.parametrize("rule", RULES)
def test_the_mode_that_the_calling_code_is_in_changes_nothing(tmp_path, task, mode, rule):
    support, labels, queries = task
    expected = dfml.load(shelf_learner(tmp_path / "learner")).adapt(support, labels, rule=rule).probabilities(queries)
    with mode():
        classify = dfml.load(tmp_path / "learner").adapt(support, labels, rule=rule)
        assert torch.equal(classify.probabilities(queries), expected)
        classify.save(tmp_path / "kept.safetensors")
        assert torch.equal(dfml.load_classifier(tmp_path / "kept.safetensors").probabilities(queries), expected)


def test_another_default_type_is_told(learner, task):
    support, labels, queries = task
    classify = learner.adapt(support, labels)
    expected = classify.probabilities(queries)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(classify.probabilities(queries), expected)
        with pytest.raises(DfmlError, match=r"default type is torch.float64.*set_default_dtype\(torch.float32\)"):
            learner.adapt(support, labels)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("ways", [2, 7])
def test_more_or_fewer_classes_than_in_training(learner, ways):
    images = photos(ways)
    labels = [f"class {way}" for way in range(ways) for _ in range(3)]
    for rule in RULES:
        classify = learner.adapt(torch.cat([own[:3] for own in images]), labels, rule=rule)
        answers = classify(torch.cat([own[3:] for own in images]))
        assert len(answers[0].probabilities) == ways
        right = sum(answer.name == f"class {place // 9}" for place, answer in enumerate(answers))
        assert right > 1.2 * len(answers) / ways, rule


def test_labels_as_texts_are_labels_as_numbers(learner, task):
    support, labels, queries = task
    texts = [f"pet {label}" for label in labels.tolist()]
    for rule in RULES:
        numbered, named = (learner.adapt(support, given, rule=rule) for given in (labels, texts))
        assert torch.equal(numbered.probabilities(queries), named.probabilities(queries))
        assert [f"pet {a.name}" for a in numbered(queries)] == [a.name for a in named(queries)]


@pytest.mark.parametrize("rule", RULES)
def test_classes_in_another_order_get_the_same_answers(learner, task, rule):
    """For fine-tuning with seven classes, as the head then treats all alike; a learned one has a row for each place."""
    images = photos(7)
    support, queries = (torch.cat([own[part] for own in images]) for part in (slice(3), slice(3, None)))
    labels = torch.arange(7).repeat_interleave(3)
    order = torch.tensor([3, 6, 0, 5, 1, 4, 2])
    one, other = (learner.adapt(support, given, rule=rule).probabilities(queries) for given in (labels, order[labels]))
    torch.testing.assert_close(other[:, order], one, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_the_images_does_not_matter(learner, task, rule):
    support, labels, queries = task
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    one = learner.adapt(support, labels, rule=rule).probabilities(queries)
    other = learner.adapt(support[order], labels[order], rule=rule).probabilities(queries)
    torch.testing.assert_close(other, one, atol=2e-5, rtol=1e-4)


def test_classes_of_unlike_numbers_of_images(learner, task):
    support, labels, queries = task
    keep = torch.tensor([0, 1, 2, 3, 6, 7, 9, 12])
    for rule in RULES:
        classify = learner.adapt(support[keep], labels[keep], rule=rule)
        assert classify.manifest.images == [3, 1, 2, 1, 1]
        assert classify.probabilities(queries).sum(1).sub(1).abs().max() < 1e-5


def test_the_learner_stays_as_it_is(learner, task):
    before = [p.clone() for p in learner.learner.encoders[0].parameters()]
    first = learner.adapt(*task[:2]).probabilities(task[2])
    learner.adapt(torch.cat([own[:3] for own in photos(7)]), [way for way in range(7) for _ in range(3)])
    assert all(torch.equal(a, b) for a, b in zip(before, learner.learner.encoders[0].parameters(), strict=True))
    assert torch.equal(learner.adapt(*task[:2]).probabilities(task[2]), first)


@pytest.mark.parametrize("head_only", [False, True])
def test_fine_tuning_of_the_head_alone(tmp_path, task, head_only):
    own = dfml.load(shelf_learner(tmp_path / "anil", head_only=head_only))
    classify = own.adapt(*task[:2])
    body = [name for name, p in own.learner.encoders[0].named_parameters() if not name.startswith("head.")]
    adapted, start = (dict(net.named_parameters()) for net in (classify.module.networks[0], own.learner.encoders[0]))
    assert all(torch.equal(adapted[name], start[name]) for name in body) == head_only
    assert not torch.equal(adapted["head.weight"], start["head.weight"])


def test_other_networks_and_several_side_by_side(tmp_path, task):
    support, labels, queries = task
    for name, specs in (("one", (RESNET,)), ("three", (SPEC, RESNET, SPEC | {"width": 4}))):
        own = dfml.load(shelf_learner(tmp_path / name, *specs, finetune=len(specs) == 1))
        assert own.side == 32
        for rule in own.rules:
            expected = own.learner.adapt(support, labels, rule=rule)(queries)
            classify = own.adapt(support, labels, rule=rule)
            # The network is made for 32 pixels here, and photos of 16 are enlarged before by another filter.
            assert (classify.probabilities(queries).argmax(1) == expected.argmax(1)).float().mean() > 0.8


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({}, "finetune"),
        (protonet(), "centroid_euclidean"),
        ({"finetune": False, "options": {"learner": "protonet"}}, "centroid_euclidean"),
        ({"finetune": False}, "centroid_cosine"),
    ],
    ids=["maml", "protonet", "protonet by a setting", "features"],
)
def test_the_rule_is_the_one_that_the_learner_was_made_for(tmp_path, task, facts, rule):
    own = dfml.load(shelf_learner(tmp_path / "learner", **facts))
    assert own.rule == rule == own.adapt(*task[:2]).manifest.rule
    assert own.adapt(*task[:2], rule="centroid_cosine").manifest.rule == "centroid_cosine"
    assert own.rules == (RULES if own.manifest.finetune else CENTROID_RULES)


def test_a_rule_that_is_not_offered(tmp_path, task):
    own = dfml.load(shelf_learner(tmp_path / "learner", finetune=False))
    for rule in ("finetune", "nearest"):
        with pytest.raises(DfmlError, match=f"cannot adapt by '{rule}'; it offers centroid_euclidean, centroid_cosine"):
            own.adapt(*task[:2], rule=rule)


def test_an_empty_rule_is_none_of_its_rules(learner, task):
    with pytest.raises(DfmlError, match="cannot adapt by ''"):
        learner.adapt(*task[:2], rule="")


def test_labels_may_be_members_of_an_enumeration(learner, task):
    kinds = enum.IntEnum("kinds", ["first", "second", "third", "fourth", "fifth"])
    support, labels, queries = task
    own = learner.adapt(support, [kinds(int(label) + 1) for label in labels])
    assert own.names == (1, 2, 3, 4, 5)
    torch.testing.assert_close(own.probabilities(queries), learner.adapt(support, labels).probabilities(queries))


def test_threads_may_adapt_one_learner_at_once(tmp_path, task):
    own = dfml.load(shelf_learner(tmp_path / "learner", RESNET))
    support, labels, queries = task
    before = {name: p.clone() for name, p in own.learner.encoders[0].named_parameters()}
    alone = own.adapt(support, labels, rule="finetune").probabilities(queries)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: own.adapt(support, labels, rule="finetune").probabilities(queries), range(8)))
    for one in found:
        torch.testing.assert_close(one, alone, rtol=1e-4, atol=1e-5)
    after = dict(own.learner.encoders[0].named_parameters())
    assert all(torch.equal(before[name], p) and not p.requires_grad for name, p in after.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, labels: (images, [*labels[:-1].tolist(), None]), "the label of image 14 is missing"),
        (lambda images, labels: (images.float(), labels), r"image 0: float pixels lie in \[0, 1\]"),
        (lambda images, labels: (images[:, :1], labels), "image 0: images have three channels"),
        (
            lambda images, labels: (images[:3], labels[:3]),
            "all images have the label 0: a classifier needs at least two",
        ),
        (lambda images, labels: (images[:1], labels[:1]), "all images have the label 0"),
        (lambda images, labels: (images, labels[:-1]), "there are 15 images and 14 labels"),
        (lambda images, labels: ([], []), "there is no image"),
        (lambda images, labels: (["a.png"], [0]), "image 0: a.png: there is no such file"),
    ],
)
def test_misuse_is_told(learner, task, change, message):
    with pytest.raises(DataError, match=message):
        learner.adapt(*change(*task[:2]))
