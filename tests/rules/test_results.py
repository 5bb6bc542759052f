"""From records to the report, with made-up records of the default experiment."""

import json
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dfml.config.load import load_config
from dfml.inversion.bank import ImageBank
from support.imports import Package, read_imports
from support.manifests import inversion, speed, write, zoo
from support.repository import ROOT
from support.results import write_demo
from support.workflow import SEVERAL_ARCHITECTURES, Workflow

LIGHT = ("make_results", "build_report")


def make_up(folder: Path) -> None:
    """Fill every file that tables, figures and report read, for the first seed of a workflow's default experiment."""
    config, results = load_config([folder / "config" / "config.yaml"]), folder / "results" / "demo"
    write_demo(
        results,
        seeds=(0,),
        grid=list(dict.fromkeys((cell.pool, cell.method, None) for cell in config.cells())),
    )
    for path in results.rglob("zoo.json"):
        dataset, architecture, seed = path.parts[-4:-1]
        write(path.parent, path.name, zoo(dataset=dataset, architecture=architecture, seed=int(seed[4:])))
    for path in results.rglob("inversion.json"):
        pool, inverter, seed = path.parts[-4:-1]
        write(path.parent, path.name, inversion(pool=pool, inverter=inverter, seed=int(seed[4:])))
    for path in results.rglob("bank.npz"):
        ImageBank(32, slots=1, images_per_class=2, side=8, device=torch.device("cpu")).save(path)
    for path in results.rglob("speed.json"):
        write(path.parent, path.name, speed(pool=path.parts[-2]))
    for path in results.rglob("grid.png"):
        Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(path)


def test_tables_figures_and_report(tmp_path):
    workflow = Workflow.copied_to(tmp_path / "workflow")
    sealed = {"datasets": ["icons_colour"], "networks": ["conv4"], "access": "logits", "methods": ["free"]}
    workflow.configure(seeds=[0], pools={"sealed": sealed, **SEVERAL_ARCHITECTURES})
    workflow.pretend_all_is_done("--until", "evaluate", "time_inversion", fill=lambda _: make_up(workflow.folder))
    run = workflow.snakemake("--cores", "2")
    assert run.status == 0, run.output
    assert set(run.jobs) == {*LIGHT, "all"}
    results = workflow.folder / "results" / "demo"

    metrics = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["single"]["free"]["1shot"]["icons_colour"]["finetune_transductive"] == 34.9
    assert metrics.keys() == {"single", "multi_architecture"}
    main = (results / "tables" / "main.md").read_text(encoding="utf-8")
    assert "34.90 ± 0.60" in main
    assert "not run" not in main
    # A pool on which nothing that is asked for can run is shown, with the reason.
    rows = main[main.index("| sealed") :].splitlines()
    assert "n/a" in next(row for row in rows if re.search(r"\| FREE +\|", row))
    assert "it needs the models' weights, the pool gives their logits only" in main

    # One page without anything from outside, with every item that the rules mark.
    page = (results / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?https?:", page) == []
    for name in ("tables/main.html", "tables/speed.html", "figures/main.svg", "results.csv"):
        assert f"results/demo/{name}" in page
    assert page.count("grid.png") >= 2
    assert "Recovered images" in page
    assert "no original image is read in between" in page
    # What it shows first: two pictures with the short table between them, and links that open what they name.
    first = (results / "first_page.html").read_text(encoding="utf-8")
    assert re.findall(r"<(img|table|ul)\b", first) == ["img", "table", "ul", "img"]
    assert "Best single" in first and "FREE" in first
    assert "data:image/svg+xml;base64" in page
    for name in re.findall(r"endsWith\(\W*/([\w/.]+)", page):
        assert f"results/demo/{name}" in page
    assert ".h-screen.overflow-auto" in page

    assert workflow.dry_run().nothing_to_do


def test_light_rules_do_not_load_torch():
    package = Package.read(ROOT / "src" / "dfml")
    for rule in LIGHT:
        source = (ROOT / "workflow" / "scripts" / f"{rule}.py").read_text(encoding="utf-8")
        imported = {f.imported for f in read_imports(source, rule, is_package=False, known=package.modules)}
        loaded = {name for module in imported for name in package.loads(module)}
        assert "dfml.jobs.job" in loaded
        assert not {name for name in loaded if name.split(".")[0] in {"torch", "torchvision"}}
