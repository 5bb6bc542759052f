"""The model of every JSON file on the shelf, and a valid one of each."""

import json
from pathlib import Path

from dfml.artefacts.base import Artefact
from dfml.artefacts.classifier import ClassifierManifest
from dfml.artefacts.images import ImagesManifest
from dfml.artefacts.imported_zoo import ImportedZooManifest
from dfml.artefacts.inversion import InversionRecord, SpeedRecord
from dfml.artefacts.learner import LearnerManifest
from dfml.artefacts.metrics import Metrics
from dfml.artefacts.receipt import Receipt
from dfml.artefacts.record import Record
from dfml.artefacts.zoo import ZooManifest
from support import manifests, results

SPECIMENS: dict[type[Artefact], dict] = {
    ImagesManifest: manifests.images(),
    ZooManifest: manifests.zoo(),
    ImportedZooManifest: manifests.imported_zoo(),
    InversionRecord: manifests.inversion(),
    SpeedRecord: manifests.speed(),
    LearnerManifest: manifests.learner(),
    ClassifierManifest: manifests.classifier(),
    Record: manifests.record(curve=results.curve("free", 0)),
    Receipt: manifests.receipt(),
}


def load(path: Path) -> Artefact | Metrics:
    """Read any JSON file on the shelf by its model."""
    if path.name == "metrics.json":
        return Metrics.load(path)
    models = {model.FORMAT: model for model in SPECIMENS}
    return models[json.loads(path.read_bytes())["format"]].load(path)
