"""Two shelves are told to be the same by what their files hold, and every difference is named."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from benchmarks import identity
from support.repository import ROOT

CELL = "single/free/1shot/seed0"
ZOO = "zoo/icons/conv4/seed0/zoo.safetensors"
JUDGES = "zoo/icons/conv4/seed0/judges.safetensors"
GENERATOR = "inversion/single/five/seed0/generator.safetensors"
BANK = "inversion/single/five/seed0/bank.npz"
LEARNER = f"metalearning/{CELL}/learner.safetensors"
RECORD = f"evaluation/{CELL}/record.json"
RESULT = {"dataset": "icons", "rule": "linear", "batch_norm": "transductive", "episodes": 20}
NUMBERS = {"accuracy": 41.25, "ci95": 0.5, "accuracies_digest": "ab"}


def tensors(**changes):
    return {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(3, dtype=np.int64)} | changes


def write_bank(shelf, **changes):
    arrays = {"images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "seconds": np.array(1.5)} | changes
    np.savez(shelf / BANK, **arrays)


def write_record(shelf, **changes):
    record = {"results": [RESULT | NUMBERS | changes], "device": str(shelf), "train_seconds": 3.0}
    (shelf / RECORD).write_text(json.dumps(record), encoding="utf-8")


def write_shelf(shelf):
    for path in (ZOO, JUDGES, GENERATOR, LEARNER, BANK, RECORD):
        (shelf / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".safetensors"):
            save_file(tensors(), shelf / path, {"made at": str(shelf)})
    write_bank(shelf)
    write_record(shelf)
    return shelf


@pytest.fixture
def shelves(tmp_path):
    return write_shelf(tmp_path / "first"), write_shelf(tmp_path / "second")


def differences(shelves, capsys):
    """Differences that are printed; the exit status says whether there are any."""
    status = identity.main([str(shelf) for shelf in shelves])
    lines = capsys.readouterr().out.splitlines()[len(identity.KINDS) : -1]
    assert status == bool(lines)
    return lines


def test_counts_are_printed_and_equal_shelves_are_the_same(shelves, capsys):
    assert identity.main([str(shelf) for shelf in shelves]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "zoos: 2 and 2 files",
        "generators: 1 and 1 files",
        "banks: 1 and 1 files",
        "learners: 1 and 1 files",
        "records: 1 and 1 files",
        "the same",
    ]


def test_containers_do_not_count(shelves, capsys):
    _, second = shelves
    save_file(dict(reversed(tensors().items())), second / ZOO, {"format": "pt"})
    content = np.asfortranarray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    np.savez_compressed(second / BANK, seconds=np.array(1.5, dtype=">f8"), images=content)
    assert (second / BANK).read_bytes() != (shelves[0] / BANK).read_bytes()
    assert differences(shelves, capsys) == []


@pytest.mark.parametrize("path", [ZOO, JUDGES, GENERATOR, LEARNER])
def test_one_bit_is_found(shelves, capsys, path):
    file = shelves[1] / path
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (line,) = differences(shelves, capsys)
    # Tensors lie in the file by falling size of their dtype, so the last byte is of the float32.
    assert line.startswith(f"{path}: a differs: float32 [2, 3] ")


@pytest.mark.parametrize(
    "changed",
    [tensors()["a"].reshape(3, 2), tensors()["a"].view(np.int32), -tensors()["a"]],
    ids=["shape", "dtype", "sign of a zero"],
)
def test_shape_dtype_and_sign_are_content(shelves, capsys, changed):
    save_file(tensors(a=changed), shelves[1] / LEARNER)
    (line,) = differences(shelves, capsys)
    assert line.startswith(f"{LEARNER}: a differs")


def test_a_renamed_tensor_is_named_on_both_sides(shelves, capsys):
    first, second = shelves
    save_file({"a": tensors()["a"], "c": tensors()["b"]}, second / GENERATOR)
    assert differences(shelves, capsys) == [f"{GENERATOR}: b only in {first}", f"{GENERATOR}: c only in {second}"]


@pytest.mark.parametrize("path", [ZOO, JUDGES, GENERATOR, BANK, LEARNER, RECORD])
def test_a_missing_file_is_a_difference(shelves, capsys, path):
    first, second = shelves
    (second / path).unlink()
    assert differences(shelves, capsys) == [f"{path}: only in {first}"]
    assert differences(shelves[::-1], capsys) == [f"{path}: only in {first}"]


@pytest.mark.parametrize(("name", "value"), [("accuracy", 41.26), ("ci95", 0.4), ("accuracies_digest", "ac")])
def test_a_changed_number_of_a_record_is_named(shelves, capsys, name, value):
    write_record(shelves[1], **{name: value})
    (line,) = differences(shelves, capsys)
    assert line == (
        f"{RECORD}: icons / linear / transductive: {name} differs: {json.dumps(NUMBERS[name])} and {json.dumps(value)}"
    )


@pytest.mark.parametrize("path", [ZOO, BANK, RECORD])
@pytest.mark.parametrize("keep", [0, 20, -4])
def test_a_damaged_file_is_a_difference_even_if_both_are(shelves, capsys, path, keep):
    for shelf in shelves:
        (shelf / path).write_bytes((shelf / path).read_bytes()[:keep])
    (line,) = differences(shelves, capsys)
    assert line.startswith(f"{path}: cannot be read")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["first"],
        ["first", "nothing"],
        ["empty", "empty"],
        ["first", "second", "--configfile", "a.yaml"],
        ["first", "second", "--commits", "a", "b"],
        ["--commits", "a", "b", "--configfile", "nothing.yaml"],
    ],
)
def test_bad_usage(shelves, tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.yaml").touch()
    try:
        status = identity.main(arguments)
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert capsys.readouterr().err


def repository(folder, commits):
    """A repository with a ``run.sh`` per commit that leaves a shelf."""

    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()

    folder.mkdir()
    git("init", "-q")
    names = []
    for accuracy in commits:
        script = f"""#!/bin/sh
