"""Made-up JSON files of the shelf: whole and valid, as plain values that a test may spoil."""

import json
from pathlib import Path

NETWORK = {"family": "conv4", "width": 32, "ways": 5, "side": 32, "stem_relu": True, "options": {}, "code": None}
NORMALISATION = {"mean": [0.5] * 3, "std": [0.25] * 3}


def provenance(**changes) -> dict:
    """What a job tells of itself."""
    return {
        "rule": "evaluate",
        "command": None,
        "git_commit": None,
        "versions": {"torch": "2.8.0"},
        "host": "here",
        "device": "cpu",
        "tf32": False,
        "settings": {},
        "inputs": {},
    } | changes


def result(**changes) -> dict:
    """One entry of a record's `results`."""
    return {
        "dataset": "icons_colour",
        "rule": "finetune",
        "batch_norm": "transductive",
        "accuracy": 40.0,
        "ci95": 0.6,
        "episodes": 600,
        "accuracies_digest": "d1",
    } | changes


def record(**changes) -> dict:
    """A whole, valid record with one result."""
    return {
        "format": "dfml.record",
        "version": 4,
        "experiment": "demo",
        "pool": "single",
        "method": "free",
        "ways": 5,
        "shots": 1,
        "seed": 0,
        "results": [result()],
        "split": "meta_test",
        "selection": "last",
        "iterate": 100,
        "episode_digest": "e1",
        "train_seconds": 10.0,
        "teacher_passes": 200,
        "train_episodes": 3000,
        "bank_seconds": 5.0,
        "bank_passes": 120,
        "inference_macs": 11_000_000,
        "peak_memory_mb": 900.5,
        "stages": {"replay": 8.0},
        "curve": [],
        "device": "cpu",
        "git_commit": None,
        "config_digest": "12e4",
        "options": {"profile": "corrected"},
        "provenance": provenance(),
    } | changes


def fields(content: dict) -> dict:
    """What a model is made of: the content without format and version."""
    return {key: value for key, value in content.items() if key not in ("format", "version")}


def write(folder: Path, name: str, content: dict) -> Path:
    """Write `content` as JSON below `folder`."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def models(*accuracies: float) -> list[dict]:
    """Entries of a zoo's models with these accuracies."""
    return [
        {
            "index": index,
            "classes": [0, 1, 2, 3, 4],
            "images": {"train": 400, "selection": 50, "test": 50},
            "accuracy": accuracy,
            "selection_accuracy": accuracy,
            "selection_accuracy_best": accuracy,
            "selection_accuracy_last": accuracy,
            "epoch_best": 1,
        }
        for index, accuracy in enumerate(accuracies)
    ]


def zoo(**changes) -> dict:
    """A valid zoo manifest of three models."""
    return {
        "format": "dfml.zoo",
        "version": 2,
        "dataset": "icons_colour",
        "architecture": "conv4",
        "network": NETWORK,
        "seed": 0,
        "side": 32,
        **NORMALISATION,
        "class_names": ["ant", "bee", "cat", "dog", "elk"],
        "models": models(70.0, 80.0, 90.0),
        "weights_sha256": "0" * 64,
        "judges": [],
        "judges_sha256": None,
        "seconds": 61.5,
        "provenance": provenance(rule="train_zoo"),
    } | changes


def imported_zoo(**changes) -> dict:
    """A valid manifest of an imported zoo of one model."""
    return {
        "format": "dfml.imported_zoo",
        "version": 1,
        "name": "lab",
        "card": "lab/card.yaml",
        "files": {"card.yaml": "0" * 64},
        "label_space": "global",
        "side": 32,
        **NORMALISATION,
        "class_names": ["ant", "bee"],
        "models": [
            {
                "index": 0,
                "name": "insects",
                "classes": [1, 0],
                "kind": "module",
                "side": 32,
                "channels": "rgb",
                **NORMALISATION,
                "outputs": "logits",
                "accuracy": None,
                "parameters": 1000,
                "norms": 2,
                "features": {"layer": "head", "of": "input", "size": 64},
                "licence": "CC0-1.0",
                "origin": "",
            }
        ],
        "weights_sha256": "0" * 64,
        "seconds": 1.5,
        "provenance": provenance(rule="import_zoo"),
    } | changes


