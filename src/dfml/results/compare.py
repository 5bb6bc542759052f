"""Tables of several experiments joined on the settings in which they differ. Torch-free."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dfml.errors import DfmlError
from dfml.files.yaml_files import read_yaml
from dfml.results.collect import read_results_csv
from dfml.results.summary import MEASURED, average_over_seeds

RECORDED = "config.yaml"
"""The resolved configuration that an experiment leaves in its folder."""

_NUMBERS = ["accuracy", "ci95", "seed_sd", "seeds"]


def differing(configurations: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The dotted keys whose values differ, each with its value per configuration, None where it is not there."""
    flat = [dict(_leaves(one)) for one in configurations]
    keys = [key for key in dict.fromkeys(key for one in flat for key in one) if key != "experiment"]
    values = {key: [one.get(key) for one in flat] for key in keys}
    return {key: found for key, found in values.items() if any(value != found[0] for value in found)}


def join_experiments(folders: Sequence[Path]) -> tuple[pd.DataFrame, list[str]]:
    """Means over seeds of all experiments in one frame: experiment, the differing settings, MEASURED and numbers.

    Returns:
        The frame, and the names of the settings that differ.

    Raises:
        DfmlError: an experiment is not finished, or two folders are one.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise DfmlError("a folder is given twice; give each once")
    configurations, frames = [], []
    for folder in folders:
        for name in ("results.csv", RECORDED):
            if not os.path.isfile(folder / name):
                raise DfmlError(f"{folder} has no {name}: run that experiment to its end, or leave it out")
        configurations.append(read_yaml(folder / RECORDED))
        frames.append(average_over_seeds(read_results_csv(folder / "results.csv")))
    settings = differing(configurations)
    alike = len({folder.name for folder in folders}) < len(folders)
    for index, (folder, frame) in enumerate(zip(folders, frames, strict=True)):
        frame.insert(0, "experiment", str(folder) if alike else folder.name)
        for place, (key, values) in enumerate(settings.items(), start=1):
            frame.insert(place, f"setting {key}", "–" if values[index] is None else str(values[index]))
    columns = ["experiment", *(f"setting {key}" for key in settings), *MEASURED, *_NUMBERS]
    return pd.concat(frames, ignore_index=True)[columns], list(settings)


def _leaves(section: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in section.items():
        place = f"{above}{key}"
        found += _leaves(value, f"{place}.") if isinstance(value, Mapping) and value else [(place, value)]
    return found