[ -z "${{PYTHONPATH-}}" ] || exit 1
mkdir -p results/demo/{RECORD.rsplit("/", 1)[0]}
echo "$@" >asked
echo '{json.dumps({"results": [RESULT | NUMBERS | {"accuracy": accuracy}]})}' >results/demo/{RECORD}
"""
        (folder / "run.sh").write_text(script)
        (folder / "run.sh").chmod(0o755)
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", "one")
        names.append(git("rev-parse", "HEAD"))
    return names


def test_two_commits_are_run_and_compared(tmp_path, monkeypatch, capfd):
    first, same, other = repository(tmp_path / "repository", [1.0, 1.0, 2.0])
    monkeypatch.setattr(identity, "ROOT", tmp_path / "repository")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert identity.main(["--commits", first, same]) == 0
    assert identity.main(["--commits", first, other]) == 1
    assert "accuracy differs: 1.0 and 2.0" in capfd.readouterr().out
    assert identity.main(["--commits", first, "nothing"]) == 2
    assert "checkout" in capfd.readouterr().err


def test_configuration_is_that_of_the_caller(tmp_path, monkeypatch):
    (commit,) = repository(tmp_path / "repository", [1.0])
    monkeypatch.setattr(identity, "ROOT", tmp_path / "repository")
    monkeypatch.chdir(tmp_path)
    identity.shelf_of_commit(commit, tmp_path / "clone", [identity.Path("a.yaml"), identity.Path("b.yaml")])
    asked = (tmp_path / "clone/asked").read_text().split()
    assert asked[:3] == ["snakemake", "--cores", "all"]
    assert asked[-3:] == ["--configfile", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]


def test_nothing_of_the_package_is_imported():
    command = "import sys, benchmarks.identity; sys.exit(any(name.split('.')[0] == 'dfml' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=False).returncode == 0


def test_the_small_experiment_has_every_method_on_several_domains():
    from dfml.catalogue import METHODS
    from dfml.config.load import load_config

    files = [ROOT / "config/config.yaml", ROOT / "config/smoke.yaml", ROOT / "tests/e2e/domains.yaml"]
    assert yaml.safe_load(files[-1].read_text(encoding="utf-8"))["experiment"] == "domains"
    cells = load_config(files).cells()
    assert {cell.pool for cell in cells} == {"multi_domain"}
    assert [cell.method for cell in cells] == list(METHODS)
