"""What the documents name exists, and the check notices when it does not."""

import re

import pytest
import yaml

from support.existing import Existing
from support.markdown import newest_section, read_markdown
from support.repository import ROOT, committed_texts
from support.truth import check_commands, commands_of, problems, unquoted

DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "config/README.md",
    "results/README.md",
    "benchmarks/RESULTS.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "methods").glob("*.md")),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "api").glob("*.md")),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "results").rglob("README.md")),
)


@pytest.fixture(scope="module")
def existing() -> Existing:
    # Here, so that a broken configuration leaves the tests of the check itself running.
    from dfml.config.root import Config

    return Existing(ROOT, Config.model_json_schema())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_names_exists(existing, name):
    path = ROOT / name
    text = path.read_text(encoding="utf-8")
    text = newest_section(text) if name == "CHANGELOG.md" else text
    assert problems(existing, text, path.parent) == []


def test_hooks_and_ci_run_what_exists(existing):
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    commands = [hook["entry"] for repository in hooks["repos"] for hook in repository["hooks"]]
    commands += re.findall(r"^step (.+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) > len(hooks["repos"])
    assert all(command.startswith("./run.sh ") for command in commands)
    assert [problem for command in commands for problem in check_commands(existing, command)] == []


SCHEMA = {
    "$defs": {
        "Zoo": {"properties": {"models": {"type": "integer"}, "checkpoint": {"enum": ["best", "last"]}}},
        "Pool": {"properties": {"networks": {"type": "array"}}},
    },
    "properties": {
        "experiment": {"default": "demo"},
        "zoo": {"anyOf": [{"$ref": "#/$defs/Zoo"}, {"type": "null"}]},
        "pools": {"patternProperties": {"^[a-z]+$": {"$ref": "#/$defs/Pool"}}, "additionalProperties": False},
    },
}
FILES = {
    "run.sh": "#!/bin/sh\n",
    "README.md": "",
    "pyproject.toml": "[project]\ndependencies = ['torch>=2']\noptional-dependencies.dev = []\n"
    "[tool.pytest.ini_options]\nmarkers = ['e2e: all of it']\n",
    "config/config.yaml": "pools: {single: {networks: [conv4]}}\n",
    "workflow/Snakefile": "rule all:\n    input: 'results/demo/tables/main.csv'\n",
    "workflow/rules/zoo.smk": "rule train_zoo:\n    output: '<results>/zoo/{dataset}/zoo.json'\n",
    "src/dfml/__init__.py": "",
    "src/dfml/tables.py": "TABLES = ('main',)\n",
    "src/dfml/store.py": "class Zoo:\n    pass\n",
    "src/dfml/cli.py": "add('adapt')\nadd('--shots')\n",
    "tests/unit/test_zoo.py": "",
}
RIGHT = """
# A house <!-- `nothing_at_all` -->
`./run.sh` or ``./run.sh snakemake --cores 2`` in `workflow/rules/`, see [this](README.md#a), [that](https://x.org).
`train_zoo` writes `results/demo/zoo/{dataset}/zoo.json`, then `results/{experiment}/tables/main.{csv,md}`.
`zoo.json`, `zoo.models`, `models`, `pools.mine.networks`, `checkpoint: best`, `best`, `dfml.store.Zoo`,
`dfml.store`, `5`, `a b`, `√n`
```sh
./run.sh                     # everything
./run.sh COMMAND
./run.sh pytest -m "not e2e" tests/unit
snakemake train_zoo --cores 2 --configfile config/config.yaml --config experiment=mine \\
  --resources gpu=0
git clone https://host/x && cd x; dfml adapt ~/images --shots 5
```
```yaml
zoo: {models: 3}
pools: {mine: {networks: [conv4]}}
```
```python
from dfml.store import Zoo
```
"""
WRONG = [
    ("`src/dfml/shelf.py`", "no such path: src/dfml/shelf.py"),
    ("`workflow/rules/{zoo,inversion}.smk`", "no such path: workflow/rules/inversion.smk"),
    ("`results/demo/zoos/x`", "no such path: results/demo/zoos/x"),
    ("`results/demo/tables/second.csv`", "no such path: results/demo/tables/second.csv"),
    ("`learner.json`", "no such path: learner.json"),
    ("`train_zoos`", "nothing is called train_zoos"),
    ("`zoo.model`", "no config key or module zoo.model"),
    ("`pools.single.nets`", "no config key or module pools.single.nets"),
    ("`chekpoint: best`", "no config key chekpoint"),
    ("`dfml.store.Shelf`", "no config key or module dfml.store.Shelf"),
    ("``./run.sh snakemake trane_zoo``", "no rule or config key trane_zoo"),
    ("[that](docs/plan.md)", "link to nothing: docs/plan.md"),
    ("```sh\nmake all\n```", "unknown command make"),
    ("```sh\n./go.sh\n```", "no such path: go.sh"),
    ("```sh\npytest -m slow\n```", "no marker slow"),
    ("```sh\npytest tests/dag\n```", "no such path: tests/dag"),
    ("```console\n$ snakemake --config experimnt=x\nok\n```", "no rule or config key experimnt"),
    ("```sh\nsnakemake \\\n  --configfile config/big.yaml\n```", "no such path: config/big.yaml"),
    ("```sh\ndfml adopt\n```", "dfml knows no adopt"),
    ("```sh\n./run.sh env A=b dfml adopt\n```", "dfml knows no adopt"),
    ("```sh\ncd x && dvc repro\n```", "no such path: dvc.yaml"),
    ("```yaml\nzoo: {modles: 3}\n```", "no config key zoo.modles"),
    ("```yaml\npools: {mine: {nets: []}}\n```", "no config key pools.mine.nets"),
    ("```python\nfrom dfml.store import Shelf\n```", "no dfml.store.Shelf"),
    ("```text\nconfig/other.yaml  another\n```", "no such path: config/other.yaml"),
]


@pytest.fixture
def house(tmp_path) -> Existing:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Existing(tmp_path, SCHEMA)


def test_accepts_what_exists(house):
    assert problems(house, RIGHT, house.root) == []


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_notices_what_does_not_exist(house, text, problem):
    assert problems(house, text, house.root) == [f"line 1: {problem}"]


def test_paths_may_start_from_the_document(house):
    assert problems(house, "`unit/`, `unit/test_zoo.py`", house.root / "tests") == []
    assert problems(house, "`unit/test_zoos.py`", house.root / "tests") != []


def test_commands_mean_the_same_in_every_shell():
    """What stands unquoted in brackets is to zsh, the shell of macOS, a pattern that has to match a file."""
    found = {
        f"{name}:{line}": command
        for name, text in committed_texts().items()
        if name.endswith((".md", ".yaml", ".yml", ".smk")) and not name.startswith("resources/")
        for line, command in commands_of(name, text)
        if unquoted(command)
    }
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "`./run.sh snakemake --config seeds=[0]`",
        "```\nsnakemake -n --config zoo={models: 3}\n```",
        "```sh\nDFML_X=1 pip install -e .[dev]\n```",
        "```console\n$ dfml publish results/*\n```",
        "| a | `dvc exp run -S config/config.yaml:seeds=[1]` |",
        '`pytest "a b" tests/test_x.py::test[one]`',
    ],
)
def test_a_pattern_for_the_shell_is_noticed(text):
    assert [unquoted(command) for _, command in commands_of("a.md", text)] != []
    assert all(unquoted(command) for _, command in commands_of("a.md", text))


@pytest.mark.parametrize(
    "text",
    [
        "`./run.sh snakemake --config 'seeds=[0]' \"zoo={models: 3}\"`",
        "`pytest -m 'not slow' # all [of them]`",
        "`./run.sh COMMAND [ARG]`, `free-{a,b}`, `x[0]`, `a *b*`",
        "```yaml\nseeds: [0]\n```",
        "`snakemake --config seeds=\\[0\\]`",
    ],
)
def test_what_is_quoted_passes(text):
    assert [command for _, command in commands_of("a.md", text) if unquoted(command)] == []


def test_reads_inline_code_blocks_and_lines():
    document = read_markdown("a `b` c ``d ` e``\n\n```sh\n`x`\n```\n| `p\\|q` |")
    assert document.codes == [(1, "b"), (1, "d ` e"), (6, "p|q")]
    assert [(block.language, block.text, block.line) for block in document.blocks] == [("sh", "`x`", 3)]


def test_only_the_newest_section_of_a_changelog_is_held_to_the_present():
    assert newest_section("# Changes\n\n## 2\nnew\n\n## 1\nold\n") == "# Changes\n\n## 2\nnew\n"
