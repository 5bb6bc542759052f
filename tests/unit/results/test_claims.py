"""Claims from files: what is read of committed results, and the page that is made of it."""

import shutil

import pytest
import yaml

from dfml.errors import DfmlError
from dfml.files.yaml_files import read_yaml
from dfml.results.claims.declared import SpeedTest
from dfml.results.claims.evidence import CHOICES, COLUMNS, EPISODES, NotMeasuredError, Shelf
from dfml.results.claims.page import claims_page
from support.claims import TEST, comparison

SPEED = """pool,arm,steps,tasks,seconds_median,times_first,teacher_ce,teacher_accuracy
single,five,5,2,0.4,1.0,0.37,90.5
single,per_model,50,2,3.94,9.84,0.05,100.0
"""
DECLARED = {
    "experiments": {"one": {"cost": "a minute"}, "two": {"cost": "an hour"}},
    "claims": [
        {
            "id": "better",
            "says": "It is better.",
            "source": "ours",
            "budget": "100 episodes",
            "compare": [TEST | {"against": [{"method": "random"}], "at_least": 9}],
        }
    ],
}


def write_results(
    folder, experiment, accuracies, *, digest="e", dataset="icons_colour", episodes=None, choices=("meta_test", "last")
):
    """A results.csv with the columns that are read: `accuracies` by (method, seed), `episodes` by method."""
    path = folder / "docs" / "results" / experiment / "results.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = (*COLUMNS, *CHOICES)
    rows = [",".join(columns if episodes is None else (*columns, EPISODES))]
    for (method, seed), accuracy in accuracies.items():
        place = f"{experiment},single,{method},5,1,{seed},{dataset},finetune,transductive"
        told = "" if episodes is None else f",{episodes[method]}"
        rows.append(f"{place},{accuracy},1.0,cpu,c0ffee,{digest},{','.join(choices)}{told}")
    path.write_text("\n".join(rows) + "\n")
    return path


def two(free=(40.0, 41.0, 42.0), random=(20.0, 20.0, 20.0)) -> dict:
    own = {("free", seed): value for seed, value in enumerate(free)}
    return own | {("random", seed): value for seed, value in enumerate(random)}


@pytest.fixture
def house(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "claims.yaml").write_text(yaml.safe_dump(DECLARED))
    write_results(tmp_path, "one", two())
    return tmp_path


def shelf(house) -> Shelf:
    return Shelf(house / "docs" / "results")


