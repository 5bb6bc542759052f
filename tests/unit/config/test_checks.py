"""Values that are right one by one but not together."""

from pathlib import Path

import numpy as np
import pytest

from dfml.config.checks import EMBEDDED
from dfml.config.load import validate_config
from dfml.config.root import Config
from dfml.jobs.wall import real_image_folders
from support.configuration import problems
from support.repository import ROOT


@pytest.mark.parametrize("name", EMBEDDED)
def test_sizes_of_embedded_data_are_true(name):
    source = "icons" if name == "icons_colour" else name
    with np.load(ROOT / "resources" / "embedded" / f"{source}.npz") as arrays:
        labels, splits = arrays["y"], arrays["split"]
    counts = np.bincount(labels, minlength=len(splits))
    for number, size in enumerate(EMBEDDED[name].values()):
        assert size == ((splits == number).sum(), counts[splits == number].min())
    assert list(EMBEDDED[name]) == ["meta_train", "meta_val", "meta_test"]


class TestSizes:
    def test_ways_are_bounded_by_the_smallest_split_in_use(self):
        assert problems({"ways": 17}) == ["ways: 17 ways, but `icons_colour` has 16 meta_val classes; use fewer"]
        assert len(problems({"ways": 21})) == 2

    @pytest.mark.parametrize(
        "evaluation", [{"validation_episodes": 0}, {"split": "meta_val"}, {"select": "last", "validation_episodes": 1}]
    )
    @pytest.mark.parametrize("ways", [17, 20])
    def test_a_split_that_cannot_be_prepared_is_refused_used_or_not(self, ways, evaluation):
        assert problems({"ways": ways, "evaluation": evaluation}) == [
            f"ways: {ways} ways, but `icons_colour` has 16 meta_val classes; use fewer"
        ]

    @pytest.mark.parametrize(
        ("dataset", "queries", "split"), [("icons_colour", 80, "meta_train"), ("emoji", 21, "meta_test")]
    )
    def test_so_are_queries(self, dataset, queries, split):
        given = {"datasets": {dataset: {}}, "pools": {"single": {"datasets": [dataset]}}, "methods": ["random"]}
        evaluation = {"split": "meta_val", "validation_episodes": 0, "queries": queries}
        lines = problems({**given, "evaluation": evaluation})
        assert any(f"smallest {split} class of `{dataset}`" in line for line in lines)

    def test_episodes_need_images(self):
        mapping = {
            "datasets": {"emoji": {}},
            "pools": {"single": {"datasets": ["emoji"]}},
            "methods": ["random"],
        }
        assert validate_config({**mapping, "shots": [6]})
        assert problems({**mapping, "shots": [1, 7]}) == [
            f"evaluation.queries: 7 shots and 15 queries need 22 images per class, but the smallest {split} "
            "class of `emoji` has 21; use fewer queries or shots"
            for split in ("meta_test", "meta_train")
        ]
        mapping["methods"] = ["supervised_maml"]
        (line,) = problems({**mapping, "supervised_maml": {"queries": 21}})
        assert line.startswith("supervised_maml.queries: 1 shots and 21 queries need 22 images per class")

    def test_folders_are_counted_when_they_are_read(self):
        folder = {"source": "folder", "path": "images"}
        assert validate_config({"datasets": {"mine": folder}, "pools": {"single": {"datasets": ["mine"]}}, "ways": 30})

    @pytest.mark.parametrize("method", ["free", "free_official", "free_heads", "cmi", "bidf_mkd"])
    def test_the_bank_must_give_shots_and_queries(self, method):
        small = {"inversion": {"images_per_class": 19}, "methods": [method]}
        assert validate_config({**small, "shots": [4]})
        (line,) = problems({**small, "shots": [5]})
        section = {"cmi": "inversion_then_meta"}.get(method, method)
        assert line == (
            "inversion.images_per_class: 19 recovered images per class cannot give an episode of 5 shots and "
            f"15 queries (`{section}.replay.queries`); use at least 20, or fewer queries"
        )

    def test_methods_that_are_not_run_ask_for_nothing(self):
        assert validate_config({"inversion": {"images_per_class": 1}, "methods": ["random"], "zoo": {"models": 1}})
        assert validate_config(
            {"inversion": {"images_per_class": 1}, "methods": ["free"], "free": {"replay": {"max_outer": 0}}}
        )

    def test_no_more_models_than_the_pool_has(self):
        every = ["free", "free_heads", "zoo_ensemble"]
        found = problems({"zoo": {"models": 2}, "methods": every, "inversion": {"per_model": {"models": 5}}})
        assert [line.split(":")[0] for line in found] == [
            "inversion.five.models_per_iteration",
            "inversion.speed.models",
            "zoo_ensemble.models",
        ]
        remedy = "use fewer, or raise `zoo.models`"
        assert found[-1] == f"zoo_ensemble.models: 10 different models, but pool `single` has 2; {remedy}"
        wide = {"datasets": ["icons", "glyphs"], "networks": ["conv4", "resnet"]}
        config = validate_config(
            {
                "zoo": {"models": 2},
                "datasets": {"icons": {}, "glyphs": {}},
                "networks": {"conv4": {}, "resnet": {"family": "resnet10", "models": 3}},
                "pools": {"single": wide},
                "methods": every,
            }
        )
        assert config.facts("single").models == 10

    def test_a_class_split_must_be_there(self, tmp_path):
        dataset = {"source": "folder", "path": str(tmp_path), "split": str(tmp_path / "mine.csv")}
        experiment = {"datasets": {"mine": dataset}, "pools": {"single": {"datasets": ["mine"]}}}
        (line,) = problems(experiment)
        assert line == f"datasets.mine.split: `{tmp_path}/mine.csv` is not a file (there is none); give its whole path"
        (tmp_path / "mine.csv").touch()
        assert validate_config(experiment)

    def test_sampling_with_replacement_asks_for_no_number_of_models(self):
        few = {"zoo": {"models": 3}, "methods": ["free"]}
        replace = {"sample": "with_replacement"}
        assert problems(few)[0].startswith("inversion.five.models_per_iteration: 4 different models")
        assert validate_config({**few, "inversion": {"five": replace}})
        (line,) = problems({**few, "inversion": {"five": replace}, "free": {"five": {}}})
        assert line.startswith("free.five.models_per_iteration: ")


