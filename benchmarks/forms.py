"""The meta-step and inversion in every form that the package knows, beside the same plain loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks import episodes, inversion
from benchmarks.arms import Case
from benchmarks.pools import GENERATOR_WIDTH, PER_CLASS, WAYS
from dfml.inversion import together
from dfml.metalearning import episode_forms


def cases(device: str) -> Sequence[Case]:
    """Every form of the meta-step at each shape of :func:`benchmarks.episodes.cases`; on a CPU at 32 px only."""
    return _in_all_forms(episodes.cases(device), episode_forms.CANDIDATES, device)


def inversion_cases(device: str) -> Sequence[Case]:
    """Every form of :mod:`dfml.inversion.together` at each side of :func:`benchmarks.inversion.cases`."""
    return _in_all_forms(inversion.cases(device), together.CANDIDATES, device)


def fastest(cases: Sequence[Case], results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines for ``FASTEST`` of the meta-step or of inversion: of each shape the form of the smallest time."""
    times: dict[tuple[int, ...], dict[str, float]] = {}
    for case, result in zip(cases, results, strict=True):
        times.setdefault(_shape(case.ours.options), {})[case.ours.options["form"]] = result["ours_ms"]
    for shape, by_form in times.items():
        yield f'{shape}: "{min(by_form, key=by_form.__getitem__)}",'


def in_form(case: Case, name: str) -> Case:
    """A case with our arm in one form."""
    ours = replace(case.ours, options={**case.ours.options, "form": name})
    return replace(case, name=f"{case.name}, {name}", ours=ours)


def _in_all_forms(plain: Iterable[Case], names: Iterable[str], device: str) -> list[Case]:
    # None of them serves a CPU, where they are only to be seen.
    chosen = [case for case in plain if device != "cpu" or case.ours.options["side"] == 32]
    return [in_form(case, name) for case in chosen for name in names]


def _shape(own: Mapping[str, Any]) -> tuple[int, ...]:
    if "episodes" not in own:
        return together.InversionShape(inversion.MODELS, WAYS * PER_CLASS, own["side"], GENERATOR_WIDTH)
    support, query = own["ways"] * own["shots"], own["ways"] * episodes.QUERIES
    return episode_forms.Shape(own["episodes"], support, query, own["side"], own["width"])
