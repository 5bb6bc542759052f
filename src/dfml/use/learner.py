"""A learner from the shelf in a user's hands: it adapts to a few labelled photos of any classes."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path

import torch
from pydantic import ValidationError

from dfml.artefacts.base import refusal
from dfml.artefacts.classifier import ClassifierManifest, Origin, Rule
from dfml.artefacts.learner import MANIFEST, LearnerManifest
from dfml.artefacts.record import Record
from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.device import apart_from_caller, refuse_other_types
from dfml.data.copies import warn_of_same_pixels
from dfml.errors import DfmlError, FileFormatError
from dfml.evaluation.settings import EvaluationSettings
from dfml.files.reading import as_path
from dfml.files.tensors import digest_tensors
from dfml.metalearning.learner import Learner
from dfml.metalearning.store import load_learner
from dfml.use.classifier import AdaptedClassifier
from dfml.use.frozen import FrozenClassifier
from dfml.use.labels import Labels, read_labels
from dfml.use.pictures import Pictures, read_pictures

OTHER = "other"
"""Stands for images that are of no data set the learner knows: they are normalised as those of all together."""


class FewShotLearner:
    """What :func:`load` returns.

    Attributes:
        manifest: What its ``learner.json`` says.
        learner: What adapts: the iterate that the tables report.
        iteration: After how many iterations that was kept.
        side: To which side photos are brought, in pixels.
        settings: With what it was evaluated; where that is not known, the defaults.
        rule: The rule that :meth:`adapt` follows unless told otherwise.
    """

    def __init__(
        self, manifest: LearnerManifest, learner: Learner, *, iteration: int, side: int, settings: EvaluationSettings
    ) -> None:
        self.manifest, self.learner, self.iteration = manifest, learner, iteration
        self.side, self.settings = side, settings
        self.rule = recorded_rule(manifest)

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that it offers."""
        return self.learner.rules

    @apart_from_caller()
    def adapt(self, images: Pictures, labels: Labels, *, rule: str | None = None) -> AdaptedClassifier:
        """Learn classes from some images of each; the learner stays as it is.

        Args:
            images: what :mod:`dfml.use.pictures` reads, of any size.
            labels: one for each image, whole numbers or texts; two classes or more, of as many images as there are. The
                classifier gives texts back in Unicode's form NFC.
                They need not be as many classes as the learner was trained with (see
                :meth:`dfml.metalearning.learner.Learner.for_ways`).
            rule: ``finetune``, ``centroid_euclidean`` or ``centroid_cosine``; by default ``self.rule``.

        Raises:
            DataError: images or labels are not what they should be.
            DfmlError: the learner does not offer the rule, or is the features of an imported model.
        """
        refuse_other_types()
        specs = self._own_networks()
        chosen = self._offered(rule)
        pixels = read_pictures(images, self.side)
        names, places = read_labels(labels, len(pixels))
        told = [f"image {index} ({names[place]})" for index, place in enumerate(places)]
        warn_of_same_pixels(pixels.numpy(), told)
        own = self.manifest
        module = FrozenClassifier.of(self.learner, specs, pixels, torch.tensor(places), rule=chosen)
        heads = {"ways": len(names)} if chosen == "finetune" else {}
        manifest = ClassifierManifest(
            names=names,
            images=[places.count(place) for place in range(len(names))],
            rule=chosen,
            side=self.side,
            encoders=[spec.model_copy(update=heads) for spec in specs],
            learner=Origin(
                **{name: getattr(own, name) for name in ("pool", "method", "shots", "seed", "weights_sha256")},
                iteration=self.iteration,
            ),
            tensors_sha256=digest_tensors(module.state_dict()),
        )
        return AdaptedClassifier(module, manifest)

    def _own_networks(self) -> list[NetworkSpec]:
        ours = [spec for spec in self.manifest.encoders if isinstance(spec, NetworkSpec)]
        if len(ours) < len(self.manifest.encoders):
            raise DfmlError(
                "this learner is the features of an imported model, whose code its owner keeps; it can be evaluated, "
                "not adapted into a classifier. Adapt one that was taught by the zoo, such as of `mixed_heads`"
            )
        return ours

    def _offered(self, rule: str | None) -> Rule:
        for known in ("finetune", "centroid_euclidean", "centroid_cosine"):
            if known == (self.rule if rule is None else rule) and known in self.rules:
                return known
        raise DfmlError(f"this learner cannot adapt by {rule!r}; it offers {', '.join(self.rules)}")