class TestNames:
    @pytest.mark.parametrize(("method", "head"), [("best", "kept"), ("average", "averaged"), ("ota", "averaged")])
    def test_heads_of_several_sides_cannot_be_kept(self, method, head):
        folder = {"source": "folder", "path": "images", "side": 84}
        pools = {"single": {"datasets": ["icons", "mine"]}}
        mixed = {"datasets": {"icons": {}, "mine": folder}, "pools": pools, "methods": [method]}
        assert validate_config(mixed)
        assert problems({**mixed, method: {"head": head}}) == [
            f"{method}.head: pool `single` unites images of side 32 and 84: heads differ; use `zero` or `fresh`"
        ]

    @pytest.mark.parametrize(("method", "head"), [("best", "kept"), ("average", "averaged"), ("ota", "averaged")])
    def test_a_learner_of_another_side_cannot_keep_a_models_head(self, method, head):
        kept = {"methods": [method], method: {"head": head}}
        assert validate_config({**kept, "learner": {"side": 32}})
        assert problems({**kept, "learner": {"side": 64}}) == [
            f"{method}.head: pool `single` unites images of side 32, the learner is for 64 pixels: heads differ; "
            "use `zero` or `fresh`"
        ]
        assert validate_config({"methods": [method], "learner": {"side": 64}})

    def test_a_pool_runs_some_of_the_shots(self):
        pools = {"single": {"shots": [5]}, "other": {}, "none": {"shots": []}}
        cells = validate_config({"shots": [1, 5], "pools": pools, "methods": ["random"], "seeds": [0]}).cells()
        assert [(cell.pool, cell.shots) for cell in cells] == [("single", 5), ("other", 1), ("other", 5)]
        assert problems({"pools": {"single": {"shots": [5]}}}) == [
            "pools.single.shots: `5` is not in the top-level `shots`; add it there or remove it here"
        ]

    def test_a_method_runs_at_some_of_the_shots_of_its_pool(self):
        both = {"shots": [1, 5], "methods": ["random", "best"], "seeds": [0]}
        pools = {"single": {"shots_of": {"best": [5]}}, "few": {"shots": [1], "shots_of": {"best": [5], "random": [1]}}}
        cells = validate_config({**both, "pools": pools}).cells()
        assert [(cell.pool, cell.method, cell.shots) for cell in cells] == [
            ("single", "random", 1),
            ("single", "random", 5),
            ("single", "best", 5),
            ("few", "random", 1),
        ]
        wrong = {"bets": [5], "best": [2], "free": [1]}
        unlisted, misspelt = problems({**both, "pools": {"single": {"shots_of": wrong}}})
        assert unlisted == (
            "pools.single.shots_of.best: `2` is not in the top-level `shots`; add it there or remove it here"
        )
        assert misspelt.startswith("pools.single.shots_of: unknown method `bets`; did you mean `best`?")

    def test_unlabelled_images_are_not_the_pools_own_by_another_name(self):
        places = {"mine": "pictures/mine", "same": "pictures/../pictures/mine", "other": "pictures/other"}
        datasets = {name: {"source": "folder", "path": path} for name, path in places.items()}
        pools = {"single": {"datasets": ["mine"]}}
        wanted = {"methods": ["unlabelled_heads"], "datasets": datasets, "pools": pools}
        assert problems({**wanted, "unlabelled_heads": {"dataset": "same"}}) == [
            "unlabelled_heads.dataset: `same` is made of the images of `mine` in pool `single`; name another data set"
        ]
        assert validate_config({**wanted, "unlabelled_heads": {"dataset": "other"}})
        embedded = {"datasets": {"icons": {}, "icons_colour": {}}, "pools": {"single": {"datasets": ["icons_colour"]}}}
        (line,) = problems({**wanted, **embedded, "unlabelled_heads": {"dataset": "icons"}})
        assert "`icons` is made of the images of `icons_colour`" in line

    def test_what_nobody_runs_at_many_shots_need_not_give_them(self):
        few = {"inversion": {"images_per_class": 20}, "shots": [1, 10], "methods": ["random", "free"]}
        (line,) = problems(few)
        assert "20 recovered images per class cannot give an episode of 10 shots" in line
        for limited in ({"shots_of": {"free": [1]}}, {"shots": [1]}):
            assert validate_config({**few, "pools": {"single": limited}})

    def test_unlabelled_images_are_of_another_domain(self):
        wanted = {"methods": ["random", "unlabelled_heads"], "unlabelled_heads": {"dataset": "emoji"}}
        assert problems(wanted) == ["unlabelled_heads.dataset: `emoji` is not under `datasets`; add `emoji: {}` there"]
        both = {"icons_colour": {}, "emoji": {}}
        config = validate_config({**wanted, "datasets": both, "pools": {"single": {}, "two": {"datasets": list(both)}}})
        run = [(cell.pool, cell.method) for cell in config.cells() if cell.seed == 0]
        assert ("single", "unlabelled_heads") in run and ("two", "unlabelled_heads") not in run
        assert config.inapplicable("two", "unlabelled_heads") == (
            "the unlabelled images would be of the pool's own domains"
        )

    @pytest.mark.parametrize("key", ["datasets", "networks", "methods"])
    def test_nothing_is_named_twice_in_a_pool(self, key):
        name = {"datasets": "icons_colour", "networks": "conv4", "methods": "free"}[key]
        (line,) = problems({"pools": {"single": {key: [name, name]}}})
        assert line == f"pools.single.{key}: lists {name} more than once; remove the repetition"

    def test_what_a_data_set_takes_depends_on_its_source(self):
        remedy = "embedded data sets have their own; remove this key, or set `source: folder`"
        assert problems({"datasets": {"icons_colour": {"path": "x", "split": "y", "side": 64}}}) == [
            f"datasets.icons_colour.path: {remedy}",
            "datasets.icons_colour.side: embedded data sets have side 32; remove this key",
            f"datasets.icons_colour.split: {remedy}",
        ]  # fmt: skip
        (line,) = problems({"datasets": {"icons_colour": {"fractions": [0.5, 0.5, 0.5]}}})
        assert line.endswith("must be three numbers that sum to 1, none below 0 and the last above, got 0.5, 0.5, 0.5")
        for wrong in ([0.5, 0.5, 0], [-0.5, 0.5, 1]):
            (line,) = problems({"datasets": {"icons_colour": {"fractions": wrong}}})
            assert "must be three numbers" in line

    @pytest.mark.parametrize(
        ("pool", "more", "splits"),
        [
            ({"datasets": ["mine"]}, {}, ["meta_train", "meta_val"]),
            ({"evaluate": ["mine"]}, {"methods": ["supervised_maml"]}, ["meta_train"]),
            ({}, {"methods": ["unlabelled_heads"], "unlabelled_heads": {"dataset": "mine"}}, ["meta_train"]),
            ({"evaluate": ["mine"]}, {"evaluation": {"select": "val_best"}}, ["meta_val"]),
            ({"evaluate": ["mine"]}, {"evaluation": {"split": "meta_val"}}, ["meta_val"]),
        ],
    )
    def test_a_split_that_is_read_has_a_share_of_the_classes(self, pool, more, splits):
        mine = {"source": "folder", "path": "x", "fractions": [0, 0, 1]}
        wanted = {"datasets": {"icons_colour": {}, "mine": mine}, "pools": {"single": pool}, **more}
        said = "gives no class to {}, which a zoo, a method or `evaluation` needs; give it a share"
        assert problems(wanted) == [f"datasets.mine.fractions: {said.format(split)}" for split in splits]
        only_evaluated = {"pools": {"single": {"evaluate": ["mine"]}}, "methods": ["random"]}
        assert validate_config({**wanted, "evaluation": {}, **only_evaluated}).datasets["mine"].fractions == (0, 0, 1)

    def test_of_a_data_set_that_is_only_evaluated_meta_test_has_to_be_enough(self):
        eurosat = {"source": "eurosat", "path": "x"}  # of three, two and five classes
        wanted = {"datasets": {"icons_colour": {}, "eurosat": eurosat}, "methods": ["random"]}
        assert validate_config({**wanted, "pools": {"single": {"evaluate": ["eurosat"]}}})
        lines = problems({**wanted, "pools": {"single": {"datasets": ["eurosat"]}}})
        assert [line.partition(";")[0] for line in lines] == [
            f"ways: 5 ways, but `eurosat` has {classes} {split} classes"
            for split, classes in (("meta_val", 2), ("meta_train", 3))
        ]

    def test_every_network_is_of_a_known_family(self):
        wrong = {"family": "resnet180"}
        variants = {"free-deep": {"learner": wrong}}
        lines = problems({"networks": {"conv4": wrong}, "learner": wrong, "variants": variants})
        known = "known: `conv4`, `resnet10`, `resnet18`"
        assert lines == [
            f"{key}.family: `resnet180` is no network family; did you mean `resnet18`? {known}"
            for key in ("learner", "networks.conv4", "variants.free-deep.learner")
        ]

    def test_networks_of_the_package_have_no_options(self):
        (line,) = problems({"learner": {"options": {"blocks": 2}}})
        assert line == "learner.options: `conv4` has no options; they are of networks of your own"


