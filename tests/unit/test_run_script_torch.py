"""DFML_TORCH=cpu: which packages run.sh sets up then, what it remembers, what it says where they are not offered."""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.house import UV, House
from support.repository import ROOT

LOCK = "one==1\nnvidia-x==1\ntorch==2.1 \\\n    --hash=sha256:00\n"
SYNCED = UV + '[ "$2" != sync ] || { for last; do :; done; cp "$last" synced; }\n'
PIP = """#!/bin/sh
echo "pip $*" >>calls
[ {status} -eq 0 ] || { echo "ERROR: nothing on {platform}"; exit {status}; }
mkdir -p .uv/cpu
"""
INSTALLED = ["uv pip sync", "uv pip install"]


@pytest.fixture
def shop(house) -> House:
    """The house with a lock that names torch, a pip that finds all builds, and a uv that keeps what it was given."""
    (house.folder / "requirements.lock").write_text(LOCK)
    house.executable(".uv/bin/uv", SYNCED)
    offer(house, status=0)
    return house


def offer(house: House, status: int) -> None:
    """Have pip find the builds or, with another status than 0, not."""
    house.executable(".uv/bin/python", PIP.replace("{status}", str(status)).replace("{platform}", "linux"))


def synced(house: House) -> str:
    return (house.folder / "synced").read_text()


def test_the_choice_stays_until_the_other_is_made(shop):
    assert shop.run("true", DFML_TORCH="cpu").returncode == 0
    assert shop.calls() == ["uv venv", "pip -", "uv pip uninstall", *INSTALLED]
    assert synced(shop) == "one==1\ntorch==2.1+cpu\n"
    for variables in ({}, {"DFML_TORCH": ""}, {"DFML_TORCH": "cpu"}):
        assert shop.run("true", **variables).stderr == ""
        assert shop.calls() == []
    (shop.folder / "requirements.lock").write_text(LOCK + "two==2\n")
    shop.run("true")
    assert shop.calls() == ["pip -", *INSTALLED]
    assert synced(shop) == "one==1\ntorch==2.1+cpu\ntwo==2\n"
    assert not (shop.folder / ".uv/cpu").exists()
    shop.run("true", DFML_TORCH="default")
    assert shop.calls() == ["uv pip uninstall", *INSTALLED]
    assert synced(shop) == LOCK + "two==2\n"
    assert shop.run("true").stderr == ""


def test_what_is_not_to_be_had_is_told_and_the_environment_stays(shop):
    shop.run("true")
    shop.calls()
    offer(shop, status=1)
    refused = shop.run("echo", "reached", DFML_TORCH="cpu")
    assert (refused.returncode, refused.stdout) == (1, "")
    said, again = refused.stderr.splitlines()
    assert "(ERROR: nothing on linux)" in said
    assert "PIP_EXTRA_INDEX_URL" in said and "DFML_TORCH=default" in said and "run this again" in again
    assert shop.calls() == ["pip -"]
    assert shop.run("echo", "reached").stdout == "reached\n"
    assert shop.calls() == []


def test_an_installation_that_stopped_is_taken_up_with_the_same_choice(shop):
    shop.executable(".uv/bin/uv", SYNCED + '[ "$2" != sync ]\n')
    assert shop.run("true", DFML_TORCH="cpu").returncode == 1
    shop.executable(".uv/bin/uv", SYNCED)
    assert shop.run("true").returncode == 0
    assert synced(shop) == "one==1\ntorch==2.1+cpu\n"


def test_systems_whose_usual_builds_have_no_cuda_take_those(shop):
    shop.executable("bin/uname", "#!/bin/sh\necho Darwin\n")
    assert shop.run("true", DFML_TORCH="cpu").returncode == 0
    assert shop.calls() == ["uv venv", *INSTALLED]
    assert synced(shop) == LOCK


@pytest.mark.parametrize("value", ["CPU", "cuda", "cpu default", "2.14.1+cpu"])
def test_another_value_is_refused(shop, value):
    run = shop.run("true", DFML_TORCH=value)
    assert (run.returncode, run.stderr) == (1, f'run.sh: DFML_TORCH is "{value}"; it can be cpu or default.\n')
    assert shop.calls() == []


def test_of_the_committed_lock_only_what_belongs_to_cuda_is_missing(shop):
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    (shop.folder / "requirements.lock").write_text(lock)
    assert shop.run("true", DFML_TORCH="cpu").returncode == 0
    whole, without = (re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:] for text in (lock, synced(shop)))
    # Nothing in the lock is for Linux alone but what torch's builds with CUDA ask for.
    cuda = [entry for entry in whole if "sys_platform == 'linux'" in entry]
    torch = [entry for entry in whole if re.match("torch(vision)?==", entry)]
    assert len(cuda) > 10 and len(torch) == 2
    expected = [entry for entry in whole if entry not in cuda + torch]
    assert sorted(without) == sorted(expected + [f"{entry.split(' ')[0]}+cpu\n" for entry in torch])


def build_wheel(folder: Path, name: str, version: str) -> str:
    """Write a wheel of one module; returns its line in a lock."""
    module = name.replace("-", "_")
    path = folder / f"{module}-{version}-py3-none-any.whl"
    info = f"{module}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}.py", f"version = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def real(house, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """run.sh in a house with the real uv and pip, an index that uv is told of, and one of CPU builds for pip alone."""
    usual, cpu = tmp_path / "usual", tmp_path / "cpu"
    usual.mkdir()
    cpu.mkdir()
    names = ("one", "nvidia-x", "torch", "torchvision", "triton")
    (house.folder / "requirements.lock").write_text("".join(build_wheel(usual, name, "1.0") for name in names))
    for name in ("torch", "torchvision"):
        build_wheel(cpu, name, "1.0+cpu")
    shutil.rmtree(house.folder / ".uv")
    subprocess.run([sys.executable, "-m", "venv", house.folder / ".uv"], check=True)
    # Installing the repository itself needs its build system, which is not of interest here.
    uv = f'#!/bin/sh\n[ "$1 $2" = "pip install" ] || exec "{ROOT}/.uv/bin/uv" "$@"\n'
    house.executable(".uv/bin/uv", uv)

    def run(*words: str, offered: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        pip = {"PIP_FIND_LINKS": str(cpu) if offered else str(usual), "PIP_NO_INDEX": "1"}
        index = {"UV_FIND_LINKS": str(usual), "UV_NO_INDEX": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
        return house.run(*words, **index, **pip, **variables)

    return run


HAS = "from importlib.metadata import distributions as d; print(*sorted(f'{x.name}=={x.version}' for x in d()))"
WITH_CUDA = "nvidia-x==1.0 one==1.0 torch==1.0 torchvision==1.0 triton==1.0\n"
WITHOUT = "one==1.0 torch==1.0+cpu torchvision==1.0+cpu\n"


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".uv/bin/uv").exists(), reason="run.sh has not put uv into .uv")
def test_packages_come_and_go_with_the_choice(real):
    refused = real("python", "-c", HAS, offered=False, DFML_TORCH="cpu")
    assert refused.returncode == 1
    assert "No matching distribution found for torch==1.0+cpu); name PyTorch's own index" in refused.stderr
    assert "Traceback" not in refused.stderr and refused.stderr.count("\n") == 2
    for choice, expected in ({}, WITH_CUDA), ({"DFML_TORCH": "cpu"}, WITHOUT), ({}, WITHOUT):
        run = real("python", "-c", HAS, **choice)
        assert (run.returncode, run.stdout) == (0, expected), run.stderr
    assert real("python", "-c", HAS, DFML_TORCH="default").stdout == WITH_CUDA
