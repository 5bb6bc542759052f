"""What is made from the models says what the models say."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

from dfml.config.reference import REFERENCE, SCHEMA, generated, main, reference, stale
from dfml.config.root import Config
from dfml.config.tree import keys, section_of, tree
from support.repository import ROOT


def test_schema_and_reference_are_up_to_date():
    assert stale(ROOT) == [], "run `python -m dfml.config.reference`"


def test_check_tells_what_is_stale_and_writing_mends_it(tmp_path, capsys):
    command = ["--root", str(tmp_path)]
    assert main([*command, "--check"]) == 1
    assert str(SCHEMA) in capsys.readouterr().err
    assert main(command) == 0
    assert main([*command, "--check"]) == 0
    (tmp_path / REFERENCE).write_text("# By hand\n", encoding="utf-8")
    assert main([*command, "--check"]) == 1
    assert str(REFERENCE) in capsys.readouterr().err
    assert main(command) == 0
    assert (tmp_path / REFERENCE).read_text(encoding="utf-8") == generated(ROOT)[REFERENCE]


class TestSchema:
    validator = Draft202012Validator(json.loads(generated(ROOT)[SCHEMA]))

    def test_is_a_schema(self):
        Draft202012Validator.check_schema(self.validator.schema)

    def test_accepts_the_default(self):
        assert self.validator.is_valid(Config().model_dump(mode="json"))

    def test_is_closed_everywhere(self):
        sections = [section_of(key.node) for key in keys() if section_of(key.node) and key.dotted != "variants.<name>"]
        assert all(section["additionalProperties"] is False for section in [tree(), *sections])

    @pytest.mark.parametrize(
        "wrong",
        [{"zooo": 1}, {"zoo": {"models": 0}}, {"pools": {"My": {}}}, {"free": {"bell": {"order": "random"}}}],
    )
    def test_refuses(self, wrong):
        assert not self.validator.is_valid(wrong)

    def test_knows_the_defaults_that_hold_in_each_place(self):
        defaults = {key.dotted: key.node.get("default") for key in keys()}
        assert (defaults["zoo.conv4.optimiser"], defaults["zoo.resnet.optimiser"]) == ("adam", "sgd")
        assert (defaults["free.bell.kd_loss"], defaults["free_official.bell.kd_loss"]) == (
            "kl",
            "linear_prob",
        )
        assert defaults["free_official.five.keep"] == "pre_last"
        assert (defaults["free.start"], defaults["free_heads.start"]) == ("random", "mixed_heads")


class TestReference:
    text = reference()

    @pytest.mark.parametrize("key", list(keys()), ids=lambda key: key.dotted)
    def test_has_a_line_for_every_key(self, key):
        (line,) = {line for line in self.text.splitlines() if line.startswith(f"| `{key.dotted}` |")}
        name, takes, _, about = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        assert name == f"`{key.dotted}`"
        assert takes
        assert about.endswith(".")

    def test_lists_its_sections_and_says_where_overlays_are_explained(self):
        headings = re.findall(r"^## `(\w+)`$", self.text, re.MULTILINE)
        assert re.findall(r"\]\(#(\w+)\)", self.text) == headings
        order = ["datasets", "networks", "pools", "zoo", "inversion", "evaluation", "runtime", "free"]
        assert [name for name in headings if name in order] == order
        by_hand = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
        assert "](../config/README.md)" in self.text
        assert "](../docs/configuration.md)" in by_hand
        assert "--configfile config/smoke.yaml" in by_hand
        assert "--config 'seeds=[0]'" in by_hand
