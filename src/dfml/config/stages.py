"""Which keys of the configuration each stage of `dvc.yaml` depends on, and that file with these keys in it.

A key that stands in no list here is one of the last stages, which depend on the whole file.
"""

import re
import textwrap
from collections.abc import Collection, Iterator
from importlib import import_module
from pathlib import Path

from dfml.catalogue import METHODS, MethodEntry, section_key, sections
from dfml.config.root import Config
from dfml.files.yaml_files import read_yaml
from dfml.methods.settings import MethodSettings

DVC = Path("dvc.yaml")
DEFAULT = Path("config/config.yaml")

# Which learners there are, on which pools: that decides which zoos and banks are asked for.
CELLS = (
    "experiment",
    "seeds",
    "shots",
    "datasets",
    "networks",
    "learner",
    "zoos",
    "pools",
    "methods",
    "variants",
    "custom_methods",
    "custom_networks",
)


def stage_keys() -> dict[str, set[str]]:
    """The top-level keys that the jobs of each stage with a list depend on, or by which there are such jobs."""
    deciding = {section_key(method) for method, row in METHODS.items() if row.settings and _decides_cells(row)}
    by_option = {section_key(method) for method, row in METHODS.items() if row.bank == "by_option"}
    return {
        "zoo": {*CELLS, *deciding, "ways", "zoo"},
        "inversion": {*CELLS, *deciding, *by_option, "label_space", "inversion"},
        "metalearning": {*CELLS, *sections(), "ways", "label_space", "inversion"},
    }


def _decides_cells(row: MethodEntry) -> bool:
    """Whether its settings say on which pools a method can run, or which images it is given."""
    module, name = row.settings.split(":")
    section: type[MethodSettings] = getattr(import_module(module), name)
    # A learner that starts from a model's weights needs more than answers or gradients.
    more_access = row.access != "weights" and "start" in section.model_fields
    return row.other_domain or more_access or section.inapplicable is not MethodSettings.inapplicable


def with_stage_keys(text: str, given: Collection[str]) -> str:
    """The text of `dvc.yaml` with every stage's keys, of those that are ``given``: DVC refuses one that is not there.

    Raises:
        ValueError: a stage is not there, or has no list of keys.
    """
    for stage, wanted in stage_keys().items():
        keys = [key for key in Config.model_fields if key in wanted and key in given]
        wrapped = textwrap.wrap(f"[{', '.join(keys)}]", 108, break_long_words=False, break_on_hyphens=False)
        lines = "\n".join(f"          {line}" for line in wrapped)
        before = rf"(^  {stage}:\n(?:    .*\n)*?    params:\n)(?:      .*\n)+"
        # Names of keys hold nothing that a replacement would take for a group.
        text, found = re.subn(before, rf"\1      - {DEFAULT}:\n{lines}\n", text, flags=re.MULTILINE)
        if found != 1:
            raise ValueError(f"{DVC} has no stage `{stage}` with `params`")
    return text


def stages(root: Path) -> Iterator[tuple[Path, str]]:
    """`dvc.yaml` and what it should say, if the folder has one."""
    if (root / DVC).is_file():
        yield DVC, with_stage_keys((root / DVC).read_text(encoding="utf-8"), read_yaml(root / DEFAULT).keys())