def inversion(**changes) -> dict:
    """A valid inversion summary."""
    return {
        "format": "dfml.inversion",
        "version": 1,
        "pool": "single",
        "inverter": "five",
        "seed": 0,
        "seconds": 80.0,
        "generator_passes": 800,
        "teacher_passes": 800,
        "inversions": 160,
        "images": 3000,
        "iterations": 2,
        "history": [4.0, 1.6],
        "ce_curve": {"first": [4.0, 3.0, 2.2, 1.7, 1.4, 1.2], "last": [1.6, 0.9, 0.6, 0.45, 0.36, 0.3]},
        "teacher_ce": 0.3,
        "teacher_accuracy": 95.0,
        "cross_model_accuracy": 70.0,
        "independent_accuracy": 62.0,
        "independent_reason": None,
        "diversity": 0.41,
        "peak_memory_mb": 900.5,
        "provenance": provenance(rule="invert"),
    } | changes


def speed(**changes) -> dict:
    """A valid speed comparison of FIVE with inversion from scratch."""
    return {
        "format": "dfml.speed",
        "version": 1,
        "pool": "single",
        "seed": 0,
        "device": "cpu",
        "images_per_task": 100,
        "arms": [
            {
                "name": "five",
                "steps": 5,
                "seconds_per_task": [1.0, 1.2, 1.1],
                "teacher_ce": [0.3, 0.35, 0.4],
                "teacher_accuracy": [94.0, 95.0, 96.0],
            },
            {
                "name": "per_model",
                "steps": 50,
                "seconds_per_task": [10.5, 11.5, 11.0],
                "teacher_ce": [0.5, 0.45, 0.6],
                "teacher_accuracy": [90.0, 91.0, 92.0],
            },
            {
                "name": "per_model",
                "steps": 200,
                "seconds_per_task": [42.0, 45.0, 44.0],
                "teacher_ce": [0.06, 0.05, 0.07],
                "teacher_accuracy": [99.0, 100.0, 99.0],
            },
        ],
        "provenance": provenance(rule="time_inversion"),
    } | changes


def learner(**changes) -> dict:
    """A valid learner manifest of one encoder with two kept iterates."""
    return {
        "format": "dfml.learner",
        "version": 2,
        "pool": "single",
        "method": "free",
        "ways": 5,
        "shots": 1,
        "seed": 0,
        "encoders": [NETWORK],
        "snapshots": [{"iteration": 0, "seconds": 0.0}, {"iteration": 5, "seconds": 1.5}],
        "finetune": True,
        "head_only": False,
        **NORMALISATION,
        "domains": {"icons_colour": {"mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2]}},
        "train_seconds": 1.5,
        "teacher_passes": 4,
        "train_episodes": None,
        "bank_seconds": 0.0,
        "bank_passes": 0,
        "stages": {"replay": 1.5},
        "peak_memory_mb": None,
        "options": {"steps": 5, "five": None},
        "weights_sha256": "0" * 64,
        "provenance": provenance(rule="meta_learn"),
    } | changes


def classifier(**changes) -> dict:
    """What the file of a valid adapted classifier of two classes says."""
    return {
        "format": "dfml.classifier",
        "version": 1,
        "names": ["ant", 7],
        "images": [3, 1],
        "rule": "finetune",
        "side": 32,
        "encoders": [NETWORK | {"ways": 2}],
        "learner": {
            "pool": "single",
            "method": "free",
            "shots": 1,
            "seed": 0,
            "iteration": 5,
            "weights_sha256": "0" * 64,
        },
        "tensors_sha256": "1" * 64,
    } | changes


def images(**changes) -> dict:
    """A valid manifest of prepared images."""
    return {
        "format": "dfml.images",
        "version": 2,
        "dataset": "icons_colour",
        "source": "embedded",
        "licence": "CC0-1.0",
        "side": 32,
        "channels": 3,
        **NORMALISATION,
        "normalisation": "measured",
        "copies": {"same_files": 1, "same_pixels": 2, "across_splits": 1, "dropped": {"meta_train": ["ant/1.png"]}},
        "splits": {
            split: {"file": f"{split}.npz", "sha256": "0" * 64, "names": ["ant", "bee"], "counts": [3, 2]}
            for split in ("meta_train", "meta_val", "meta_test")
        },
    } | changes


def receipt(**changes) -> dict:
    """A valid receipt of one file made from another."""
    files = {"inputs": {"in.npz": "0" * 64}, "outputs": {"out.json": "1" * 64}}
    return {"format": "dfml.receipt", "version": 1, **provenance(), **files} | changes


def metrics(**changes) -> dict:
    """Valid metrics of one cell."""
    return {"single": {"free": {"1shot": {"icons_colour": {"finetune_transductive": 34.2}}}}} | changes
