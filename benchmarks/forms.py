"""The meta-step in every form that :mod:`dfml.metalearning.episode_forms` knows, beside the same plain loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks import episodes
from benchmarks.arms import Case
from benchmarks.report import run
from dfml.metalearning.episode_forms import CANDIDATES, Shape


def cases(device: str) -> Sequence[Case]:
    """Every form at each shape of :func:`benchmarks.episodes.cases`; on a CPU, where none serves, at 32 px only."""
    plain = [case for case in episodes.cases(device) if device != "cpu" or case.ours.options["side"] == 32]
    return [in_form(case, name) for case in plain for name in CANDIDATES]


def in_form(case: Case, name: str) -> Case:
    """A case of the meta-step with our arm in one form."""
    ours = replace(case.ours, options={**case.ours.options, "form": name})
    return replace(case, name=f"{case.name}, {name}", ours=ours)


def fastest(cases: Sequence[Case], results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines for ``FASTEST``: of each shape the form of the smallest time."""
    times: dict[Shape, dict[str, float]] = {}
    for case, result in zip(cases, results, strict=True):
        own = case.ours.options
        support, query = own["ways"] * own["shots"], own["ways"] * episodes.QUERIES
        shape = Shape(own["episodes"], support, query, own["side"], own["width"])
        times.setdefault(shape, {})[own["form"]] = result["ours_ms"]
    for shape, by_form in times.items():
        yield f'{shape}: "{min(by_form, key=by_form.__getitem__)}",'


if __name__ == "__main__":
    run("Forms of the meta-step", cases)
