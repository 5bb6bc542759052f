"""Files of claims: right ones, and the one clear error that others give; the committed one."""

import copy
from pathlib import Path

import pytest
import yaml

from dfml.cli.main import main
from dfml.config.load import load_config
from dfml.errors import ConfigError
from dfml.results import published
from dfml.results.claims.declared import Claims, load_claims
from dfml.results.claims.page import DECLARED, PAGE, claims_page
from support import lab
from support.repository import ROOT

RIGHT = {
    "experiments": {"one": {"cost": "a minute", "files": ["config/x.yaml"]}},
    "claims": [
        {
            "id": "better",
            "says": "It is better.",
            "source": "ours",
            "budget": "100 episodes",
            "compare": [
                {
                    "experiment": "one",
                    "of": "free",
                    "against": [{"method": "random"}],
                    "pool": "single",
                    "rule": "finetune",
                    "at_least": 9,
                    "seeds": 3,
                }
            ],
        }
    ],
}
CLAIM, TEST = ("claims", 0), ("claims", 0, "compare", 0)


def changed(*path_and_value) -> dict:
    """RIGHT with one value replaced."""
    *path, last, value = path_and_value
    values = copy.deepcopy(RIGHT)
    inside = values
    for part in path:
        inside = inside[part]
    inside[last] = value
    return values


@pytest.fixture
def load(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "x.yaml").touch()

    def load(values) -> Claims:
        path = tmp_path / "claims.yaml"
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
        return load_claims(path, root=tmp_path)

    return load


def test_a_right_file(load):
    (claim,) = load(RIGHT).claims
    assert claim.compare[0].sides == ((1.0, "free"), (-1.0, "random"))
    assert claim.experiments == ("one",)
    assert str(claim.compare[0]) == "at least 9"
    assert load(RIGHT).experiments["one"].command == "./run.sh snakemake --configfile config/x.yaml"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("", "the file is empty"),
        ("- a", "expected keys at the top level"),
        ("a: [", "not valid YAML"),
        ("claims: 1\nclaims: 2\nexperiments: {}", "`claims` is given twice"),
        ("claims: &a [*a]\nexperiments: {}", "claims"),
        (changed("claims", []), "claims: tuple should have at least 1 item"),
        (changed("claims", "x"), "claims: input should be a valid tuple"),
        (changed("claim", []), "claim: unknown key; did you mean `claims`?"),
        (changed(*CLAIM, "budge", "x"), "claims.0.budge: unknown key; did you mean `budget`?"),
        (changed(*CLAIM, "id", "Not a name"), "claims.0.id: string should match pattern"),
        (changed(*CLAIM, "says", "a\x1b[2Jb"), "claims.0.says: "),
        (changed(*CLAIM, "says", "x" * 10**5), "claims.0.says: string should have at most"),
        (changed(*CLAIM, "compare", []), "claims.0.compare: nothing tests the claim"),
        (changed("claims", [*RIGHT["claims"]] * 2), "claims.1.id: `better` is the id of another claim"),
        (changed(*TEST, "of", "fre"), "claims.0.compare.0.of: there is no method `fre`; did you mean `free`?"),
        (changed(*TEST, "rule", "cosine"), "claims.0.compare.0.rule: input should be 'finetune'"),
        (changed(*TEST, "more_than", 0), "claims.0.compare.0.at_least: give either `at_least` or `more_than`"),
        (changed(*TEST, "at_least", None), "claims.0.compare.0.at_least: give either `at_least` or `more_than`"),
        (changed(*TEST, "at_least", float("nan")), "claims.0.compare.0.at_least: "),
        (changed(*TEST, "at_least", "9"), "claims.0.compare.0.at_least: input should be a valid number"),
        (changed(*TEST, "seeds", 0), "claims.0.compare.0.seeds: input should be greater than or equal to 1"),
        (changed(*TEST, "experiment", "../one"), "claims.0.compare.0.experiment: string should match pattern"),
        (changed(*TEST, "experiment", "on"), "claims.0: names the experiment `on`; did you mean `one`?"),
        (changed("experiments", "one", "files", ["y.yaml"]), "experiments.one.files: there is no y.yaml"),
        (changed("experiments", "one", {}), "experiments.one.cost: field required"),
    ],
)
def test_a_wrong_file_gives_one_error_with_file_and_key(load, values, message):
    with pytest.raises(ConfigError) as error:
        load(values)
    assert "claims.yaml" in str(error.value)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


