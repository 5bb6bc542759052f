"""Seconds by stage."""

import pytest
import torch

from dfml.compute import timeline
from dfml.compute.timeline import Timeline


@pytest.fixture
def clock(monkeypatch):
    """A clock that is moved by hand."""
    now = [100.0]
    monkeypatch.setattr(timeline.time, "perf_counter", lambda: now[0])

    def advance(seconds):
        now[0] += seconds

    return advance


def test_stages_are_disjoint_and_add_up(clock):
    times = Timeline(torch.device("cpu"), ("a", "b"))
    for _ in range(2):
        with times.stage("a"):
            clock(2)
        clock(50)  # between the stages: nobody's
        with times.stage("b"):
            clock(3)
        times.mark()
    assert times.settle() == [5, 10]
    assert times.seconds == {"a": 4.0, "b": 6.0}
    assert times.total == 10.0


def test_moments_are_told_once(clock):
    times = Timeline(torch.device("cpu"), ("a",))
    with times.stage("a"):
        clock(1)
    times.mark()
    with times.stage("a"):
        clock(1)
    assert times.settle() == [1.0]
    assert times.total == 2.0
    assert times.settle() == []
    assert times.total == 2.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device_time_is_counted_although_the_host_runs_ahead():
    times = Timeline(torch.device("cuda"), ("a",))
    x = torch.randn(4096, 4096, device="cuda")
    with times.stage("a"):
        for _ in range(20):
            x = torch.nn.functional.normalize(x @ x)
    times.mark()
    (seconds,) = times.settle()
    assert seconds == times.seconds["a"] > 20 * 4096**3 / 1e15
