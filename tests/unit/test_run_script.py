"""run.sh sets the environment up: when it installs, with what, and what does not hinder it."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from support.house import UV, House


def test_installs_once_and_then_says_nothing(house):
    first = house.run("true")
    assert (first.returncode, first.stdout) == (0, "")
    assert first.stderr.count("\n") == 1
    assert house.calls() == ["uv venv", "uv pip sync", "uv pip install"]
    second = house.run("true")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert house.calls() == []


def test_installs_again_only_what_changed(house):
    house.run("true")
    house.calls()
    (house.folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    house.run("true")
    assert house.calls() == ["uv pip install"]
    (house.folder / "requirements.lock").write_text("one==2\n")
    house.run("true")
    assert house.calls() == ["uv pip sync", "uv pip install"]


def test_the_environment_of_another_checkout_is_not_taken_away(house, tmp_path):
    assert house.run("true").returncode == 0
    other = House(tmp_path / "other")
    (other.folder / ".venv").symlink_to(house.folder / ".venv")
    before = (house.folder / ".venv/.set-up-from").read_bytes()
    run = other.run("true")
    assert run.returncode == 1
    assert f".venv is a link to the environment of {house.folder}; remove the link" in run.stderr
    assert (house.folder / ".venv/.set-up-from").read_bytes() == before
    (other.folder / ".venv").unlink()
    (tmp_path / "disk").mkdir()
    (other.folder / ".venv").symlink_to(tmp_path / "disk")  # one's own may lie on another disk
    assert other.run("true").returncode == 0


def test_a_moved_copy_and_a_lost_interpreter_get_a_new_environment(house, tmp_path):
    house.run("true")
    shutil.move(house.folder, tmp_path / "moved")
    house.folder = tmp_path / "moved"
    house.calls()
    house.run("true")
    assert house.calls() == ["uv venv", "uv pip sync", "uv pip install"]
    (house.folder / ".venv/bin/python").unlink()
    house.run("true")
    assert house.calls() == ["uv venv", "uv pip sync", "uv pip install"]


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONPATH": "{there}"},
        {"PYTHONHOME": "{there}"},
        {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "PYTHONINSPECT": "1"},
        {"PYTHONPLATLIBDIR": "lib-other", "PYTHONSAFEPATH": "1", "PYTHONSTARTUP": "{there}/yaml.py"},
        {"PYTHONUSERBASE": "{there}", "PYTHON_GIL": "1", "PYTHON312_HOME": "{there}"},
    ],
    ids="+".join,
)
def test_no_variable_of_python_reaches_the_environment(house, tmp_path, variables):
    (tmp_path / "yaml.py").write_text("raise SystemExit('the wrong one')\n")
    variables = {name: value.format(there=tmp_path) for name, value in variables.items()}
    code = (
        "import os, sys, yaml; print(*(name for name in os.environ if name.startswith('PYTHON')), sys.flags.optimize)"
    )
    for _ in range(2):  # while it is set up, and after that
        run = house.run("python", "-c", code, **variables)
        assert (run.returncode, run.stdout) == (0, "PYTHON 0\n"), run.stderr
    assert house.calls() == ["uv venv", "uv pip sync", "uv pip install"]


WHEEL = {
    "uv-1.data/scripts/uv": UV,
    "uv-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: uv\nVersion: 1\n",
    "uv-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "uv-1.dist-info/RECORD": "",
}


@pytest.fixture(scope="module")
def pip_folder(tmp_path_factory) -> Path:
    """A fresh `.uv`, since making one takes seconds, and beside it an index with a stand-in for uv."""
    folder = tmp_path_factory.mktemp("pip")
    subprocess.run([sys.executable, "-m", "venv", folder / ".uv"], check=True)
    (folder / "index").mkdir()
    wheel = folder / "index/uv-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in WHEEL.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "installer.lock").write_text(f"uv==1 --hash=sha256:{digest}\n")
    (folder / "constraints.txt").write_text("uv==0.1\n")
    return folder


REACH = {"no-index": "true", "find-links": "{index}"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "section", "settings"),
    [
        ({"PIP_USER": "1"}, "global", REACH),
        ({}, "global", REACH | {"user": "true"}),
        ({}, "install", REACH | {"user": "yes", "dry-run": "true"}),
        ({"PIP_TARGET": "{index}/x"}, "install", REACH | {"prefix": "{index}/y"}),
        ({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "{index}"}, "global", {"target": "{index}/x", "require-hashes": "no"}),
        ({"PIP_NO_BINARY": ":all:", "PIP_ROOT": "{index}/x", "PIP_LOG": "/proc/no/log"}, "global", REACH),
        ({"PIP_CONSTRAINT": "{index}/../constraints.txt", "PIP_PYTHON": "/no/python"}, "global", REACH),
    ],
)
def test_pips_own_settings_send_nothing_elsewhere(house, pip_folder, tmp_path, variables, section, settings):
    """A stand-in index is found through what says how it is reached, by a variable or by the file."""
    shutil.rmtree(house.folder / ".uv")
    shutil.copy(pip_folder / "installer.lock", house.folder)
    house.executable(
        "bin/python3", f'#!/bin/sh\n[ "$2" = venv ] && exec cp -R "{pip_folder}/.uv" .\nexec "$PYTHON" "$@"\n'
    )
    lines = [f"{name} = {value}" for name, value in settings.items()]
    text = "\n".join([f"[{section}]", *lines, ""]).format(index=pip_folder / "index")
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text(text)
    given = {name: value.format(index=pip_folder / "index") for name, value in variables.items()}
    outer = {name for name in os.environ if name.startswith("PIP_")} - given.keys()
    run = house.run("true", HOME=str(tmp_path), **dict.fromkeys(outer, ""), **given)
    assert run.returncode == 0, run.stderr
    assert (house.folder / ".uv/bin/uv").is_file()
    assert house.calls() == ["uv venv", "uv pip sync", "uv pip install"]
    assert [path.name for path in (pip_folder / "index").iterdir()] == ["uv-1-py3-none-any.whl"]


OTHER = """#!/bin/sh
case $2 in
  *EXTENSION_SUFFIXES*) {says} ;;
  *) exec "$PYTHON" "$@" ;;