NOWHERE = ["~nobody_of_that_name/images", "~nobody_of_that_name", "a" * 5000, "~/" + "b" * 300]


@pytest.mark.parametrize("path", NOWHERE)
@pytest.mark.parametrize("key", ["path", "split"])
def test_a_path_that_leads_nowhere_on_any_machine_is_named(tmp_path, key, path):
    dataset = {"source": "folder", "path": str(tmp_path), key: path}
    (line,) = problems({"datasets": {"mine": dataset}, "pools": {"single": {"datasets": ["mine"]}}})
    assert line.startswith(f"datasets.mine.{key}: `{path}` is not a {'directory' if key == 'path' else 'file'} (")


def test_such_a_path_of_a_data_set_that_no_pool_names_costs_nothing(tmp_path):
    datasets = {"mine": {"source": "folder", "path": NOWHERE[0]}, "icons_colour": {}}
    assert validate_config({"datasets": datasets})
    assert real_image_folders("demo", {"mine": NOWHERE[0], "icons_colour": None})[-1] == Path(NOWHERE[0])


def test_the_model_itself_says_what_disagrees():
    """Whoever builds a Config without the loader gets the same words."""
    with pytest.raises(ValueError, match="ways: 17 ways, but `icons_colour` has 16 meta_val classes"):
        Config(ways=17)
