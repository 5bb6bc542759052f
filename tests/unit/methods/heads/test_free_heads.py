"""FREE that begins with a distilled backbone: where it starts, what it cost in all, and how it resumes."""

import csv
import json

import pytest
import torch
from safetensors.torch import load_file

from support.cells import (
    HEADS,
    InterruptedJobError,
    InterruptedProgress,
    fit_cell,
    heads_options,
    settings_of,
    write_inversion,
)


@pytest.fixture(scope="module")
def inversion(pool, tmp_path_factory):
    return write_inversion(tmp_path_factory.mktemp("heads") / "inversion", pool)


@pytest.fixture(scope="module")
def base(zoo, inversion, tmp_path_factory):
    """The learner of ``mixed_heads``."""
    made = settings_of("mixed_heads", HEADS).model_dump(mode="json")
    folder = tmp_path_factory.mktemp("base") / "learner"
    return fit_cell(folder, "mixed_heads", made, zoos=[zoo], inversion=inversion)


def run(folder, zoo, inversion, base, **changes):
    return fit_cell(folder, "free_heads", heads_options(), zoos=[zoo], inversion=inversion, base=base, **changes)


def manifest(folder):
    return json.loads((folder / "learner.json").read_text())


def test_free_starts_from_the_distilled_backbone_with_a_head_of_zeros(zoo, inversion, base, tmp_path):
    folder = run(tmp_path / "learner", zoo, inversion, base)
    kept, distilled = load_file(folder / "learner.safetensors"), load_file(base / "learner.safetensors")
    assert [s["iteration"] for s in manifest(folder)["snapshots"]] == [0, 1, 2]
    for name, tensor in distilled.items():
        assert torch.equal(kept[name][0], tensor[-1])
    assert not kept["encoder0/head.weight"][0].any() and kept["encoder0/head.weight"][-1].any()


def test_its_cost_and_history_begin_with_those_of_the_distillation(zoo, inversion, base, tmp_path):
    folder = run(tmp_path / "learner", zoo, inversion, base)
    before, after = manifest(base), manifest(folder)
    assert list(after["stages"]) == ["heads", "inversion", "bell", "replay"]
    assert after["stages"]["heads"] == before["stages"]["heads"] > 0
    seconds = [s["seconds"] for s in after["snapshots"]]
    assert seconds[0] == before["train_seconds"] and seconds == sorted(seconds)
    assert seconds[-1] == pytest.approx(after["train_seconds"])
    assert after["teacher_passes"] > before["teacher_passes"] > 0
    assert before["train_episodes"] is None and after["train_episodes"] == 2 * 2 * 2
    assert (after["bank_seconds"], after["bank_passes"]) == (1.5, 7)  # once, though both read the bank
    rows = [list(csv.DictReader((place / "history.csv").read_text().splitlines())) for place in (base, folder)]
    assert [row["distillation"] for row in rows[1][: len(rows[0])]] == [row["distillation"] for row in rows[0]]
    assert [int(float(row["iteration"])) for row in rows[1]] == [0] * len(rows[0]) + [1, 2]
    times = [float(row["seconds"]) for row in rows[1]]
    assert times == sorted(times)


def test_a_generator_of_its_own_leaves_the_bank_of_the_distillation_in_the_cost(zoo, base, tmp_path):
    made = heads_options(generator="fresh")
    folder = fit_cell(tmp_path / "learner", "free_heads", made, zoos=[zoo], base=base)
    assert (manifest(folder)["bank_seconds"], manifest(folder)["bank_passes"]) == (1.5, 7)


def test_another_learner_to_begin_with_is_another_run(zoo, inversion, base, tmp_path):
    """What an interrupted run left for one is not taken up for the other."""
    made = settings_of("mixed_heads", HEADS | {"learning_rate": 0.01}).model_dump(mode="json")
    other = fit_cell(tmp_path / "other", "mixed_heads", made, zoos=[zoo], inversion=inversion)
    expected = run(tmp_path / "whole", zoo, inversion, other)
    with pytest.raises(InterruptedJobError):
        run(tmp_path / "again", zoo, inversion, base, progress=InterruptedProgress(1))
    found = run(tmp_path / "again", zoo, inversion, other)
    assert (found / "learner.safetensors").read_bytes() == (expected / "learner.safetensors").read_bytes()


def test_a_resumed_stage_writes_the_same_learner(zoo, inversion, base, tmp_path):
    expected = run(tmp_path / "whole", zoo, inversion, base)
    with pytest.raises(InterruptedJobError):
        run(tmp_path / "resumed", zoo, inversion, base, progress=InterruptedProgress(1))
    assert list(tmp_path.glob("resumed.*"))
    found = run(tmp_path / "resumed", zoo, inversion, base)
    assert not list(tmp_path.glob("resumed.*"))
    assert (found / "learner.safetensors").read_bytes() == (expected / "learner.safetensors").read_bytes()
    assert manifest(expected)["teacher_passes"] == manifest(found)["teacher_passes"]
