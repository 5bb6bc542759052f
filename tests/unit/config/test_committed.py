"""The committed configurations: valid alone and over the default one."""

import re
from pathlib import Path

import pytest

from dfml.config.load import load_config
from dfml.config.tree import locate, section_of
from dfml.files.yaml_files import read_yaml
from support.configuration import recoloured
from support.repository import ROOT

DEFAULT = ROOT / "config" / "config.yaml"
FILES = sorted(DEFAULT.parent.glob("*.yaml"))
# Like a study it gives only what it changes of the default file.
PAPER_CPU = DEFAULT.parent / "paper_cpu.yaml"
OVERLAYS = [path for path in FILES if path not in (DEFAULT, PAPER_CPU)]
NAMED = ("datasets", "networks", "pools")


def name(path: Path) -> str:
    return path.stem


def given(values: dict, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Keys with a value of their own; chosen names do not count."""
    found = set()
    for key, value in values.items():
        path = (*above, key)
        if section_of(locate(path)) is not None and isinstance(value, dict):
            found |= given(value, path)
        else:
            found.add(path)
    return {tuple("<name>" if n == 1 and path[0] in NAMED else part for n, part in enumerate(path)) for path in found}


def test_all_are_here():
    assert {path.name for path in FILES} >= {"config.yaml", "smoke.yaml", "paper.yaml"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_is_valid_and_says_where_its_schema_is(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    label, _, schema = first.partition("$schema=")
    assert label == "# yaml-language-server: "
    assert (path.parent / schema).is_file()
    assert load_config([path]).cells()


@pytest.mark.parametrize("path", [PAPER_CPU, DEFAULT.with_name("paper.yaml")], ids=name)
def test_photographs_keep_their_colours(path):
    assert recoloured(load_config([DEFAULT])) == {"zoo", "free", "free_heads"}  # drawings in random colours
    assert recoloured(load_config([DEFAULT, path])) == set()


@pytest.mark.parametrize("path", OVERLAYS, ids=name)
def test_an_overlay_is_complete(path):
    """It gives every key of the default file, so that it means the same with and without it."""
    assert given(read_yaml(DEFAULT)) - given(read_yaml(path)) == set()
    alone, over = load_config([path]), load_config([DEFAULT, path])
    assert over.cells() == alone.cells()
    added = {key: getattr(alone, key) for key in NAMED}
    assert all(getattr(over, key).items() >= values.items() for key, values in added.items())
    assert over.pools.keys() == alone.pools.keys()
    assert over.model_copy(update=added) == alone


def test_each_has_results_of_its_own():
    names = [load_config([path]).experiment for path in FILES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", [DEFAULT, *OVERLAYS], ids=name)
def test_every_method_runs_somewhere(path):
    config = load_config([path])
    methods = section_of_methods()
    run = {cell.method for cell in config.cells()}
    mixed = [pool for pool, chosen in config.pools.items() if len(chosen.networks) > 1]
    assert mixed
    if path == DEFAULT:  # for minutes
        assert run <= methods
        assert not any(config.selected(pool) for pool in mixed)
    else:
        assert run == methods
        assert all({"random", "zoo_features", "free_heads"} <= set(config.selected(pool)) for pool in mixed)


def test_methods_are_compared_on_three_pools_over_three_seeds():
    config = load_config([DEFAULT, ROOT / "config" / "methods.yaml"])
    one_shot = {(pool, 1, seed) for pool in ("single", "multi_architecture", "multi_domain") for seed in range(3)}
    assert {(c.pool, c.shots, c.seed) for c in config.cells()} == one_shot | {("single", 5, seed) for seed in range(3)}
    assert all(set(config.selected(pool)) == section_of_methods() for pool in config.pools)
    assert len(config.pools["multi_domain"].datasets) == len(config.pools["multi_architecture"].networks) == 3


def test_models_of_a_data_set_may_have_epochs_of_their_own():
    config = load_config([ROOT / "config" / "paper.yaml"])
    of = {name: config.zoo_of(name) for name in config.datasets}
    epochs = {name: {zoo.conv4.epochs or zoo.epochs, zoo.resnet.epochs or zoo.epochs} for name, zoo in of.items()}
    assert epochs == {"cifar_fs": {60}, "mini_imagenet": {60}, "cub": {100}}
    own = of["cub"].model_dump(exclude={"epochs": True, "conv4": {"epochs"}, "resnet": {"epochs"}})
    assert own == config.zoo.model_dump(exclude={"epochs": True, "conv4": {"epochs"}, "resnet": {"epochs"}})


def section_of_methods() -> set[str]:
    return set(locate(("methods", 0))["enum"])


def test_smoke_is_small():
    config = load_config([DEFAULT, ROOT / "config" / "smoke.yaml"])
    assert (config.seeds, config.shots) == ((0,), (5,))
    assert config.zoo.models * config.zoo.epochs <= 12
    assert max(network.width for network in config.networks.values()) <= 8
    assert max(config.free.iterations, config.inversion.five.iterations, config.supervised_maml.iterations) <= 3


STUDIES = sorted((DEFAULT.parent / "studies").glob("*.yaml"))


def stack(study: Path) -> list[Path]:
    """The files of a study, as the command at its head lays them over the default one."""
    (files,) = re.findall(r"snakemake .*--configfile((?: config/[\w/]+\.yaml)+)", study.read_text(encoding="utf-8"))
    return [DEFAULT, *(ROOT / file for file in files.split())]


@pytest.mark.parametrize("study", [*STUDIES, PAPER_CPU], ids=name)
def test_a_study_is_valid_as_its_command_says(study):
    files = stack(study)
    assert files[-1] == study
    assert load_config(files).cells()


def test_studies_have_results_of_their_own():
    names = [read_yaml(path)["experiment"] for path in [*FILES, *STUDIES]]
    assert len(set(names)) == len(names)


def test_what_claims_compare_differs_in_one_thing():
    variants = load_config(stack(DEFAULT.parent / "studies" / "bell.yaml")).variants
    assert variants == {
        "free-parallel": {"bell": {"mode": "parallel"}},
        "free-off": {"bell": {"mode": "off"}},
        "free-fifty": {"inversion": {"five": {"steps": 50}}},
    }
