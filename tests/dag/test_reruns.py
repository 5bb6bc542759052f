"""What runs again after a change: what depends on it, and nothing else."""

import os
import random

import pytest

from support.own_network import EXAMPLE

RESULTS = {"make_results", "build_report", "all"}
SEEDS = 2


def test_nothing_is_to_be_done_twice(done):
    # Neither after remarks in the package, nor after a checkout that writes every script anew, nor with
    # results that were restored in any order.
    done.append("src/dfml/zoo/training.py", "# a remark")
    done.append("src/dfml/metalearning/inner_loop.py", '"""A remark."""')
    for script in (done.folder / "workflow" / "scripts").glob("*.py"):
        script.touch()
    rng = random.Random(0)
    for path in (done.folder / "results").rglob("*.*"):
        moment = path.stat().st_mtime + rng.uniform(-1000, 0)
        os.utime(path, (moment, moment))
    assert done.dry_run().nothing_to_do


def test_settings_that_change_no_result_concern_the_report_alone(done):
    # The report shows the configuration.
    done.configure(runtime={"checkpoint_every": 3}, datasets={"glyphs": {"source": "embedded"}})
    assert set(done.dry_run().jobs) == {"build_report", "all"}


def test_an_evaluation_setting_concerns_evaluation_onwards(done):
    every = done.dry_run("--config", "evaluation={queries: 10}").jobs
    assert set(every) == {"evaluate", *RESULTS}
    assert every["evaluate"] == sum("record.json" in path.name for path in done.folder.rglob("record.json"))


def test_a_setting_of_a_method_concerns_its_cells(done):
    jobs = done.dry_run("--config", "free={iterations: 7}").jobs
    assert set(jobs) == {"meta_learn", "evaluate", *RESULTS}
    # `free` runs on one pool; the other forms of FREE have sections of their own.
    assert jobs["meta_learn"] == jobs["evaluate"] == SEEDS


def test_a_setting_of_a_learner_concerns_those_that_begin_with_it(done):
    jobs = done.dry_run("--config", "mixed_heads={steps: 7}").jobs
    assert set(jobs) == {"meta_learn", "evaluate", *RESULTS}
    # `free_heads` runs on two pools and begins with `mixed_heads`, which has a row on one of them.
    assert (jobs["meta_learn"], jobs["evaluate"]) == (4 * SEEDS, 3 * SEEDS)


def test_a_variant_is_made_beside_the_others(done):
    done.configure(
        variants={
            "free-off": {"bell": {"mode": "off"}},
            "free-slow": {"inversion": {"five": {"steps": 20}}},
            "mixed_heads-slow": {"inversion": {"five": {"steps": 20}}},
            "mixed_heads-wide": {"learner": {"width": 32}},
        }
    )
    jobs = done.dry_run().jobs
    assert set(jobs) == {"invert", "meta_learn", "evaluate", *RESULTS}
    # All on one pool, two of them with the bank that is called `slow`.
    assert (jobs["invert"], jobs["meta_learn"], jobs["evaluate"]) == (SEEDS, 4 * SEEDS, 4 * SEEDS)


def test_a_zoo_recipe_concerns_its_family_of_networks(done):
    jobs = done.dry_run("--config", "zoo={resnet: {learning_rate: 0.01}}").jobs
    assert jobs["train_zoo"] == 2 * SEEDS
    assert jobs["invert"] == SEEDS
    assert "prepare_images" not in jobs
    assert "time_inversion" not in jobs  # of the pool of Conv4 alone
    # `mixed_heads` has no row on that pool, but `free_heads` begins with it.
    assert (jobs["meta_learn"], jobs["evaluate"]) == (4 * SEEDS, 3 * SEEDS)


def test_steps_that_only_the_speed_table_times_concern_no_learner(done):
    jobs = done.dry_run("--config", "inversion={speed: {steps: [10]}}").jobs
    assert set(jobs) == {"time_inversion", *RESULTS}


