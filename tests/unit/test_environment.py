"""pyproject.toml, requirements.lock and environment.yml describe one environment, CITATION.cff one version."""

import re
import tomllib
from collections.abc import Iterator

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from support.repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SUPPORTED = SpecifierSet(PROJECT["project"]["requires-python"])
PYTHONS = [f"3.{minor}" for minor in range(6, 30)]
ASKED = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["dev"],
    *PROJECT["build-system"]["requires"],
]


def locked(text: str) -> Iterator[tuple[Requirement, list[str]]]:
    """Requirements of a lock file, each with its hashes."""
    for entry in re.sub(r"\\\n", " ", text).splitlines():
        if entry.strip() and not entry.startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", entry.strip())
            yield Requirement(requirement), hashes


def unmet(asked: list[str], lock: str, python: str) -> list[str]:
    """Dependencies no pin of the lock satisfies under one Python version."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    pins = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin, _ in locked(lock)
        if pin.marker is None or pin.marker.evaluate(environment)
    }
    wanted = [Requirement(text) for text in asked]
    return [
        str(want)
        for want in wanted
        if not (version := pins.get(canonicalize_name(want.name))) or not want.specifier.contains(version)
    ]


CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["keywords"] == PROJECT["project"]["keywords"]


def test_conda_environment_is_named_like_the_package_and_uses_no_default_channel():
    assert CONDA["name"] == PROJECT["project"]["name"]
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]


def test_conda_python_is_inside_what_the_package_supports():
    (python,) = [line for line in CONDA["dependencies"] if str(line).startswith("python ")]
    offered = SpecifierSet(python.removeprefix("python "))
    allowed = [version for version in PYTHONS if offered.contains(version)]
    assert allowed
    assert [version for version in allowed if not SUPPORTED.contains(version)] == []


def test_conda_pip_installs_the_package_and_nothing_else():
    assert CONDA["dependencies"][1:] == ["pip", {"pip": ["-e ."]}]


@pytest.mark.parametrize("python", [version for version in PYTHONS if SUPPORTED.contains(version)])
def test_lock_satisfies_every_dependency(python):
    assert unmet(ASKED, LOCK, python) == []


def test_lock_pins_are_exact_and_hashed():
    entries = list(locked(LOCK))
    assert len(entries) > len(ASKED)
    for pin, hashes in entries:
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), pin
        assert hashes, f"{pin} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), pin


def test_lock_holds_no_address_and_no_option():
    assert "://" not in LOCK
    assert [pin for pin, _ in locked(LOCK) if pin.url] == []
    assert [line for line in LOCK.splitlines() if re.match(r"\s*-(?!-hash=)", line)] == []


def test_lock_keeps_the_constraints():
    constraints = PROJECT["tool"]["uv"]["constraint-dependencies"]
    assert {Requirement(line).name for line in constraints} >= {"torch", "torchvision"}
    assert unmet(constraints, LOCK, "3.11") == []


def test_run_sh_accepts_exactly_the_supported_pythons():
    script = (ROOT / "run.sh").read_text(encoding="utf-8")
    low, high = re.search(r"\(3, (\d+)\) <= sys.version_info\[:2\] < \(3, (\d+)\)", script).groups()
    assert [f"3.{n}" for n in range(int(low), int(high))] == [v for v in PYTHONS if SUPPORTED.contains(v)]


def test_a_missing_or_wrong_pin_is_noticed():
    lock = "numpy==1.0 \\\n    --hash=sha256:00\ntoml==1 ; python_version < '3.12' \\\n    --hash=sha256:00\n"
    assert unmet(["numpy>=2", "toml", "rich"], lock, "3.11") == ["numpy>=2", "rich"]
    assert unmet(["numpy<2", "toml"], lock, "3.12") == ["toml"]
