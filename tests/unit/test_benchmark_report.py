"""The report of the benchmarks: taken in turns, kept as it is measured, shown as the page has it."""

import json
from argparse import Namespace
from dataclasses import replace

import pytest
import torch

from benchmarks import (
    end_to_end,
    episodes,
    report,
)
from benchmarks.arms import Arm, Case
from benchmarks.report import arguments, floor_ms, measure_all, parsed, to_markdown
from support.repository import ROOT


def test_floor_is_the_larger_of_operations_and_traffic():
    case = episodes.case(32)
    assert floor_ms(case, {"flops": case.flops, "bandwidth": 2 * case.bytes}) == 1000
    assert floor_ms(case, {"flops": 2 * case.flops, "bandwidth": case.bytes / 3}) == 3000
    assert floor_ms(end_to_end.case(32), {"flops": 1.0, "bandwidth": 1.0}) is None


def test_both_arms_are_timed_in_turns_and_compared(tmp_path):
    tiny = {"side": 16, "shots": 1, "episodes": 2, "ways": 3, "width": 4}
    case = Case(
        "tiny",
        Arm("benchmarks.episodes:ours", tiny),
        Arm("benchmarks.episodes:reference", tiny, plain=True),
        units=2,
        rounds=2,
        flops=1e6,
    )
    before, found = {"name": "another"}, tmp_path / "found.json"
    (result,) = measure_all("Tiny", [case], Namespace(device="cpu", threads=1, tf32=False, json=found), [before])
    assert result["difference"] is not None
    assert result["difference"] < 1e-4
    assert result["ratio_range"][0] <= result["ratio"] <= result["ratio_range"][1]
    assert min(result["ours_ms"], result["reference_ms"], result["floor_ms"], *result["peak_memory_mb"]) > 0
    told = json.loads(found.read_text(encoding="utf-8"))
    assert told["device"].startswith("cpu (")
    assert {"name", "ours_ms", "reference_ms", "ratio"} <= result.keys()
    assert told["results"] == [before, {**result, "peak_memory_mb": list(result["peak_memory_mb"])}]


def test_what_is_stopped_keeps_what_was_measured(tmp_path, monkeypatch):
    case = episodes.case(16)
    found = tmp_path / "found.json"
    measured = {"ratio": 2.0, "name": "first"}

    def measure(case, *_, **__):
        if case.name == "second":
            raise KeyboardInterrupt
        return dict(measured)

    monkeypatch.setattr(report, "measure", measure)
    monkeypatch.setattr(report, "machine_ceilings", lambda *_, **__: {"flops": 1.0, "bandwidth": 1.0})
    options = Namespace(device="cpu", threads=1, tf32=False, json=found)
    with pytest.raises(KeyboardInterrupt):
        measure_all("Two", [replace(case, name="first"), replace(case, name="second")], options)
    (row,) = json.loads(found.read_text(encoding="utf-8"))["results"]
    assert row.items() >= measured.items()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--device", "cuda"], "no CUDA device was found"),
        (["--threads", "0"], "at least 1"),
        (["--json", "nowhere/at/all.json"], "its folder does not exist"),
    ],
)
def test_what_cannot_be_run_or_written_is_refused_at_once(monkeypatch, capsys, given, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["benchmarks", *given])
    with pytest.raises(SystemExit):
        parsed(arguments("a benchmark"))
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("kept", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_the_page_shows_the_kept_results(kept):
    page = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    assert to_markdown(json.loads(kept.read_text(encoding="utf-8"))) in page


def test_on_a_gpu_ours_rounds_as_a_job_does_unless_told_not_to(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for given, tf32 in (
        (["--device", "cuda"], True),
        (["--device", "cuda", "--float32"], False),
        (["--device", "cpu"], False),
    ):
        monkeypatch.setattr("sys.argv", ["benchmarks", *given])
        assert parsed(arguments("a benchmark")).tf32 is tf32