@apart_from_caller()
def load(folder: str | Path, *, domain: str | None = None, side: int | None = None) -> FewShotLearner:
    """Read a learner that a run of the workflow made. It computes on the CPU.

    Args:
        folder: such as ``results/demo/metalearning/single/free/1shot/seed0``.
        domain: whose images the photos are like, for a learner of several data sets: each is normalised by its own
            mean and deviation. ``other`` stands for none of them.
        side: to which side photos are brought, for a learner that takes any.

    Raises:
        FileFormatError: the learner is missing, damaged or of another version.
        DfmlError: the domain or the side has to be given, or does not fit the learner.
    """
    refuse_other_types()
    folder = as_path(folder)
    if os.path.isfile(folder) and folder.suffix == ".safetensors":
        raise FileFormatError(
            f"{folder} is a file and no learner's folder; an adapted classifier is read by load_classifier"
        )
    if not os.path.isfile(folder / MANIFEST):
        raise FileFormatError(
            f"{folder} has no {MANIFEST}: give the folder of a learner, results/EXPERIMENT/metalearning/POOL/METHOD/"
            "Kshot/seedN"
        )
    own = LearnerManifest.load(folder / MANIFEST)
    record = _record_of(folder, own)
    settings = _settings_of(record)
    _, learners = load_learner(
        folder,
        steps=settings.adaptation_steps,
        learning_rate=settings.adaptation_learning_rate,
        device=torch.device("cpu"),
    )
    iterations = [snapshot.iteration for snapshot in own.snapshots]
    chosen = len(iterations) - 1
    if record is not None and record.iterate in iterations:
        chosen = iterations.index(record.iterate)
    learner = learners[chosen].for_domain(_domain(own, domain))
    if not bool((learner.std > 0).all()):
        raise FileFormatError(f"{folder / MANIFEST}: a deviation is not above zero; run the meta-learning again")
    return FewShotLearner(own, learner, iteration=iterations[chosen], side=_side(own, side), settings=settings)


def recorded_rule(manifest: LearnerManifest) -> str:
    """The rule that the learner was made for.

    Fine-tuning, where it was made to be fine-tuned with its head. Otherwise centroids: by Euclidean distance where that
    is what it was trained with, as ProtoNet is; by the cosine where nothing was trained for either.
    """
    if manifest.finetune:
        return "finetune"
    method = manifest.provenance.settings.get("method")
    of_catalogue = method.get("learner") if isinstance(method, dict) else None
    trained = of_catalogue or manifest.options.get("learner")
    return "centroid_euclidean" if trained == "protonet" else "centroid_cosine"


def _domain(manifest: LearnerManifest, domain: str | None) -> str:
    known = list(manifest.domains)
    if domain is None:
        if len(known) > 1:
            raise DfmlError(
                f"this learner knows images of {', '.join(known)} and normalises each in its own way; say whose your "
                f"photos are like (domain={known[0]!r}, or --domain {known[0]}), or {OTHER!r} for none of them"
            )
        return known[0] if known else OTHER
    if domain not in (*known, OTHER):
        raise DfmlError(f"this learner knows no images of {domain!r}; choose among {', '.join((*known, OTHER))}")
    return domain


def _side(manifest: LearnerManifest, side: int | None) -> int:
    sides = {spec.side for spec in manifest.encoders}
    if None not in sides:
        own = max(filter(None, sides))
        if side not in (None, own):
            raise DfmlError(f"this learner sees images of {own} pixels, not {side}; leave the side out")
        return own
    if side is None:
        raise DfmlError(
            "this learner takes images of any side, as it is of data sets of several; say to which side your photos "
            "shall be brought (side=32, or --side 32)"
        )
    if not (isinstance(side, Integral) and 16 <= side <= 1024):
        raise DfmlError(f"the side {side!r} is no whole number of pixels between 16 and 1024")
    return int(side)


def _record_of(folder: Path, manifest: LearnerManifest) -> Record | None:
    """The record of its evaluation, where the learner lies on the shelf beside it."""
    cell = (manifest.pool, manifest.method, f"{manifest.shots}shot", f"seed{manifest.seed}")
    parts = folder.resolve().parts
    if parts[-len(cell) - 1 :] != ("metalearning", *cell):
        return None
    path = Path(*parts[: -len(cell) - 1], "evaluation", *cell, "record.json")
    return Record.load(path) if path.is_file() else None


def _settings_of(record: Record | None) -> EvaluationSettings:
    told = record.provenance.settings.get("settings") if record else None
    if not isinstance(told, dict):
        return EvaluationSettings()
    try:
        return EvaluationSettings.model_validate(told)
    except ValidationError as error:
        raise refusal(Path("record.json"), error, Record.MAKER) from None
