"""The `invert` stage is interrupted: it goes on to the same bits, and never from the rest of another run."""

import pytest
import torch

from support.recoveries import COUNTS, FIVE, META_LEARNED, contents, interrupt, record, run
from support.zoo import write_random_zoo


@pytest.mark.parametrize(("stop", "kept"), [(1, 0), (3, 2), (4, 4)])
def test_an_interruption_leads_to_the_same_bits(undisturbed, zoos, inverter, tmp_path, monkeypatch, stop, kept):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, inverter, stop)
        run(zoos, tmp_path, inverter=inverter)
    assert [path.name for path in tmp_path.iterdir()] == (["resume.pt"] if kept else [])
    done = interrupt(monkeypatch, inverter, 99)
    run(zoos, tmp_path, inverter=inverter)
    assert len(done) == COUNTS[inverter][0] - kept + (0 if inverter in META_LEARNED else 3)  # with three probes
    assert contents(tmp_path) == contents(undisturbed)


@pytest.mark.parametrize("optimiser", ["adam_fresh", "sgd"])
def test_an_interruption_keeps_the_outer_optimiser(zoos, tmp_path, monkeypatch, optimiser):
    five = {**FIVE, "outer_optimiser": optimiser}
    whole = run(zoos, tmp_path / "whole", five=five)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "five", 4)
        run(zoos, tmp_path / "parts", five=five)
    assert contents(run(zoos, tmp_path / "parts", five=five)) == contents(whole)


def test_seconds_run_on_over_an_interruption(zoos, tmp_path, monkeypatch):
    clock = iter(range(0, 100_000, 10))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "five", 4)
        run(zoos, tmp_path)
    saved = torch.load(tmp_path / "resume.pt", weights_only=True)["state"]["clock"]["total"]
    run(zoos, tmp_path)
    assert record(tmp_path)["seconds"] > saved > 0


@pytest.mark.parametrize("change", [{"inverter": "gen_ce"}, {"latent": 9}, {"label_space": "per_model"}, {"code": "x"}])
def test_another_runs_rest_is_not_continued(zoos, tmp_path, monkeypatch, change):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "five", 3)
        run(zoos, tmp_path / "parts")
    whole = run(zoos, tmp_path / "whole", **change)
    done = interrupt(monkeypatch, change.get("inverter", "five"), 99)
    assert contents(run(zoos, tmp_path / "parts", **change)) == contents(whole)
    assert len(done) >= COUNTS[change.get("inverter", "five")][0]


def test_a_rest_from_another_zoo_is_not_continued(zoos, tmp_path, monkeypatch):
    other = [write_random_zoo(tmp_path / "other", seed=5), zoos[1]]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "five", 3)
        run(other, tmp_path / "parts")
    assert contents(run(zoos, tmp_path / "parts")) == contents(run(zoos, tmp_path / "whole"))
