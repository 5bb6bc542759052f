"""Which jobs a configuration asks for, and what each is allowed to read."""

from dataclasses import replace

import pytest

from support.repository import ROOT
from support.workflow import SEVERAL_ARCHITECTURES

OF_THE_BANK = {"free", "free_heads", "bank_heads", "mixed_heads"}
OWN_BANK = {"gen_ce", "gen_bn", "cmi", "deep_inversion", "fast"}
ONCE = {"make_results", "build_report", "all"}


ALL_SHOTS = {
    "random",
    "best",
    "average",
    "ota",
    "dro",
    "zoo_features",
    "zoo_ensemble",
    "bank_heads",
    "procedural_heads",
    "mixed_heads",
    "noise_heads",
    "unlabelled_heads",
}


def learner(config, cell) -> frozenset:
    """What the learner of a cell depends on."""
    own = {cell.method, f"seed {cell.seed}"}
    of_models = cell.method not in {"random", "supervised_maml", "supervised_anil", "supervised_protonet"}
    own.add(cell.pool if of_models else config.pools[cell.pool].datasets)
    return frozenset(own if cell.method in ALL_SHOTS else {*own, f"{cell.shots} shots"})


def begun_with(cells) -> list:
    """The cells whose learners others begin with."""
    return [replace(cell, method="mixed_heads") for cell in cells if cell.method == "free_heads"]


def expected_jobs(config) -> dict[str, int]:
    """Jobs per rule, counted from the grid that the configuration describes."""
    cells = config.cells()
    pools = {cell.pool for cell in cells}
    datasets = {dataset for pool in pools for dataset in config.pools[pool].datasets}
    zoos = {
        (dataset, network)
        for pool in pools
        for dataset in config.pools[pool].datasets
        for network in config.pools[pool].networks
    }
    if any(cell.method == "unlabelled_heads" for cell in cells):
        datasets.add(config.unlabelled_heads.dataset)
    inverted = {(cell.pool, "five") for cell in cells if cell.method in OF_THE_BANK}
    inverted |= {(cell.pool, cell.method) for cell in cells if cell.method in OWN_BANK}
    return {
        "prepare_images": len(datasets),
        "train_zoo": len(zoos) * len(config.seeds),
        "invert": len(inverted) * len(config.seeds),
        "time_inversion": 1,
        "meta_learn": len({learner(config, cell) for cell in [*cells, *begun_with(cells)]}),
        "evaluate": len({learner(config, cell) | {cell.shots} for cell in cells}),
    } | dict.fromkeys(ONCE, 1)


@pytest.mark.parametrize("name", ["config", "smoke", "paper", "paper_cpu"])
def test_a_configuration_asks_for_its_grid(fresh, name):
    from dfml.config.load import load_config

    config = load_config([ROOT / "config" / "config.yaml", ROOT / "config" / f"{name}.yaml"])
    run = fresh.dry_run("--configfile", f"config/{name}.yaml", "--quiet", "rules")
    assert run.jobs == expected_jobs(config)


def test_the_default_experiment_and_its_pool_of_several_architectures(fresh):
    from dfml.config.load import load_config

    fresh.configure(pools=SEVERAL_ARCHITECTURES)
    run = fresh.dry_run("--quiet", "host", CUDA_VISIBLE_DEVICES="")
    assert run.jobs == expected_jobs(load_config([fresh.folder / "config" / "config.yaml"]))

    jobs = list(run.listed())
    assert len(jobs) == run.jobs.total()
    assert "reason: Missing output files" in run.output
    everything = [path for job in jobs for path in job.outputs]
    assert len(everything) == len(set(everything))
    assert all(path.startswith("results/demo/") for path in everything)

    # The data-free wall: who is given images at all.
    readers = {
        (job.rule, job.outputs[0].split("/")[4] if job.rule == "meta_learn" else "")
        for job in jobs
        if any("/images/" in path or path.startswith("resources/embedded") for path in job.inputs)
    }
    assert readers == {
        ("prepare_images", ""),
        ("train_zoo", ""),
        ("evaluate", ""),
        ("meta_learn", "supervised_maml"),
    }
    # A method is given the bank only if it starts from it, and its own seed's zoos only.
    for job in jobs:
        if job.rule == "meta_learn":
            _, _, _, pool, method, _, seed, _ = job.outputs[0].split("/")
            assert any("/inversion/" in path for path in job.inputs) == (method in OF_THE_BANK)
            begun = [path for path in job.inputs if "/metalearning/" in path]
            assert {path.split("/")[4] for path in begun} == ({"mixed_heads"} if method == "free_heads" else set())
            assert all(seed in path for path in job.inputs if "/zoo/" in path)
            networks = {path.split("/")[4] for path in job.inputs if "/zoo/" in path}
            assert len(networks) == {"single": 1, "multi_architecture": 3}[pool] * (method != "supervised_maml")

    # Without a GPU no job asks for one, so the cap of the profile holds nothing up.
    assert {job.resources.get("gpu", "0") for job in jobs} == {"0"}
