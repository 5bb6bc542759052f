"""What comes with a zoo from elsewhere, before it is imported and after: how it is read, and how it is damaged."""

from pathlib import Path

from dfml.artefacts.zoo import MANIFEST, WEIGHTS
from dfml.zoo.imported.card import read_card, register_cards
from dfml.zoo.imported.weights import fit_weights, read_weights
from dfml.zoo.pool import Pool
from support.damage import BLIND_AND_ARCHIVE, BLIND_AND_JSON, BLIND_AND_TENSORS, BLIND_AND_TEXT, all_of, mend
from support.fuzzing import Artefact
from support.lab import module
from support.specimens import write_foreign, write_imported
from support.zoo import CPU


def _read_foreign(folder: Path, name: str) -> None:
    """Weights that somebody else wrote, into the module that they are for."""
    fit_weights(module("own", 5), read_weights(folder / name, name="own"), name="own", path=folder / name)


def _mend_imported(folder: Path) -> None:
    """The digest of the weights, and the card's path, which was another when the zoo was imported."""
    mend(folder / MANIFEST, weights_sha256=folder / WEIGHTS)
    content = (folder / MANIFEST).read_bytes()
    for which in b"01":
        content = content.replace(f"{folder}.{which:c}/".encode(), f"{folder}/".encode())
    (folder / MANIFEST).write_bytes(content)


def _read_imported(folder: Path) -> None:
    register_cards([folder / "card.yaml"])
    list(Pool.load([folder], label_space="global", device=CPU))


IMPORTS = (
    Artefact("card", write_foreign, lambda f: read_card(f / "card.yaml"), {"card.yaml": BLIND_AND_TEXT}, share=30),
    Artefact(
        "foreign_weights",
        write_foreign,
        all_of(lambda f: _read_foreign(f, "own.safetensors"), lambda f: _read_foreign(f, "own.pt")),
        {"own.safetensors": BLIND_AND_TENSORS, "own.pt": BLIND_AND_ARCHIVE},
        share=30,
    ),
    Artefact(
        "imported_zoo",
        write_imported,
        _read_imported,
        {MANIFEST: BLIND_AND_JSON, WEIGHTS: BLIND_AND_TENSORS},
        _mend_imported,
        (MANIFEST,),
        share=30,
    ),
)
