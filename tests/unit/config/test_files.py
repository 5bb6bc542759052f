"""Reading configuration files and laying them over one another."""

import os
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from dfml.config.load import check_files, load_config
from dfml.config.root import Config
from dfml.errors import ConfigError
from dfml.files.yaml_files import read_yaml
from dfml.settings import overlay


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes, name: str = "mine.yaml") -> Path:
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return Path(name)

    return write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.yaml: the file is empty; give at least one key"),
        ("# zoo:\n", "mine.yaml: the file is empty; give at least one key"),
        ("- zoo\n", "mine.yaml: expected keys at the top level (`key: value`), got a list"),
        ("zoo\n", "mine.yaml: expected keys at the top level (`key: value`), got `zoo`"),
        ("zoo:\n\tmodels: 3\n", "mine.yaml, line 2: a tab in `models: 3`; YAML wants spaces"),
        (
            "seeds: [0]\nzoo: {models: 3\nways: 5\n",
            "mine.yaml, line 3: not valid YAML: expected ',' or '}', but got ':' in `ways: 5`; check "
            "indentation, quotes and brackets there and above",
        ),
        (
            "zoo:\n  models: 3\n   epochs: 3\n",
            "mine.yaml, line 3: not valid YAML: mapping values are not allowed here in `epochs: 3`; check "
            "indentation, quotes and brackets there and above",
        ),
        (
            "zoo:\n  models: 3\n  epochs: 3\n  models: 4\n",
            "mine.yaml, line 4: `zoo.models` is given twice, first in line 2; keep one of them",
        ),
        (
            "seeds: [0]\npools: {a: {datasets: [x], datasets: [y]}}\nseeds: [1]\n",
            "mine.yaml, line 2: `pools.a.datasets` is given twice, first in line 2; keep one of them\n"
            "mine.yaml, line 3: `seeds` is given twice, first in line 1; keep one of them",
        ),
        (b"\xff\xfez", "mine.yaml: not a text file in UTF-8; save it as UTF-8 YAML"),
    ],
)
def test_names_file_line_and_fault(write, text, message):
    with pytest.raises(ConfigError) as caught:
        read_yaml(write(text))
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["a: !!python/object:os.system x\n", "a: 1\n---\nb: 2\n", "a: \x01\n", "? [a]\n: 1\n"])
def test_refuses_what_is_not_plain_yaml(write, text):
    with pytest.raises(ConfigError, match=r"^mine\.yaml.*: not valid YAML: "):
        read_yaml(write(text))


def test_names_a_missing_file_and_its_neighbour(write):
    write("ways: 5\n", "smoke.yaml")
    with pytest.raises(ConfigError, match=r"^smok\.yaml: there is no such .* did you mean smoke\.yaml\?$"):
        load_config([Path("smok.yaml")])
    with pytest.raises(ConfigError, match=r"^other/x\.yaml: there is no such .* check the path"):
        load_config([Path("other/x.yaml")])
    Path("folder.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"^folder\.yaml: cannot be read"):
        load_config([Path("folder.yaml")])


def test_reads_keys_given_once(write):
    text = "\ufeffbase: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\nlist: [{a: 1}, {a: 2}]\n"
    assert read_yaml(write(text)) == {
        "base": {"a": 1, "b": 2},
        "more": {"a": 1, "b": 3},
        "list": [{"a": 1}, {"a": 2}],
    }


def test_json_may_be_indented_by_tabs(write):
    assert read_yaml(write('{\n\t"zoo": {\n\t\t"models": 3\n\t}\n}\n', "mine.json")) == {"zoo": {"models": 3}}


def test_problems_of_all_files_are_told_once_each(write):
    first = write("seeds: [0]\nseeds: [1]\n", "first.yaml")
    second = write("# nothing\n", "second.yaml")
    with pytest.raises(ConfigError) as caught:
        check_files([first, str(first.absolute()), second])
    assert str(caught.value).splitlines() == [
        "first.yaml, line 2: `seeds` is given twice, first in line 1; keep one of them",
        "second.yaml: the file is empty; give at least one key",
    ]


def test_files_that_can_be_read_once_are_left_to_snakemake(write, tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    check_files([tmp_path / "pipe.yaml", "/dev/null", write("seeds: [0]\n")])


def test_later_files_lie_over_earlier_ones(write):
    first = write("seeds: [0, 1]\nzoo: {models: 20, conv4: {learning_rate: 0.5}}\n", "first.yaml")
    second = write("seeds: [7]\nzoo: {epochs: 3, conv4: {weight_decay: 0.1}}\n", "second.yaml")
    config = load_config([first, second])
    assert config.seeds == (7,)
    assert (config.zoo.models, config.zoo.epochs) == (20, 3)
    assert (config.zoo.conv4.learning_rate, config.zoo.conv4.weight_decay) == (0.5, 0.1)
    assert load_config([]) == Config()


def test_names_all_files_of_a_wrong_whole(write):
    paths = [write("zoo: {models: 0}\n", "first.yaml"), write("ways: 1\n", "second.yaml")]
    with pytest.raises(ConfigError, match=r"^first\.yaml \+ second\.yaml: 2 problems\n"):
        load_config(paths)


def test_merges_as_snakemake_does():
    base = yaml.safe_load("{a: {b: {c: 1, d: [1, 2]}, e: null, f: {g: 1}}, h: 1, i: {j: 1}}")
    over = yaml.safe_load("{a: {b: {d: [3], k: 4}, e: {l: 1}, f: 5}, h: {m: 1}, n: {o: {p: 1}}, i: null}")
    merged = overlay(base, over)
    assert base["a"]["b"] == {"c": 1, "d": [1, 2]}, "the first mapping was changed"
    update_config(base, over)
    assert merged == base
