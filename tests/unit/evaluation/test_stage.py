"""The `evaluate` stage: which iterate is reported, on which images, and what the record says."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from dfml.artefacts.accuracies import ACCURACIES, EpisodeAccuracies
from dfml.artefacts.base import Cell
from dfml.artefacts.record import Record
from dfml.artefacts.zoo import NetworkSpec
from dfml.config.load import load_config
from dfml.data.images import SPLITS, load_images, save_images
from dfml.errors import ConfigError, FileFormatError
from dfml.evaluation import stage as module
from dfml.evaluation.episodes import EpisodeSet, episode_accuracies, right_answers
from dfml.evaluation.intervals import interval95
from dfml.evaluation.settings import EvaluationSettings
from dfml.evaluation.stage import evaluate
from dfml.files.reading import sha256_file
from dfml.metalearning.store import load_learner
from dfml.networks.build import build_network, forward_macs
from support.learners import SPEC, encoder, save_learner
from support.zoo import CPU, WAYS, QuietJob, pattern_images, save_pattern_images

CELL = Cell("single", "free", 1, 3)
SETTINGS = {"episodes": 10, "queries": 3, "validation_episodes": 6, "adaptation_steps": 2}
ITERATIONS = (5, 10, 15)


def state(seed):
    """Weights of a random encoder, which tells patterns apart; without a seed all zero, which answers by chance."""
    weights = {name: p.detach().clone() for name, p in encoder(seed or 0).named_parameters()}
    return weights if seed is not None else {name: torch.zeros_like(p) for name, p in weights.items()}


def write_learner(folder, seeds=(None, 1, None), *, encoders=1, **changes):
    facts = {
        "pool": CELL.pool,
        "method": CELL.method,
        "ways": WAYS,
        "shots": CELL.shots,
        "seed": CELL.seed,
        "encoders": [SPEC] * encoders,
        "snapshots": [{"iteration": i, "seconds": 0.1 * i} for i in ITERATIONS[: len(seeds)]],
        "finetune": encoders == 1,
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "train_seconds": 2.5,
        "teacher_passes": 40,
        "bank_seconds": 1.5,
        "bank_passes": 7,
        "stages": {"bell": 1.0, "replay": 1.5},
        "peak_memory_mb": 100.0,
        "options": {"iterations": 15},
    } | changes
    save_learner(folder, [[state(seed)] * encoders for seed in seeds], **facts)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return save_pattern_images(tmp_path_factory.mktemp("images"), classes=5, per_class=8).parent


@pytest.fixture
def learner(tmp_path):
    return write_learner(tmp_path / "learner")


def run(learner, images, output, **settings):
    evaluate(
        learner,
        images if isinstance(images, list) else [images],
        output,
        cell=CELL,
        experiment="toy",
        ways=WAYS,
        settings=EvaluationSettings(**(SETTINGS | settings)),
        config_digest="0" * 64,
        job=QuietJob(seconds=1.5),
    )
    return Record.load(output)


@pytest.mark.parametrize(("select", "iterate"), [("last", 15), ("val_best", 10)])
def test_the_reported_iterate_is_the_last_or_the_best_on_meta_val(learner, images, tmp_path, select, iterate):
    record = run(learner, images, tmp_path / "record.json", select=select)
    assert (record.selection, record.iterate) == (select, iterate)
    accuracies = [result.accuracy for result in record.results]
    if select == "last":
        assert accuracies == pytest.approx([100 / WAYS] * 6)
    else:
        assert np.mean(accuracies) > 1.5 * 100 / WAYS
    curve = {point.iteration: [] for point in record.curve}
    for point in record.curve:
        curve[point.iteration].append(point.accuracy)
    assert tuple(curve) == ITERATIONS
    assert {len(values) for values in curve.values()} == {6}  # three rules, two batch-norm modes
    assert np.mean(curve[10]) > np.mean(curve[5]) == pytest.approx(100 / WAYS)


def test_results_are_the_mean_and_interval_of_the_chosen_iterate(learner, images, tmp_path):
    record = run(learner, images, tmp_path / "record.json", select="val_best")
    settings = EvaluationSettings(**SETTINGS)
    _, learners = load_learner(learner, steps=2, learning_rate=settings.adaptation_learning_rate, device=CPU)
    data = load_images(images / "meta_test.npz")
    episodes = EpisodeSet.draw(data, ways=WAYS, shots=1, settings=settings, count=10, device=CPU)
    expected = episode_accuracies(learners[1], episodes)
    found = {(result.rule, result.batch_norm): result for result in record.results}
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key].accuracy == pytest.approx(values.mean(), abs=1e-12)
        assert found[key].ci95 == pytest.approx(interval95(values), abs=1e-12)
        assert (found[key].episodes, found[key].dataset) == (10, "toy")


def test_the_accuracies_of_every_episode_are_kept_beside_the_record(learner, images, tmp_path):
    record = run(learner, images, tmp_path / "record.json", select="val_best")
    kept = EpisodeAccuracies.of_record(tmp_path / "record.json", record)
    assert kept.answers == WAYS * SETTINGS["queries"]
    for result in record.results:
        key = (result.dataset, result.rule, result.batch_norm)
        assert kept.right[key].shape == (SETTINGS["episodes"],)
        assert kept.right[key].dtype == np.uint8
        assert kept.percent(key).mean() == result.accuracy
        assert interval95(kept.percent(key)) == result.ci95
    assert len(kept.right) == len(record.results)


def test_every_data_set_is_normalised_as_the_learner_knows_it(tmp_path):
    # A channel divided by 100 is as good as gone, so every normalisation sees another colour.
    known = {"red": [0.1, 100.0, 100.0], "blue": [100.0, 100.0, 0.1]}
    folders = []
    for seed, name in enumerate(known):
        splits = {s: replace(pattern_images(split=s, per_class=8, seed=seed), dataset=name) for s in SPLITS}
        save_images(tmp_path / name, splits, source="folder")
        folders.append(tmp_path / name)
    norms = {name: {"mean": [0.5] * 3, "std": std} for name, std in known.items()}
    both = write_learner(tmp_path / "both", (1, 2), domains=norms)
    unknown = write_learner(tmp_path / "unknown", (1, 2))
    together, plain = (run(folder, folders, tmp_path / "record.json") for folder in (both, unknown))
    curves = []
    for name, folder in zip(known, folders, strict=True):
        own = write_learner(tmp_path / f"only_{name}", (1, 2), **norms[name])
        alone = run(own, folder, tmp_path / "record.json")
        assert [row for row in together.results if row.dataset == name] == alone.results
        assert [row for row in plain.results if row.dataset == name] != alone.results
        curves.append(alone.curve)
    for row, *others in zip(together.curve, *curves, strict=True):
        assert row.accuracy == pytest.approx(np.mean([other.accuracy for other in others]))


@pytest.mark.parametrize("validation", [None, {"classes": WAYS - 1}, {"per_class": SETTINGS["queries"]}])
def test_a_data_set_with_too_little_meta_val_has_no_part_in_the_curve(learner, images, tmp_path, validation):
    options = {"meta_test": {"per_class": 8}} | ({"meta_val": {"per_class": 8} | validation} if validation else {})
    splits = {s: replace(pattern_images(split=s, **own), dataset="bare") for s, own in options.items()}
    save_images(tmp_path / "bare", splits, source="folder")
    alone = run(learner, tmp_path / "bare", tmp_path / "record.json")
    assert (alone.curve, alone.iterate) == ([], ITERATIONS[-1])
    assert {row.dataset for row in alone.results} == {"bare"}
    both = run(learner, [images, tmp_path / "bare"], tmp_path / "record.json")
    assert both.curve == run(learner, images, tmp_path / "record.json").curve != []
    assert [row for row in both.results if row.dataset == "bare"] == alone.results


def test_the_record_says_what_the_learner_cost(learner, images, tmp_path):
    record = run(learner, images, tmp_path / "record.json")
    assert (record.experiment, record.pool, record.method, record.ways, record.shots, record.seed) == (
        "toy", "single", "free", WAYS, 1, 3,
    )  # fmt: skip
    assert (record.train_seconds, record.teacher_passes, record.peak_memory_mb) == (2.5, 40, 100.0)
    assert (record.bank_seconds, record.bank_passes) == (1.5, 7)
    assert record.stages == {"bell": 1.0, "replay": 1.5, "evaluation": 1.5}
    assert record.options == {"iterations": 15}
    assert record.inference_macs == forward_macs(encoder(), 16)


def test_inference_cost_counts_every_encoder(images, tmp_path):
    pair = write_learner(tmp_path / "pair", seeds=(1,), encoders=2)
    record = run(pair, images, tmp_path / "record.json")
    blocks = 9 * (3 * 4 * 16**2 + 4 * 4 * (8**2 + 4**2 + 2**2))
    assert record.inference_macs == 2 * (blocks + 4 * WAYS)
    assert {result.rule for result in record.results} == {"centroid_euclidean", "centroid_cosine"}
    assert record.curve == []  # one iterate has no curve


def test_conv4_of_the_paper_costs_four_million_multiply_adds():
    conv4 = build_network(NetworkSpec(family="conv4", width=32, ways=5, side=32), episodic=True)
    blocks = 9 * 32 * (3 * 32**2 + 32 * (16**2 + 8**2 + 4**2))
    assert forward_macs(conv4, 32) == blocks + 128 * 5 == 3_981_952


@pytest.mark.parametrize("select", ["last", "val_best"])
def test_meta_test_is_opened_after_the_choice_and_seen_by_the_chosen_alone(
    learner, images, tmp_path, monkeypatch, select
):
    events = []

    def load(path):
        events.append(path.stem)
        return load_images(path)

    def told(function):
        def measured(learner, *arguments):
            zero = not learner.encoders[0].head.weight.any()
            events.append("zero" if zero else "random")
            return function(learner, *arguments)

        return measured

    monkeypatch.setattr(module, "load_images", load)
    for function in (episode_accuracies, right_answers):
        monkeypatch.setattr(module, function.__name__, told(function))
    run(learner, images, tmp_path / "record.json", select=select)
    chosen = "zero" if select == "last" else "random"
    assert events == ["meta_val", "zero", "random", "zero", "meta_test", chosen]


def test_without_validation_episodes_meta_val_is_not_opened(learner, images, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "meta_test.npz").symlink_to(images / "meta_test.npz")
    record = run(learner, alone, tmp_path / "record.json", validation_episodes=0)
    assert record.curve == [] and record.iterate == 15


def test_settings_can_be_chosen_without_opening_meta_test(learner, images, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("images.json", "meta_val.npz"):
        (alone / name).symlink_to(images / name)
    record = run(learner, alone, tmp_path / "record.json", split="meta_val")
    assert record.split == "meta_val"
    (last,) = [p.accuracy for p in record.curve if (p.iteration, p.rule, p.batch_norm) == (15, "finetune", "support")]
    of_curve = run(learner, alone, tmp_path / "again.json", split="meta_val", episodes=SETTINGS["validation_episodes"])
    assert {r.accuracy for r in of_curve.results if (r.rule, r.batch_norm) == ("finetune", "support")} == {last}


def test_best_on_test_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("evaluation: {select: best_on_test}\n")
    with pytest.raises(ConfigError, match="`best_on_test` is refused"):
        load_config([path])


def test_the_stage_only_reads_and_repeats(learner, images, tmp_path):
    before = {path: sha256_file(path) for path in [*learner.iterdir(), *images.iterdir()]}
    numbers = random.getstate(), repr(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    run(learner, images, tmp_path / "first.json")
    assert {path: sha256_file(path) for path in [*learner.iterdir(), *images.iterdir()]} == before
    assert (random.getstate(), repr(np.random.get_state())) == numbers[:2]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), numbers[2])
    kept = (tmp_path / ACCURACIES).read_bytes()
    run(learner, images, tmp_path / "second.json")
    assert (tmp_path / ACCURACIES).read_bytes() == kept
    assert json.loads((tmp_path / "first.json").read_text()) == json.loads((tmp_path / "second.json").read_text())


def test_every_learner_meets_the_same_episodes(learner, images, tmp_path):
    other = write_learner(tmp_path / "other", seeds=(2,))
    digests = {run(folder, images, tmp_path / "record.json").episode_digest for folder in (learner, other)}
    assert len(digests) == 1
    assert run(other, images, tmp_path / "record.json", episode_seed=1).episode_digest not in digests


def test_a_damaged_learner_leaves_no_record(learner, images, tmp_path):
    (learner / "learner.safetensors").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"learner\.safetensors"):
        run(learner, images, tmp_path / "record.json")
    assert not (tmp_path / "record.json").exists() and not (tmp_path / ACCURACIES).exists()
