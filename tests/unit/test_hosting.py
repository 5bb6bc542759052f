"""What a hosting site reads: continuous integration, forms for issues, the catalogue of workflows."""

import re

import pytest
import yaml

from support.repository import ROOT

FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def test_hosted_ci_fetches_the_repository_and_calls_what_must_hold():
    content = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert set(content[True]) == {"push", "pull_request"}  # YAML 1.1 reads the key `on` so
    (job,) = content["jobs"].values()
    fetched, called = job["steps"]
    assert fetched["uses"].startswith("actions/checkout@")
    assert called == {"run": "sudo .ci/run"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_has_a_name_and_asks_distinct_questions(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"] and form["description"]
    names = [field["id"] for field in form["body"]]
    assert len(names) == len(set(names)) > 0
    assert all(field["attributes"]["label"] for field in form["body"])
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_the_catalogue_finds_what_it_shows():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert (ROOT / "workflow/Snakefile").is_file() and (ROOT / "config/README.md").is_file()
    # Nothing but run.sh was tried; a report is promised, so some output has to be marked for it.
    assert not any(usage["software-stack-deployment"].values())
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    assert usage["report"] is True and "report(" in rules


def test_the_changelog_begins_with_what_is_not_released_and_knows_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *released = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert first == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", one) for one in released)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert released[0].split(" ")[0] == re.search(r'^version = "(.+)"$', project, re.MULTILINE).group(1)
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_no_badge_promises_what_nothing_backs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"!\[[^\]]*\]\((?:https?:)?//", readme) == []