class TestCommitted:
    claims = load_claims(ROOT / DECLARED, root=ROOT)

    def test_the_page_is_up_to_date(self):
        assert (ROOT / PAGE).read_text(encoding="utf-8") == claims_page(ROOT), "run `dfml claims`"

    def test_every_experiment_is_needed(self):
        assert {name for claim in self.claims.claims for name in claim.experiments} == set(self.claims.experiments)

    @pytest.mark.parametrize("name", claims.experiments)
    def test_an_experiment_runs_what_claims_want_of_it(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # where the card of a lab is, which examples/your_zoo/make_lab.py would train
        folder = tmp_path / "data" / "lab"
        lab.write_networks(folder)
        facts = {"options": {"outputs": 5}, "classes": lab.classes(5)}
        built = lab.module("own", 5)
        lab.write_card(folder, [lab.model(folder, f"own{i}", built, "nets.py:own", **facts) for i in range(6)])
        experiment = self.claims.experiments[name]
        config = load_config([ROOT / "config" / "config.yaml", *(ROOT / file for file in experiment.files)])
        assert (config.experiment, config.evaluation.split) == (name, "meta_test")
        cells = {(cell.pool, cell.method, cell.shots) for cell in config.cells()}
        for claim in self.claims.claims:
            for timing in claim.speed:
                assert timing.experiment != name or config.inversion.speed.models >= timing.tasks
            for test in claim.compare:
                if test.experiment != name:
                    continue
                assert {(test.pool, method, test.shots) for _, method in test.sides} <= cells
                assert len(config.seeds) >= test.seeds
                assert test.dataset is None or test.dataset in config.pools[test.pool].datasets

    @pytest.mark.parametrize(("name", "episodes"), [("previous_best", 4000), ("bell", 4000), ("pools", 9600)])
    def test_budgets_are_those_that_claims_say(self, name, episodes):
        files = self.claims.experiments[name].files
        config = load_config([ROOT / "config" / "config.yaml", *(ROOT / file for file in files)])
        (pool, *_) = (pool for pool in config.pools if config.selected(pool))
        replaying = [getattr(config, method) for method in config.selected(pool) if method in ("free", "tgr")]
        counts = [one.iterations * one.replay.max_outer * one.replay.episodes for one in replaying]
        assert {one.replay.mode for one in replaying} == {"fixed"}
        if name == "previous_best":
            counts.append(config.purer.iterations * config.purer.episodes)
            counts.append(config.bidf_mkd.iterations * config.bidf_mkd.tasks_per_step)
        assert set(counts) == {episodes}
        of_free = [claim for claim in self.claims.claims if {test.of for test in claim.compare} == {"free"}]
        said = {claim.budget.split(" ")[0] for claim in of_free if name in claim.experiments}
        assert said == {f"{episodes:,}"}


def test_the_command_writes_the_page_and_checks_it(tmp_path, monkeypatch, capsys):
    for name in ("workflow/Snakefile", "dvc.yaml", "config/x.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "docs").mkdir()
    (tmp_path / DECLARED).write_text(yaml.safe_dump(RIGHT))
    (tmp_path / "resources").mkdir()
    for name in (published.DECLARED, published.PAGE):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["claims", "--check"]) == 1
    assert "run dfml claims" in capsys.readouterr().err
    assert not Path(PAGE).exists()
    assert main(["claims"]) == 0
    assert main(["claims", "--check"]) == 0
    for name in (PAGE, published.PAGE):
        text = (tmp_path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(" | ", " |  ", 1), encoding="utf-8")
        assert main(["claims", "--check"]) == 1
        assert f"{name} is not" in capsys.readouterr().err
        assert main(["claims"]) == 0
        assert (tmp_path / name).read_text(encoding="utf-8") == text