class TestEvidence:
    def test_seeds_are_paired(self, house):
        assert shelf(house).differences(comparison()) == {0: 20.0, 1: 21.0, 2: 22.0}
        assert shelf(house).differences(comparison(against=())) == {0: 40.0, 1: 41.0, 2: 42.0}

    def test_sides_may_be_weighted_and_variants(self, house):
        write_results(house, "one", two() | {("free-off", 1): 31.0, ("free-off", 7): 1.0})
        sides = ({"method": "random", "weight": 0.25}, {"method": "free-off", "weight": 0.75})
        assert shelf(house).differences(comparison(against=sides)) == {1: 41.0 - 5.0 - 23.25}

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"of": "tgr"}, "no results of tgr"),
            ({"pool": "other"}, "no 1-shot results of the pool other"),
            ({"shots": 5}, "no 5-shot results"),
            ({"batch_norm": "support"}, "no results of free"),
            ({"dataset": "emoji"}, "no results of free"),
            ({"experiment": "two"}, "two has no committed results"),
        ],
    )
    def test_what_is_missing_is_named(self, house, changes, reason):
        with pytest.raises(NotMeasuredError, match=reason):
            shelf(house).differences(comparison(**changes))

    def test_no_seed_in_common(self, house):
        write_results(house, "one", {("free", 1): 40.0, ("random", 9): 20.0})
        with pytest.raises(NotMeasuredError, match="no seed has results of all"):
            shelf(house).differences(comparison())

    @pytest.mark.parametrize(
        ("choices", "named"),
        [(("meta_val", "last"), "`split` is meta_val"), (("meta_test", "val_best"), "`selection` is val_best")],
    )
    def test_verdicts_are_about_meta_test_and_the_last_iterate(self, house, choices, named):
        write_results(house, "one", two(), choices=choices)
        with pytest.raises(DfmlError, match=named):
            shelf(house).differences(comparison())

    def test_other_episodes_are_not_compared(self, house):
        path = write_results(house, "one", two())
        rows = path.read_text().splitlines()
        path.write_text("\n".join(row.replace(",e,", ",f,") if ",random," in row else row for row in rows) + "\n")
        with pytest.raises(DfmlError, match="one: free and random were evaluated on different episodes"):
            shelf(house).differences(comparison())

    def test_the_mean_over_data_sets_wants_all_of_them(self, house):
        path = write_results(house, "one", two(free=(40.0, 41.0)))
        rows = [line.replace("icons_colour", "emoji") for line in path.read_text().splitlines() if ",free," in line]
        more = [row.replace(",40.0,", ",50.0,") for row in rows if ",0,emoji," in row]
        more += [row.replace("free", "random") for row in more]
        path.write_text(path.read_text() + "\n".join(more) + "\n")
        assert shelf(house).differences(comparison(against=())) == {0: 45.0}
        assert shelf(house).differences(comparison(against=(), dataset="icons_colour")) == {0: 40.0, 1: 41.0}

    def test_results_of_another_experiment_are_refused(self, house):
        shutil.copytree(house / "docs/results/one", house / "docs/results/two")
        with pytest.raises(DfmlError, match="holds results of one"):
            shelf(house).differences(comparison(experiment="two"))

    def test_speed(self, house):
        (house / "docs/results/one/speed.csv").write_text(SPEED)
        test = SpeedTest(experiment="one", pool="single", at_least=20.0, tasks=2)
        assert [arm.times for arm in shelf(house).arms(test)] == [1.0, 9.84]
        with pytest.raises(NotMeasuredError, match="compares nothing in the pool other"):
            shelf(house).arms(test.model_copy(update={"pool": "other"}))
        with pytest.raises(NotMeasuredError, match="two has no committed speed table"):
            shelf(house).arms(test.model_copy(update={"experiment": "two"}))

    @pytest.mark.parametrize(("old", "new"), [("times_first", "x"), ("9.84", "nan"), (",5,", ","), ("50", "y")])
    def test_a_damaged_speed_table_is_refused(self, house, old, new):
        (house / "docs/results/one/speed.csv").write_text(SPEED.replace(old, new, 1))
        with pytest.raises(DfmlError, match=r"speed\.csv: cannot be read as a speed table .* run dfml publish"):
            shelf(house).arms(SpeedTest(experiment="one", pool="single", at_least=20.0, tasks=2))

    @pytest.mark.parametrize(
        ("episodes", "problem"),
        [
            ({"free": 4000, "random": 4000}, ""),
            ({"free": 4200, "random": 4000}, ""),
            ({"free": 4000, "random": 4201}, "equally many episodes: free 4,000 to 4,000, random 4,201 to"),
            ({"free": 4000, "random": ""}, "equally many episodes"),
            (None, "results of one do not say from how many episodes"),
        ],
    )
    def test_equal_episodes(self, house, episodes, problem):
        write_results(house, "one", two(), episodes=episodes)
        found = shelf(house).unequal_episodes(comparison())
        assert problem in found
        assert bool(problem) == bool(found)


class TestPage:
    def test_unequal_episodes_leave_a_test_undecided(self, house):
        declared = read_yaml(house / "docs/claims.yaml")
        declared["claims"][0]["compare"][0]["equal_episodes"] = True
        (house / "docs/claims.yaml").write_text(yaml.safe_dump(declared))
        assert "| **undecided** | results of one do not say" in claims_page(house)
        write_results(house, "one", two(), episodes={"free": 4000, "random": 3990})
        page = claims_page(house)
        assert "| at least 9 points, 3 seeds, equal episodes | 21.00" in page
        assert "It is better. **Confirmed.**" in page

    def test_says_verdict_numbers_and_origin(self, house):
        page = claims_page(house)
        assert "| [1. better](#1-better) | It is better. | **confirmed** |" in page
        assert "| 21.00 ± 2.48 (3 seeds) | 0: 20.00, 1: 21.00, 2: 22.00 | **confirmed** |" in page
        assert "- one: [results.csv](results/one/results.csv), commit c0ffee on cpu." in page
        assert claims_page(house) == page

    def test_says_of_which_results_it_was_known_what_they_are(self, house):
        assert "were known" not in claims_page(house)
        declared = read_yaml(house / "docs/claims.yaml")
        declared["experiments"]["one"]["known"] = True
        (house / "docs/claims.yaml").write_text(yaml.safe_dump(declared))
        assert "on cpu. Its results were known when" in claims_page(house)

    def test_says_what_would_run_it(self, house):
        shutil.rmtree(house / "docs/results")
        page = claims_page(house)
        assert "It is better. **Not run.**" in page
        assert "- one: not committed. `./run.sh snakemake`, then `./run.sh dfml publish one`; a minute." in page