esac
"""


@pytest.mark.parametrize(
    "says",
    ["echo .cpython-310-x86_64-linux-gnu.so", "echo .cpython-314t-darwin.so", "exit 127", "kill -ILL $$"],
    ids=["older", "newer, of another system", "a lost library", "another processor"],
)
def test_another_python_behind_the_link_gets_a_new_environment(house, says):
    house.run("true")
    house.calls()
    house.executable(".venv/bin/python", OTHER.format(says=says))
    run = house.run("python", "-c", "print('runs')")
    assert (run.returncode, run.stdout) == (0, "runs\n"), run.stderr
    assert house.calls() == ["uv venv", "uv pip sync", "uv pip install"]
    assert house.run("true").stderr == ""
    assert house.calls() == []


def test_a_newer_python_of_the_same_kind_keeps_the_environment(house):
    house.run("true")
    house.calls()
    suffix = EXTENSION_SUFFIXES[0]
    house.executable(".venv/bin/python", OTHER.format(says=f"echo {suffix}"))
    assert house.run("true").stderr == ""
    assert house.calls() == []


def test_a_failed_installation_is_told_and_tried_again(house):
    house.executable(".uv/bin/uv", UV + '[ "$2" != sync ]\n')
    failed = house.run("echo", "reached")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "run this again" in failed.stderr.splitlines()[-1]
    house.calls()
    house.executable(".uv/bin/uv", UV)
    assert house.run("true").returncode == 0
    assert house.calls() == ["uv pip sync", "uv pip install"]


def test_two_at_once_install_once(house):
    command = [str(house.folder / "run.sh"), "true"]
    slow = house.environment(UV_SECONDS="0.3")
    running = [subprocess.Popen(command, env=slow, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(process.communicate(timeout=60)[1] for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert house.calls() == ["uv venv", "uv pip sync", "uv pip install"]
    assert said.count("Installing") == 1


WITHOUT_LOCKS = """
import errno, fcntl, os, sys

