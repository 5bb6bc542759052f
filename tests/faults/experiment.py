"""The tiny experiment, and the stages of it that are long enough to be hit."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from support.repository import ROOT
from support.workflow import Run, Workflow

EXPERIMENT = "tiny"


@dataclass(frozen=True)
class Stage:
    """A long rule of the experiment with a resume file; ``place`` is its folder below that of the results."""

    rule: str
    place: str
    last: str

    @property
    def outputs(self) -> str:
        """Its folder."""
        return f"results/{EXPERIMENT}/{self.place}"

    @property
    def target(self) -> str:
        """The output that is written last."""
        return f"{self.outputs}/{self.last}"

    @property
    def resume(self) -> str:
        """Where its state is kept."""
        return f"results/{EXPERIMENT}/resume/{self.place}.pt"

    @property
    def log(self) -> str:
        """What its job says."""
        return f"logs/{EXPERIMENT}/{self.rule}/{self.place.partition('/')[2]}.log"


TRAIN_ZOO = Stage("train_zoo", "zoo/icons_colour/conv4/seed0", "zoo.json")
INVERT = Stage("invert", "inversion/single/five/seed0", "inversion.json")
META_LEARN = Stage("meta_learn", "metalearning/single/free/1shot/seed0", "learner.json")
RECORD = f"results/{EXPERIMENT}/evaluation/single/free/1shot/seed0/record.json"
ACCURACIES = f"results/{EXPERIMENT}/evaluation/single/free/1shot/seed0/accuracies.npz"
TABLE, REPORT = f"results/{EXPERIMENT}/results.csv", f"results/{EXPERIMENT}/report.html"


class Experiment(Workflow):
    """The tiny experiment in a folder of its own."""

    @property
    def results(self) -> Path:
        """Where its artefacts are."""
        return self.folder / "results" / EXPERIMENT

    def duplicate(self, folder: Path) -> "Experiment":
        """A copy to disturb."""
        return Experiment(super().duplicate(folder).folder)

    def forget(self, *stages: Stage) -> None:
        """Delete what the stages made, as if they had not run."""
        for stage in stages:
            shutil.rmtree(self.folder / stage.outputs)

    def delete(self, *paths: str) -> None:
        """Delete files; missing ones in between are made again only for the sake of missing ones at the end."""
        for path in paths:
            (self.folder / path).unlink()

    def dfml(self, *arguments: str) -> Run:
        """Call dfml in the folder."""
        shutil.copy(ROOT / "dvc.yaml", self.folder)  # without it dfml does not take it for a repository
        return self.module("dfml.cli.main", *arguments)

    def partial_files(self) -> list[Path]:
        """What writers that were killed have left."""
        return sorted(self.results.rglob("*.partial"))
