import json

from dfml.results.collect import collect_records
from dfml.results.summary import write_metrics
from support.results import write_demo


def test_metrics_are_means_over_seeds_by_cell(tmp_path):
    grid = [("single", "free", None), ("single", "zoo_features", None)]
    collect_records(write_demo(tmp_path, grid=grid), tmp_path / "results.csv")
    write_metrics(tmp_path / "results.csv", tmp_path / "metrics.json")
    cells = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["single"]
    assert cells["free"]["1shot"]["icons_colour"]["finetune_transductive"] == 34.2
    assert "finetune_transductive" not in cells["zoo_features"]["1shot"]["icons_colour"]
