"""What methods want of their surroundings, before anything runs."""

import pytest

from dfml.config.load import validate_config
from support.configuration import problems


@pytest.mark.parametrize("method", ["bidf_mkd", "bidf_mkd_black_box"])
def test_an_adversary_that_the_run_ends_before_is_told(method):
    short = {"methods": [method], method: {"iterations": 50, "adversary": {"after": 50}}}
    [line] = problems(short)
    assert line.startswith(
        f"{method}.adversary.after: the run ends after 50 outer steps (`{method}.iterations`), before"
    )
    assert validate_config({**short, method: {"iterations": 50, "adversary": {"after": 50, "weight": 0.0}}})


def test_a_curriculum_that_the_run_ends_before_is_told():
    short = {"methods": ["purer_maml"], "purer": {"iterations": 200, "curriculum_after": 200}}
    [line] = problems(short)
    assert line.startswith("purer.curriculum_after: the run ends after 200 meta-iterations")
    for change in ({"adversarial_weight": 0.0}, {"curriculum_after": None}, {"curriculum_after": 199}):
        assert validate_config({**short, "purer": {**short["purer"], **change}})


def test_an_adversary_without_recovery_is_told():
    [line] = problems({"methods": ["free"], "free": {"online": False, "adversary": {"weight": 1.0}}})
    assert line.startswith("free.adversary.weight: nothing is recovered with `online: false`")


@pytest.mark.parametrize(
    ("method", "inverter", "key"),
    [
        ("gen_bn", "five", "per_model.models"),
        ("cmi", "five", "cmi.models"),
        ("deep_inversion", "five", "deep_inversion.models"),
        ("bank_heads", "gen_ce", "per_model.models"),
    ],
)
def test_a_bank_wants_no_more_models_than_the_pool_has(method, inverter, key):
    section, name = key.split(".")
    many = {"methods": [method], "inversion": {"inverter": inverter, section: {name: 25}}}
    assert validate_config({**many, "zoo": {"models": 25}})
    (line,) = problems({**many, "zoo": {"models": 24}})
    assert line.startswith(f"inversion.{key}: 25 different models, but pool `single` has 24; use fewer")
    variant = {f"{method}-more": {"inversion": many["inversion"]}}
    (line,) = problems({"methods": [method], "variants": variant, "zoo": {"models": 24}})
    assert line.startswith(f"variants.{method}-more.inversion.{key}: 25 different models")


def test_a_restart_after_the_end_is_told():
    late = {"methods": ["fast"], "inversion": {"fast": {"iterations": 50, "restart_at": 50}}}
    (line,) = problems(late)
    assert line.startswith("inversion.fast.restart_at: the run ends after 50 iterations, before the restart")
    assert validate_config({**late, "methods": ["free"]}), "where no such bank is made"
    assert validate_config({**late, "inversion": {"fast": {"iterations": 51, "restart_at": 50}}})


class TestMethods:
    def test_something_must_run(self):
        (line,) = problems({"pools": {"single": {"methods": []}}})
        assert line == "methods: no method can run on any pool (no pool chooses any)"
        (line,) = problems({"networks": {"conv4": {"width": 8}}, "methods": ["average", "best"]})
        assert line == (
            "methods: no method can run on any pool (average on single: the average of the models must have the "
            "meta-learner's architecture; best on single: no model of the pool has the meta-learner's architecture)"
        )

    def test_weights_of_a_probe_are_looked_for_at_once(self, tmp_path):
        missing = {"tgr": {"probe": "imagenet_r34", "probe_weights": str(tmp_path / "r34.safetensors")}}
        (line,) = problems({**missing, "methods": ["tgr"]})
        assert line.startswith(f"tgr.probe_weights: there is no file `{tmp_path}/r34.safetensors`")
        assert validate_config({**missing, "methods": ["random"]})
        closed = {"single": {"access": "logits"}}
        assert validate_config({**missing, "methods": ["tgr", "random"], "pools": closed}), "where tgr cannot run"
        (tmp_path / "r34.safetensors").touch()
        assert validate_config({**missing, "methods": ["tgr"]})

    @pytest.mark.parametrize("method", ["free", "free_heads"])
    def test_a_learner_to_begin_with_must_be_one_that_can_be_had(self, method):
        closed = {"pools": {"single": {"access": "logits"}}, method: {"start": "mixed_heads"}}
        config = validate_config({**closed, "mixed_heads": {"start": "random"}})
        assert config.inapplicable("single", method) == (
            "it needs the models' weights, the pool gives their logits only"
        )

    def test_per_model_inversion_leaves_no_generator_to_continue(self):
        slow = {"inversion": {"inverter": "gen_bn"}, "methods": ["free"]}
        (line,) = problems(slow)
        assert line.startswith("free.online: `inversion.inverter: gen_bn` leaves no meta-generator to continue")
        assert validate_config({**slow, "free": {"online": False}})
        assert validate_config({**slow, "free": {"generator": "fresh"}})

    @pytest.mark.parametrize("optimiser", ["adam_fresh", "sgd"])
    def test_free_cannot_go_on_with_moments_that_the_inversion_does_not_leave(self, optimiser):
        without = {"inversion": {"five": {"outer_optimiser": optimiser}}, "methods": ["free"]}
        going_on = {"five": {"outer_optimiser": "adam_persistent"}}
        (line,) = problems({**without, "free": going_on})
        assert line.startswith("free.five.outer_optimiser: `adam_persistent` goes on with the moments of the inversion")
        assert validate_config(without)
        assert validate_config({**without, "free": {**going_on, "generator": "fresh"}})
        assert validate_config({**without, "free": {**going_on, "online": False}})
        assert validate_config({"free": {"five": {"outer_optimiser": optimiser}}, "methods": ["free"]})

    def test_an_empty_bank_must_be_filled(self):
        (line,) = problems({"free": {"generator": "fresh", "online": False}})
        assert line.startswith("free.online: a `fresh` generator starts with an empty bank")

    def test_choosing_on_meta_val_needs_episodes(self):
        chosen = {"select": "val_best", "validation_episodes": 1}
        assert validate_config({"evaluation": chosen}).evaluation.select == "val_best"
        assert len(problems({"evaluation": {**chosen, "validation_episodes": 0}})) == 1
