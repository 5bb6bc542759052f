"""What is said of Snakemake's command line before Snakemake reads the files it names."""

from pathlib import Path

import pytest

from dfml.config.command_line import check_place, check_words
from dfml.errors import ConfigError

PYTHON = "/opt/dfml/.venv/bin/python"


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    contents = {
        "good.yaml": b"seeds: [0]\n",
        "latin.yaml": "experiment: caf\u00e9\n".encode("latin-1"),
        "utf16.yaml": "experiment: mine\n".encode("utf-16"),
        "tab.yaml": b"zoo:\n\tmodels: 3\n",
        "nested.yaml": b"zoo:\n  models: 3\n  recipe: {epochs: 1, epochs: 2}\n",
        "twice.json": b'{"ways": 5, "zoo": {"models": 3, "models": 4}, "ways": 6}',
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.yaml").mkdir()
    return tmp_path


LATIN, UTF16 = (f"{name}.yaml: not a text file in UTF-8; save it as UTF-8 YAML" for name in ("latin", "utf16"))


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["-n", "--configfile", "latin.yaml"], [LATIN]),
        (["--configfile=latin.yaml", "good.yaml"], [LATIN]),
        (["--configfiles", "good.yaml", "utf16.yaml", "--cores", "2"], [UTF16]),
        (["--configfile", "latin.yaml", "good.yaml", "utf16.yaml", "--", "all"], [LATIN, UTF16]),
        (
            ["--configfile", "good.yaml", "folder.yaml", "--config", "seeds=[1]"],
            ["folder.yaml: cannot"],
        ),
        (["--configfile", "goo.yaml"], ["goo.yaml: there is no such configuration file; did you mean good.yaml?"]),
        (
            ["--configfile", "x/y.yaml"],
            ["x/y.yaml: there is no such configuration file; check the path; it is relative to"],
        ),
        (["--configfile", "tab.yaml"], ["tab.yaml, line 2: a tab in `models: 3`; YAML wants spaces"]),
        (["--configfile", "nested.yaml"], ["nested.yaml, line 3: `zoo.recipe.epochs` is given twice"]),
        (
            ["--configfile", "twice.json"],
            ["twice.json, line 1: `zoo.models` is", "twice.json, line 1: `ways` is given twice"],
        ),
    ],
)
def test_files_that_cannot_be_read_are_named(files, words, lines):
    with pytest.raises(ConfigError) as caught:
        check_words(words)
    said = str(caught.value).splitlines()
    assert [said[i][: len(line)] for i, line in enumerate(lines)] == lines
    assert len(said) == len(lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--config", "seeds=[0]", "seeds=[1]"],
            "--config gives `seeds` twice, as `[0]` and as `[1]`; keep one of them",
        ),
        (["-C", "ways=5", "experiment=x", "ways=6", "-n"], "--config gives `ways` twice"),
        (["--config=ways=5", "--config", "ways=5"], "--config gives `ways` twice"),
        (["--config", "zoo={models: 3, models: 4}"], "`zoo.models` is given twice"),
        (["--config", "zoo={conv4: {epochs: 3, epochs: 4}}"], "`zoo.conv4.epochs` is given twice"),
        (["--config", "methods=[free]", "methods={a: 1}"], "--config gives `methods` twice"),
    ],
)
def test_a_key_given_twice_on_the_command_line_is_refused(files, words, said):
    with pytest.raises(ConfigError) as caught:
        check_words(words)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config", "ways=5", "-n", "-C", "shots=[1]"], "--config is given 2 times, and Snakemake keeps the last"),
        (["--config=ways=5", "--config", "shots=[1]"], "--config is given 2 times"),
        (["-Cways=5", "--config", "shots=[1]"], "--config is given 2 times"),
        (["--configfile", "good.yaml", "--configfile=good.yaml"], "--configfile is given 2 times"),
    ],
)
def test_an_option_of_which_snakemake_forgets_the_first_is_refused(files, words, said):
    with pytest.raises(ConfigError, match=said):
        check_words(words)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("zoo.models=10", "give the section, as 'zoo={models: 10}'"),
        ("zoo.conv4.epochs=1", "give the section, as 'zoo={conv4: {epochs: 1}}'"),
        ("zoo", "expected KEY=VALUE"),
        ("5=4", "`5` is no key"),
        (".a=4", "`.a` is no key"),
    ],
)
def test_an_entry_that_snakemake_could_not_read_is_told(files, entry, said):
    with pytest.raises(ConfigError) as caught:
        check_words(["-n", "--config", "ways=5", entry])
    assert str(caught.value) == f"--config {entry}: " + str(caught.value).partition(f"{entry}: ")[2]
    assert said in str(caught.value)


def test_what_is_right_passes(files):
    check_words(
        ["results/x.md", "--config", "zoo={models: 3}", "zoo={epochs: 4}", "experiment=a", "odd=[", "--cores", "2"]
    )
    check_words(["--configfile", "good.yaml", "--", "missing.yaml"])
    check_words(["--config", "ways=5", "--", "--config", "--config"])
    check_words(["-Cways=5", "-n"])
    check_place(files, files, PYTHON)
    (files.parent / "link").symlink_to(files)
    work = files / "work"
    for folder in (work, files / "config", files / "resources"):
        folder.mkdir()
    for part in ("config", "resources"):
        with pytest.raises(ConfigError, match="without --directory"):
            check_place(files, work, PYTHON)
        (work / part).symlink_to(files / part)
    check_place(files, work, PYTHON)
    check_place(files.parent / "link", files, "/opt/a#b!c~d%20e=f,g+h@i^j-k_l.m\u00e9e\u0301\u65e5/bin/python")


@pytest.mark.parametrize("here", ["sub", ".", "sub/deeper"])
def test_another_folder_is_refused_with_the_right_one(files, here):
    root = files / "clone"
    for folder in (root, files / here):
        folder.mkdir(parents=True, exist_ok=True)
    with pytest.raises(ConfigError, match="without --directory") as caught:
        check_place(root, files / here, PYTHON)
    assert f"call {root}/run.sh snakemake" in str(caught.value)


@pytest.mark.parametrize("odd", [*"\"$&'()*:;<>?`{|}[]\\ \t\n", "\udcff"])
def test_an_interpreter_that_no_shell_could_be_told_is_refused(files, odd):
    with pytest.raises(ConfigError, match="no job could be started"):
        check_place(files, files, f"/opt/my{odd}envs/bin/python")
