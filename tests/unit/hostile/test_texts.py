"""Configuration, tables and JSON artefacts: aliases that multiply, numbers without end, commands to a terminal."""

import pytest

from dfml.artefacts.provenance import Provenance
from dfml.artefacts.receipt import Receipt
from dfml.artefacts.record import Record
from dfml.cli.verify import examine
from dfml.config.load import load_config
from dfml.data.splits import read_split
from dfml.errors import ConfigError, DataError, FileFormatError
from dfml.files.atomic import write_json
from dfml.files.yaml_files import LARGEST_YAML, MOST_VALUES, read_yaml
from dfml.jobs.provenance import write_receipt
from dfml.results.collect import collect_records, read_results_csv
from dfml.results.reading import read_speeds
from support import manifests, results
from support.specimens import edit_json

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, f"more than {MOST_VALUES} values"),
        (MERGES, f"more than {MOST_VALUES} values"),
        ("a: &a [*a]\n", "nested deeper"),
        ("a: " + "[" * 100 + "]" * 100, "nested deeper"),
        ("a: " + "[" * 10_000 + "]" * 10_000, "not valid YAML"),
        ("a: " + "9" * 5_000, "a number of more than 40 digits"),
        ("a: 0x" + "f" * 5_000, "a number of more than 40 digits"),
        ("a: 2001-99-99\n", "not valid YAML: month must be"),
        ("a: !!bool maybe\n", "not valid YAML"),
        ("a: !!int ''\n", "not valid YAML"),
        ("a: !!timestamp x\n", "not valid YAML"),
        ("#" * (LARGEST_YAML + 1), "larger than 1 MiB"),
    ],
    ids=lambda value: value[:16],
)
def test_yaml(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(path)


@pytest.mark.parametrize("value", ["2001-99-99", "!!bool maybe", "9" * 5_000])
def test_text_where_a_number_is_wanted(tmp_path, value):
    path = tmp_path / "mine.yaml"
    path.write_text(f"ways: '{value}'\n")
    with pytest.raises(ConfigError, match="ways: expected a whole number"):
        load_config([path])


@pytest.fixture
def table(tmp_path):
    collect_records([results.write_record(tmp_path)], tmp_path / "results.csv")
    return tmp_path / "results.csv"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",600,", f",{10**30},", "episodes holds something else than numbers"),
        ("icons_colour", "icons\x1b[2J", "dataset holds a text that is too long or cannot be printed"),
        ("icons_colour", "i" * 2_000, "dataset holds a text that is too long or cannot be printed"),
        (",40.0,", ",inf,", "accuracy or its interval is missing or not finite"),
    ],
)
def test_results(table, old, new, message):
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(FileFormatError, match=message):
        read_results_csv(table)


@pytest.mark.parametrize("name", ["\x1b]0;owned\x07", "", "x" * 256])
def test_names_of_artefacts(tmp_path, name):
    with pytest.raises(FileFormatError, match="pool: "):
        Record.load(manifests.write(tmp_path, "record.json", manifests.record(pool=name)))
    arms = [manifests.speed()["arms"][0] | {"name": name}]
    with pytest.raises(FileFormatError, match=r"arms\.0\.name: "):
        read_speeds([manifests.write(tmp_path, "speed.json", manifests.speed(arms=arms))])
    lists = {"meta_train": [name], "meta_val": ["b"], "meta_test": ["c"]}
    write_json(tmp_path / "split.json", {"format": "dfml.split", "version": 1, **lists})
    with pytest.raises(DataError, match="must be a list of class names"):
        read_split(tmp_path / "split.json", [name, "b", "c"])


@pytest.mark.parametrize("changes", [{"outputs": None}, {"outputs": ["a"]}, {"inputs": {"a": 1}}, {"inputs": "a"}])
def test_a_receipt(tmp_path, changes):
    write_receipt(tmp_path / "a.json", Provenance(**manifests.provenance()), [])
    assert Receipt.load(tmp_path / "a.json").outputs == {}
    edit_json(tmp_path / "a.json", **changes)
    with pytest.raises(FileFormatError, match=rf"a\.json: {next(iter(changes))}.*run the job that left it again"):
        Receipt.load(tmp_path / "a.json")


def test_verify_survives_a_receipt_with_names_that_no_file_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs = {"x" * 5_000: "0", "a\x00b": "0", "\x1b[2J": "0"}
    receipts = tmp_path / "results" / "mine" / "receipts"
    write_receipt(receipts / "a.json", Provenance(**manifests.provenance(inputs=inputs)), [])
    write_json(receipts / "b.json", {"format": "dfml.receipt", "version": 1})
    (finding,) = examine([], tmp_path / "results" / "mine")
    assert (finding.kind, finding.path) == ("unreadable", "results/mine/receipts/b.json")
