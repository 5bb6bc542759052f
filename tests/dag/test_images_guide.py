"""docs/your_images.md: its configuration and the one that examples/your_images.py writes can be planned."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dfml.config.load import load_config
from dfml.errors import DfmlError
from support.configuration import recoloured
from support.markdown import read_markdown
from support.repository import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples" / "your_images.py"))
DEFAULT = ROOT / "config" / "config.yaml"
GUIDE = read_markdown((ROOT / "docs" / "your_images.md").read_text(encoding="utf-8"))


def pictures(folder: Path, classes: int, images: int, *parts: str) -> Path:
    """A folder of small pictures in class folders, below ``parts`` of different classes if given."""
    rng = np.random.default_rng(0)
    for index in range(classes):
        part = parts[index % len(parts)] if parts else ""
        (folder / part / f"class{index:02d}").mkdir(parents=True)
        for number in range(images):
            pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / part / f"class{index:02d}" / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("classes", "images", "parts", "expected"),
    [
        (40, 20, (), {"ways": 5, "queries": 15, "fractions": None}),
        (20, 7, (), {"ways": 5, "queries": 6, "fractions": [0.5, 0.25, 0.25]}),
        (9, 3, (), {"ways": 2, "queries": 2, "fractions": [0.5, 0.25, 0.25]}),
        (12, 16, ("train", "val", "test"), {"ways": 4, "queries": 15, "fractions": None}),
    ],
    ids=["many", "fewer", "hardly enough", "parts"],
)
def test_what_the_example_writes_fits_the_images(
    tmp_path, fresh, monkeypatch, capsys, classes, images, parts, expected
):
    monkeypatch.chdir(fresh.folder)
    folder = pictures(tmp_path / "images", classes, images, *parts)
    EXAMPLE["main"](folder, tmp_path / "mine.yaml")
    written = yaml.safe_load((tmp_path / "mine.yaml").read_text(encoding="utf-8"))
    assert written["ways"] == expected["ways"] and written["evaluation"] == {"queries": expected["queries"]}
    assert written["datasets"]["mine"].get("fractions") == expected["fractions"]
    assert recoloured(load_config([DEFAULT, tmp_path / "mine.yaml"])) == set()
    assert f"./run.sh snakemake --configfile {tmp_path / 'mine.yaml'}" in capsys.readouterr().out
    # The workflow, which counts classes and images itself, takes it.
    jobs = fresh.dry_run("--configfile", str(tmp_path / "mine.yaml"), "--quiet", "rules").jobs
    assert jobs["prepare_images"] == 1 and jobs["train_zoo"] == 3


@pytest.mark.parametrize(("classes", "images"), [(7, 5), (20, 1)])
def test_too_few_images_are_told_in_a_line_and_nothing_is_written(tmp_path, classes, images):
    folder = pictures(tmp_path / "images", classes, images)
    with pytest.raises(
        DfmlError, match=rf"{classes} classes, class00 with the fewest images, {images}; at least 8 classes of 2"
    ):
        EXAMPLE["main"](folder, tmp_path / "mine.yaml")
    assert not (tmp_path / "mine.yaml").exists()


def test_the_guides_own_configuration_is_planned(tmp_path, fresh):
    (mine, *_) = [block.text for block in GUIDE.blocks if block.language == "yaml"]
    (tmp_path / "mine.yaml").write_text(mine, encoding="utf-8")
    assert recoloured(load_config([DEFAULT, tmp_path / "mine.yaml"])) == set()
    pictures(tmp_path / "images", 30, 16)
    run = fresh.dry_run("--configfile", str(tmp_path / "mine.yaml"), "--quiet", "rules", HOME=str(tmp_path))
    assert run.jobs["train_zoo"] == 3


def test_the_example_says_what_it_wants(monkeypatch):
    monkeypatch.setattr("sys.argv", ["your_images.py"])
    with pytest.raises(SystemExit, match="IMAGES CONFIG"):
        runpy.run_path(str(ROOT / "examples" / "your_images.py"), run_name="__main__")
