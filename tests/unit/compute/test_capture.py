"""Recorded work: on a CPU the function itself; on a GPU the same numbers from a replayed graph."""

import logging
from contextlib import contextmanager
from functools import partial

import pytest
import torch

from dfml.compute.capture import WARM_UP, Recorded, Recording, overlapped

CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_on_a_cpu_the_function_is_called_every_time():
    calls = []
    recording = Recording(lambda: calls.append(None) or len(calls), CPU)
    assert [recording() for _ in range(WARM_UP + 3)] == list(range(1, WARM_UP + 4))


def test_on_a_cpu_arguments_and_results_are_the_functions_own():
    recorded = Recorded(lambda a, b: (a + b, a), CPU)
    a, b = torch.ones(2), torch.full((2,), 2.0)
    total, same = recorded(a, b)
    assert torch.equal(total, torch.full((2,), 3.0))
    assert same is a


def test_on_a_cpu_calls_take_turns():
    order = []
    calls = [lambda i=i: order.append(i) or 10 * i for i in range(3)]
    assert overlapped(calls, [None] * 5) == [0, 10, 20]
    assert order == [0, 1, 2]


class Stream:
    """Stands in for a stream of a GPU: remembers what it was told to wait for."""

    device = CPU

    def __init__(self) -> None:
        self.waited: list[object] = []
        self.wait_event = self.wait_stream = self.waited.append

    def record_event(self) -> str:
        return "what was queued before"


def test_on_a_gpu_each_call_is_queued_on_its_own_stream(monkeypatch):
    entered = [Stream()]
    current = entered[0]

    @contextmanager
    def inside(stream):
        entered.append(stream)
        yield
        entered.pop()

    monkeypatch.setattr(torch.cuda, "stream", inside)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: entered[-1])
    streams = [Stream(), Stream(), Stream()]
    assert overlapped([lambda: entered[-1]] * 2, streams) == streams[:2]
    assert [stream.waited for stream in streams] == [[current.record_event()], [current.record_event()], []]
    assert current.waited == streams[:2]
    assert entered == [current]


@pytest.mark.gpu
@needs_cuda
class TestOnCuda:
    device = torch.device("cuda")

    def test_a_replay_computes_what_the_function_computes(self):
        weight = torch.randn(5, 5, device=self.device, requires_grad=True)

        def step(x):
            loss = (x @ weight).square().mean()
            (gradient,) = torch.autograd.grad(loss, weight)
            with torch.no_grad():
                weight.sub_(gradient, alpha=0.1)
            return loss.detach(), gradient

        recorded = Recorded(step, self.device)
        batches = [torch.randn(7, 5, device=self.device) for _ in range(WARM_UP + 4)]
        start = weight.detach().clone()
        found = [recorded(batch) for batch in batches]
        end = weight.detach().clone()
        with torch.no_grad():
            weight.copy_(start)
        for batch, (loss, gradient) in zip(batches, found, strict=True):
            expected_loss, expected_gradient = step(batch)
            torch.testing.assert_close(loss, expected_loss)
            torch.testing.assert_close(gradient, expected_gradient)
        torch.testing.assert_close(end, weight.detach())

    def test_a_function_may_return_nothing(self, caplog):
        total = torch.zeros(1, device=self.device)

        def count():
            total.add_(1)

        recording = Recording(count, self.device)
        assert [recording() for _ in range(WARM_UP + 3)] == [None] * (WARM_UP + 3)
        assert total.item() == WARM_UP + 3
        assert not caplog.records  # recorded, and replayed

    def test_every_shape_has_a_recording_of_its_own(self):
        recorded = Recorded(lambda x: (x.sum(),), self.device)
        for _ in range(WARM_UP + 2):
            for size in (3, 4):
                assert recorded(torch.ones(size, device=self.device))[0].item() == size

    def test_what_cannot_be_recorded_runs_step_by_step(self, caplog):
        recorded, stream = Recorded(lambda x: (x * x.sum().item(),), self.device), torch.cuda.current_stream()
        with caplog.at_level(logging.WARNING):
            for _ in range(WARM_UP + 3):
                assert recorded(torch.ones(2, device=self.device))[0].tolist() == [2, 2]
        assert "not recorded" in caplog.text
        assert torch.cuda.current_stream() == stream

    def test_overlapped_results_are_ready_for_the_current_stream(self):
        streams = [torch.cuda.Stream(self.device) for _ in range(3)]
        recorded = [Recorded(lambda x: (x * 2,), self.device, stream) for stream in streams]
        for turn in range(WARM_UP + 3):
            x = torch.full((1 << 20,), float(turn), device=self.device)
            results = overlapped([partial(recorded_one, x) for recorded_one in recorded], streams)
            results = [result for (result,) in results]
            assert all((result == 2 * turn).all() for result in results)