def flock(*_):
    raise OSError(errno.{error}, os.strerror(errno.{error}))

fcntl.flock = flock
exec(sys.stdin.read())
"""


@pytest.mark.parametrize("status", [0, 3])
def test_pip_installs_the_package_where_uvs_cache_has_no_locks(house, status):
    house.executable(".uv/bin/uv", UV + '[ "$1 $2" != "pip install" ]\n')
    house.executable(".uv/bin/python", f'#!/bin/sh\necho "pip $*" >>calls\nexit {status}\n')
    run = house.run("echo", "reached")
    assert (run.returncode, run.stdout) == ((1, "") if status else (0, "reached\n"))
    assert house.calls() == ["uv venv", "uv pip sync", "uv pip install", "pip -"]


@pytest.mark.parametrize("error", ["ENOSYS", "ENOTSUP", "ENOLCK", "EINVAL"])
def test_a_file_system_without_locks_is_no_hindrance(house, error):
    (house.folder / "bin/locks.py").write_text(WITHOUT_LOCKS.format(error=error))
    house.executable(
        "bin/python3",
        f"""#!/bin/sh
[ "$1" != - ] || set -- "{house.folder}/bin/locks.py"
exec "$PYTHON" "$@"
""",
    )
    run = house.run("echo", "reached")
    assert (run.returncode, run.stdout) == (0, "reached\n")
    assert house.calls() == ["uv venv", "uv pip sync", "uv pip install"]
    assert "has no locks" in run.stderr.splitlines()[0]
    assert "Waiting" not in run.stderr and "Traceback" not in run.stderr


CACHES = 'echo "${XDG_CACHE_HOME-}|${UV_CACHE_DIR-}|${MPLCONFIGDIR-}" >>caches'


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "/dev/null"},
        {"HOME": "/proc/1/no/such/home"},
        {"HOME": ""},
        {"HOME": "/sys"},
        {"HOME": "/proc", "UV_CACHE_DIR": "/proc/uv"},
        {"XDG_CACHE_HOME": "/dev/null/cache"},
    ],
    ids=str,
)
def test_without_a_home_to_write_to_caches_are_in_the_repository(house, variables):
    house.executable(".uv/bin/uv", f"{UV}\n{CACHES}\n")
    run = house.run("sh", "-c", CACHES, **{"XDG_CACHE_HOME": "", "UV_CACHE_DIR": "", **variables})
    assert (run.returncode, run.stderr.count("\n")) == (0, 1)
    caches = house.folder / ".cache"
    assert set((house.folder / "caches").read_text().splitlines()) == {f"{caches}||{caches}/matplotlib"}


@pytest.mark.parametrize("variables", [{}, {"XDG_CACHE_HOME": "{home}/other"}, {"UV_CACHE_DIR": "{home}/uv"}], ids=str)
def test_caches_that_can_be_written_stay_where_they_are(house, tmp_path, variables):
    given = {name: value.format(home=tmp_path) for name, value in variables.items()}
    nothing = {"XDG_CACHE_HOME": "", "UV_CACHE_DIR": "", "MPLCONFIGDIR": ""}
    house.run("sh", "-c", CACHES, **(nothing | {"HOME": str(tmp_path)} | given))
    said = (house.folder / "caches").read_text()
    assert said == f"{given.get('XDG_CACHE_HOME', '')}|{given.get('UV_CACHE_DIR', '')}|\n"
    assert not (house.folder / ".cache").exists()
    assert list(tmp_path.rglob(".dfml.*")) == []


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("#!/bin/sh\nexit 1\n", "Python 3.11, 3.12 or 3.13 is needed"),
        ('#!/bin/sh\ncase $2 in *ensurepip*) exit 1 ;; esac\nexec "$PYTHON" "$@"\n', "no venv module"),
    ],
)
def test_says_what_python_is_missing(house, python, said):
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        house.executable(f"bin/{name}", python)
    run = house.run("true")
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert said in run.stderr
    assert house.calls() == []
