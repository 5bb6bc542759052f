"""The `invert` stage on tiny zoos: how it is run, what it gives, and how it is interrupted."""

import json

from dfml.artefacts.inversion import BANK
from dfml.inversion.cmi import ContrastiveInversion
from dfml.inversion.deep_inversion import DeepInversion
from dfml.inversion.five import GENERATOR, MetaGenerator
from dfml.inversion.per_model import FromScratch
from dfml.inversion.stage import GRID, RECORD, invert
from dfml.jobs.settings import RuntimeSettings
from support.inversion import inversion_settings
from support.zoo import QuietJob

FIVE = {"iterations": 4, "warmup": 1, "models_per_iteration": 2, "steps": 2}
META_LEARNED = ("five", "fast")
INVERTERS = (*META_LEARNED, "gen_ce", "gen_bn", "cmi", "deep_inversion")
RECOVERS = {"cmi": ContrastiveInversion, "deep_inversion": DeepInversion, "gen_ce": FromScratch, "gen_bn": FromScratch}
# Iterations, inversions, passes of the generator and of the teacher, length of the curve.
COUNTS = {
    "five": (5, 10, 20, 20, 2),
    "fast": (6, 6, 12, 12, 2),
    "gen_ce": (6, 6, 24, 24, 4),
    "gen_bn": (6, 6, 24, 24, 4),
    "cmi": (6, 12, 36, 72, 3),
    "deep_inversion": (6, 6, 0, 18, 3),
}


def run(zoos, folder, *, inverter="five", label_space="global", seed=0, every=2, code="code", **settings):
    """Recover a bank into ``folder``, with the resume file in it; returns ``folder``."""
    invert(
        zoos,
        folder,
        pool="toy",
        inverter=inverter,
        name=inverter,
        settings=inversion_settings(**settings),
        label_space=label_space,
        seed=seed,
        code=code,
        resume=folder / "resume.pt",
        job=QuietJob(runtime=RuntimeSettings(checkpoint_every=every)),
    )
    return folder


def record(folder):
    """What an inversion tells of itself."""
    return json.loads((folder / RECORD).read_bytes())


def contents(folder):
    """All that an inversion gave, but for its seconds."""
    told = record(folder)
    del told["seconds"]
    return [told, *((folder / name).read_bytes() for name in (GENERATOR, BANK, GRID))]


def interrupt(monkeypatch, inverter, steps):
    """Let the recovery fail after ``steps`` iterations or models; returns the list of those done."""
    owner, name = (MetaGenerator, "step") if inverter in META_LEARNED else (RECOVERS[inverter], "__call__")
    real, done = getattr(owner, name), []

    def failing(*args, **options):
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(None)
        return real(*args, **options)

    monkeypatch.setattr(owner, name, failing)
    return done