def test_an_inverter_that_nothing_uses_concerns_nothing(done):
    jobs = done.dry_run("--config", "inversion={per_model: {steps: 7}, cmi: {steps: 7}}").jobs
    assert set(jobs) == {"time_inversion", *RESULTS}  # whose second arm inverts each model by itself


@pytest.mark.parametrize("key", ["epochs: 7", "recolour: false"])
def test_some_keys_of_a_data_set_concern_its_zoos_but_not_its_images(done, key):
    jobs = done.dry_run("--config", f"datasets={{icons_colour: {{{key}}}}}").jobs
    assert jobs["train_zoo"] > 0
    assert "prepare_images" not in jobs


def test_a_further_seed_leaves_the_others_alone(done):
    jobs = done.dry_run("--config", "seeds=[0,1,2]").jobs
    assert jobs["train_zoo"] == 3
    assert jobs["invert"] == 2
    assert "time_inversion" not in jobs
    of_a_seed = {name: len(list(done.folder.rglob(name))) // SEEDS for name in ("learner.json", "record.json")}
    assert (jobs["meta_learn"], jobs["evaluate"]) == (of_a_seed["learner.json"], of_a_seed["record.json"])


@pytest.mark.parametrize(
    ("module", "spared", "reached"),
    [
        ("data/packing.py", set(), {"prepare_images"}),
        ("zoo/training.py", {"prepare_images"}, {"train_zoo"}),
        (
            "metalearning/inner_loop.py",
            {"prepare_images", "train_zoo", "invert", "time_inversion"},
            {"meta_learn"},
        ),
        ("inversion/quality.py", {"prepare_images", "train_zoo"}, {"invert"}),
        (
            "evaluation/stage.py",
            {"prepare_images", "train_zoo", "invert", "time_inversion", "meta_learn"},
            {"evaluate"},
        ),
    ],
)
def test_changed_code_concerns_what_imports_it(done, module, spared, reached):
    done.append(f"src/dfml/{module}", "CHANGED = 1")
    jobs = done.dry_run("--quiet", "rules").jobs
    assert jobs.keys() >= reached
    assert not jobs.keys() & spared


def test_changed_code_of_a_method_concerns_its_cells(done):
    done.append("src/dfml/methods/fusion/average.py", "CHANGED = 1")  # which the default experiment does not run
    done.append("src/dfml/methods/supervised/loop.py", "CHANGED = 1")
    jobs = done.dry_run("--quiet", "rules").jobs
    assert set(jobs) == {"meta_learn", "evaluate", *RESULTS}
    assert jobs["meta_learn"] == SEEDS


def test_a_changed_script_or_caption_is_noticed(done):
    done.append("workflow/scripts/make_results.py", "CHANGED = 1")
    done.append("workflow/report/tables/main.rst", "One sentence more.")
    assert set(done.dry_run().jobs) == RESULTS


def test_a_network_of_ones_own_concerns_what_uses_it(done):
    (done.folder / "wide.py").write_text(EXAMPLE, encoding="utf-8")
    done.configure(custom_networks={"wide": "wide.py"}, networks={"own": {"family": "wide"}})
    # It is in the report, which shows the configuration.
    assert set(done.dry_run().jobs) <= {"build_report", "all"}
    done.configure(pools={"own": {"networks": ["own"], "methods": ["best", "zoo_features"]}})
    jobs = done.dry_run().jobs
    # The best model would have to be like the learner.
    assert (jobs["train_zoo"], jobs["meta_learn"]) == (SEEDS, SEEDS) and "invert" not in jobs
    done.configure(variants={"free-wide": {"learner": {"family": "wide"}}})
    jobs = done.dry_run().jobs
    assert set(jobs) == {"train_zoo", "meta_learn", "evaluate", *RESULTS} and jobs["meta_learn"] == 2 * SEEDS
