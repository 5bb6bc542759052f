"""A method that was interrupted and resumed ends bit for bit where an undisturbed run ends."""

import csv
import json

import pytest
import torch

from dfml.compute.state import collect
from dfml.methods.free.loop import FreeLoop
from dfml.methods.free.settings import FreeOfficialSettings, FreeSettings
from support.cells import (
    FIVE,
    InterruptedJobError,
    InterruptedProgress,
    context,
    fit_cell,
    free_options,
    official_options,
    supervised_options,
    write_inversion,
)
from support.zoo import save_pattern_images

ITERATIONS = 4


def same(a, b):
    """Whether two nested states agree to the bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return a == b


def without_seconds(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def make(pool, settings, *, path, every, inversion=None, progress=None):
    cell = context(
        "free",
        pool=pool,
        inversion=inversion,
        resume=path,
        every=every,
        progress=progress,
    )
    return FreeLoop(cell, settings, cell.new_learner(pool.side))


def settings_of(variant):
    if variant == "official":
        return FreeOfficialSettings(**official_options(iterations=3))
    if variant == "adversary":
        adversary = {"weight": 1.0, "student": "stale_fast", "student_grad": True}
        return FreeSettings(**free_options(iterations=3, adversary=adversary, bell={"outer": "shared_adam"}))
    if variant in ("heads", "parallel"):
        bell = {"heads": "per_model"} if variant == "heads" else {"mode": "parallel"}
        return FreeSettings(**free_options(iterations=3, bell=bell))
    return FreeSettings(**free_options(iterations=3 if variant == "fresh" else 4, generator=variant))


@pytest.mark.parametrize(("done", "every"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("variant", ["fresh", "inversion", "official", "adversary", "heads", "parallel"])
def test_free_resumes_with_bank_generator_and_random_numbers(pool, tmp_path, variant, done, every):
    settings = settings_of(variant)
    inversion = write_inversion(tmp_path / "inversion", pool) if variant == "inversion" else None
    undisturbed = make(pool, settings, path=None, every=every, inversion=inversion)
    snapshots, history = undisturbed.run()
    assert len(history) == ITERATIONS

    path = tmp_path / "resume.pt"
    interrupted = make(pool, settings, path=path, every=every, inversion=inversion, progress=InterruptedProgress(done))
    with pytest.raises(InterruptedJobError):
        interrupted.run()
    resumed = make(pool, settings, path=path, every=every, inversion=inversion)
    taken = []
    monitored = resumed.iteration
    resumed.iteration = lambda number: taken.append(number) or monitored(number)
    resumed_snapshots, resumed_history = resumed.run()

    assert taken == list(range(done // every * every, ITERATIONS))
    expected, found = collect(undisturbed), collect(resumed)
    for name in expected:
        assert same(found[name], expected[name]), name
    assert same(expected["student"], expected["parameters"]) == (variant not in {"official", "adversary"})
    assert [s.iteration for s in resumed_snapshots] == [s.iteration for s in snapshots]
    assert all(same(a.states, b.states) for a, b in zip(resumed_snapshots, snapshots, strict=True))
    assert without_seconds(resumed_history) == without_seconds(history)


@pytest.mark.parametrize("method", ["free", "free_official", "supervised_maml"])
def test_a_resumed_stage_writes_the_same_learner(zoo, images, tmp_path, method):
    options = {"free": free_options, "free_official": official_options, "supervised_maml": supervised_options}
    inputs = {"images": [images]} if method == "supervised_maml" else {"zoos": [zoo]}

    def fit(name, **changes):
        return fit_cell(tmp_path / name, method, options[method](), **inputs, **changes)

    whole = fit("whole")
    with pytest.raises(InterruptedJobError):
        fit("resumed", progress=InterruptedProgress(2))
    assert (tmp_path / "resumed.resume").exists()
    # Nothing but the curve so far, which the whole one replaces.
    assert {file.name for file in (tmp_path / "resumed").glob("*")} <= {"history.csv"}
    resumed = fit("resumed")
    assert not (tmp_path / "resumed.resume").exists()
    weights = [(folder / "learner.safetensors").read_bytes() for folder in (whole, resumed)]
    assert weights[0] == weights[1]
    histories = [list(csv.DictReader((folder / "history.csv").read_text().splitlines())) for folder in (whole, resumed)]
    assert without_seconds(histories[0]) == without_seconds(histories[1])
    manifests = [json.loads((folder / "learner.json").read_text()) for folder in (whole, resumed)]
    for name in ("teacher_passes", "options", "weights_sha256", "encoders"):
        assert manifests[0][name] == manifests[1][name]
    seconds = [float(row["seconds"]) for row in histories[1]]
    assert seconds == sorted(seconds)  # the time before the interruption counts


def test_a_resume_file_of_other_code_is_not_used(zoo, tmp_path, caplog):
    def fit(code, progress=None):
        return fit_cell(tmp_path / "cell", "free", free_options(), zoos=[zoo], progress=progress, code=code)

    with pytest.raises(InterruptedJobError):
        fit("old", InterruptedProgress(2))
    with pytest.raises(InterruptedJobError):
        fit("new", InterruptedProgress(1))
    assert "belongs to another run, starting afresh" in caplog.text


def test_a_resume_file_of_other_settings_is_not_used(zoo, tmp_path):
    def fit(name, steps, progress=None):
        options = free_options(five=FIVE | {"steps": steps})
        return fit_cell(tmp_path / name, "free", options, zoos=[zoo], progress=progress)

    with pytest.raises(InterruptedJobError):
        fit("changed", 2, InterruptedProgress(2))
    expected = (fit("whole", 1) / "learner.safetensors").read_bytes()
    assert (fit("changed", 1) / "learner.safetensors").read_bytes() == expected


def test_a_resume_file_of_other_images_is_not_used(images, tmp_path):
    other = save_pattern_images(tmp_path / "other", classes=5, per_class=8, seed=1).parent

    def fit(name, folder, progress=None):
        return fit_cell(tmp_path / name, "supervised_maml", supervised_options(), images=[folder], progress=progress)

    with pytest.raises(InterruptedJobError):
        fit("changed", images, InterruptedProgress(2))
    expected = (fit("whole", other) / "learner.safetensors").read_bytes()
    assert (fit("changed", other) / "learner.safetensors").read_bytes() == expected
