"""run.sh as it is called: from where, by which path, with which words, and what it says at the end."""

import shutil
import subprocess
from pathlib import Path

import pytest

from support.house import House

ODD = {" ": "a blank", "$": "the character $", "\n": "control character", "\t": "control character"}


@pytest.mark.parametrize("odd", [*"\"$&'()*:;<>?`{|}[]\\ \t\n"])
def test_a_path_in_which_no_job_could_start_is_refused_at_once(tmp_path, odd):
    house = House(tmp_path / f"my{odd}projects" / "clöne")
    run = house.run("true")
    assert (run.returncode, run.stdout) == (1, "")
    assert f"has {ODD.get(odd, f'the character {odd}')}" in run.stderr.replace("a tab, a line break or another ", "")
    assert run.stderr.count("\n") == 1
    assert house.calls() == []
    assert not (house.folder / ".setup.lock").exists()


# Every character that can stand in a name and is not refused. A job's interpreter is named to a shell like this.
ALLOWED = "a#b!c~d%20e=f,g+h@i^j-k_l.mé日"


def test_any_other_path_is_taken(tmp_path):
    house = House(tmp_path / ALLOWED)
    run = house.run("sh", "-c", "bash -c \"$VIRTUAL_ENV/bin/python -c 'print(1)'\"")
    assert (run.returncode, run.stdout) == (0, "1\n")


def test_runs_a_command_from_the_root_with_its_words_and_status(house, tmp_path):
    run = house.run("sh", "-c", 'pwd; printf "%s|" "$@" "$VIRTUAL_ENV"; exit 7', "x", "a  b", "*", cwd=tmp_path)
    assert run.returncode == 7
    assert run.stdout == f"{house.folder}\na  b|*|{house.folder}/.venv|"
    house.executable(".venv/bin/pytest", "#!/bin/sh\necho from the environment\n")
    assert house.run("pytest", cwd=tmp_path).stdout == "from the environment\n"


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A folder for links, reached through a link itself, as a home on another disk is."""
    (tmp_path / "disk" / "user" / "bin").mkdir(parents=True)
    (tmp_path / "home").symlink_to(tmp_path / "disk" / "user")
    return tmp_path / "home" / "bin"


@pytest.mark.parametrize(
    "chain",
    [
        ["{house}/run.sh"],
        ["../../../a-house/run.sh"],  # relative to where its folder is, not to the name by which that is reached
        ["second", "./third link", "{house}/run.sh"],
        ["folder/run.sh"],
    ],
    ids=["absolute", "relative", "chain", "through a folder"],
)
@pytest.mark.parametrize("by", ["path", "PATH", "relative path"])
def test_a_link_is_followed_and_nothing_is_left_beside_it(house, elsewhere, chain, by):
    (elsewhere / "folder").symlink_to(house.folder)
    names = ["run-dfml", *(target.removeprefix("./") for target in chain[:-1])]
    for name, target in zip(names, chain, strict=True):
        (elsewhere / name).symlink_to(target.format(house=house.folder))
    before = sorted(elsewhere.iterdir())
    called = {"path": str(elsewhere / "run-dfml"), "PATH": "run-dfml", "relative path": "bin/run-dfml"}[by]
    environment = house.environment()
    environment["PATH"] += f":{elsewhere}"
    run = subprocess.run(
        ["sh", "-c", f"{called} pwd"],
        cwd=elsewhere.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, f"{house.folder}\n")
    assert sorted(elsewhere.iterdir()) == before


@pytest.mark.parametrize("how", ["copy", "hard link", "link to a copy"])
def test_a_copy_elsewhere_is_refused_and_leaves_nothing(house, elsewhere, how):
    called = elsewhere / "run.sh"
    if how == "hard link":
        called.hardlink_to(house.folder / "run.sh")
    else:
        shutil.copy(house.folder / "run.sh", called)
    if how == "link to a copy":
        called = elsewhere / "dfml"
        called.symlink_to("run.sh")
    before = sorted(elsewhere.iterdir())
    run = subprocess.run([called, "true"], env=house.environment(), capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert "bin is not the repository" in run.stderr and run.stderr.count("\n") == 1
    assert sorted(elsewhere.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--configfile", "my.yaml"], "--configfile {there}/my.yaml"),
        (["--configfile=my.yaml", "-n"], "--configfile={there}/my.yaml -n"),
        (
            ["--configfile", "config/config.yaml", "sub/its own.json"],
            "--configfile config/config.yaml {there}/sub/its own.json",
        ),
        (["--configfile", "/x/my.yaml", "./my.yaml"], "--configfile /x/my.yaml {there}/./my.yaml"),
        (["--config", "seeds=[0]", "zoo={a: b}"], "--config seeds=[0] zoo={a: b}"),
        (["--configfile", "nowhere.yaml"], "--configfile nowhere.yaml"),
    ],
)
def test_a_configuration_file_may_be_named_from_where_it_is_called(house, tmp_path, words, expected):
    there = tmp_path / "notes"
    (there / "sub").mkdir(parents=True)
    for name in ("my.yaml", "sub/its own.json"):
        (there / name).write_text("seeds: [0]\n")
    run = house.run("echo", *words, cwd=there)
    assert (run.returncode, run.stdout) == (0, expected.replace("{there}", str(there)) + "\n")


def test_a_file_that_is_here_and_there_is_not_guessed(house, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").touch()
    run = house.run("echo", "config/config.yaml", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert f"in {tmp_path} and in {house.folder}; give the whole path" in run.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("experiment: ü\n".encode("latin-1"), "mine.yaml: not a text file in UTF-8"),
        (None, "mine.yaml: there is no such configuration file"),
        (b"ways: 5\nways: 6\n", "mine.yaml, line 2: `ways` is given twice"),
        (b"- a list\n", "mine.yaml: expected keys at the top level"),
    ],
)
def test_snakemake_is_not_started_on_a_file_that_it_could_not_read(house, content, said):
    if content:
        (house.folder / "mine.yaml").write_bytes(content)
    run = house.run("snakemake", "-n", "--configfile", "mine.yaml")
    assert (run.returncode, run.stdout) == (1, "")
    assert said in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
    assert [call for call in house.calls() if call.startswith("snakemake")] == []


@pytest.mark.parametrize(
    ("text", "experiment"),
    [
        ("seeds: [0]\nexperiment: toy  # its folder\n", "toy"),
        ('experiment: "mine"\n', "mine"),
        ("experiment: 'mine' # in quotes\n", "mine"),
        ("seeds: [0]\n", "demo"),
        ('{"seeds": [0], "experiment": "flow"}\n', "flow"),
        ("experiment:\n  folded\n", "folded"),
        ("ways: 5\n'experiment' : >-\n  block\n", "block"),
    ],
)
def test_without_a_command_runs_the_workflow_and_prints_where_results_are(house, text, experiment):
    (house.folder / "config/config.yaml").write_text(text)
    run = house.run()
    assert run.returncode == 0
    assert house.calls()[-1] == "snakemake --cores"
    assert run.stdout.splitlines() == [
        f"Main table: {house.folder}/results/{experiment}/tables/main.md",
        f"Report:     {house.folder}/results/{experiment}/report.html",
    ]


def test_a_failed_workflow_prints_no_paths_and_keeps_its_status(house):
    run = house.run(SNAKEMAKE_STATUS="3")
    assert (run.returncode, run.stdout) == (3, "")


def test_help_and_a_forgotten_command(house):
    assert "usage" in house.run("--help").stdout
    wrong = house.run("--cores", "2")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "usage" in wrong.stderr
    assert house.calls() == []
