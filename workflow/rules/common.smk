# What the rules share: paths, wildcards, what is asked for, what a job reads. The settings it is told: params.smk.
# The code that makes it run again: code.smk. The machine and the terminal: machine.smk.
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

from dfml.data.settings import EMBEDDED_FILES
from dfml.data.listing import check_listing
from dfml.data.known import KNOWN
from dfml.data.sources.opening import fingerprint
from dfml.data.splits import split_files
from dfml.errors import DataError
from dfml.catalogue import entry
from dfml.config.wanted import evaluation_shots
from dfml.files.atomic import bring_to_present
from dfml.files.reading import digest_json
from dfml.inversion.settings import Inverter
from dfml.jobs.wall import EMBEDDED

RESULTS = f"results/{settings.experiment}"
FIRST_SEED = settings.seeds[0]
# Networks that judge recovered images and that no method sees; a zoo has them if the configuration says so.
JUDGES = ["judges.safetensors"] if settings.zoo.judges else []


# Before Snakemake compares times.
bring_to_present(Path(RESULTS))


pathvars:
    results=RESULTS,
    logs=f"logs/{settings.experiment}",


wildcard_constraints:
    dataset="|".join(settings.datasets),
    architecture="|".join(settings.networks),
    zoo="|".join(settings.zoos) or "none",
    pool="|".join(settings.pools),
    inverter="|".join(
        dict.fromkeys([*get_args(Inverter), *(settings.bank_of(c.method) for c in settings.learners())])
    ),
    method="|".join(dict.fromkeys([*settings.all_methods, *(c.method for c in settings.learners())])),
    part=r"\d+",
    shots="|".join(str(shots) for shots in settings.shots),
    seed="|".join(str(seed) for seed in settings.seeds),


# ---- what is asked for


def learner_folder(cell):
    """Where the learner of a cell is made."""
    return f"<results>/metalearning/{cell.pool}/{cell.method}/{cell.shots}shot/seed{cell.seed}"


CELLS = settings.cells()
# And those of learners that others begin with, whether they have rows of their own or not.
MADE = settings.learners()
# Pools on which some method runs.
POOLS = list(dict.fromkeys(c.pool for c in CELLS))
# (pool, inverter) of every bank that a cell starts from.
BANKS = list(
    dict.fromkeys(
        (c.pool, settings.bank_of(c.method))
        for c in MADE
        if entry(c.method).needs_inversion(settings.options(c.method))
    )
)
INVERSION_OF_BANK = settings.inversions()
# Real images that some cell is evaluated on or asks.
IMAGES = [
    f"<results>/images/{dataset}/images.json"
    for dataset in dict.fromkeys(
        [name for pool in POOLS for name in settings.pools[pool].read]
        + [settings.options(c.method)["dataset"] for c in MADE if entry(c.method).other_domain]
    )
]
# Cells with one learner, or one record, share it: each by the first of them.
MADE_AS = settings.first_alike(MADE, across_shots=True)
MEASURED_AS = settings.first_alike([c for c in CELLS if settings.pools[c.pool].measured], across_shots=False)
LEARNERS = [f"{learner_folder(c)}/learner.safetensors" for c in dict.fromkeys(MADE_AS.values())]
EVALUATIONS = [
    f"<results>/evaluation/{c.pool}/{c.method}/{c.shots}shot/seed{c.seed}"
    for c in dict.fromkeys(MEASURED_AS.values())
]
RECORDS = [f"{folder}/record.json" for folder in EVALUATIONS]
ACCURACIES = [f"{folder}/accuracies.npz" for folder in EVALUATIONS]
SHARED = [[c.pool, c.method, c.shots, c.seed, own.pool] for c, own in MEASURED_AS.items() if c != own]
ZOOS = list(
    dict.fromkeys(
        f"<results>/zoo/{dataset}/{network}/seed{seed}/zoo.json"
        for pool in POOLS
        for dataset in settings.pools[pool].datasets
        for network in settings.pools[pool].networks
        for seed in settings.seeds
    )
)
IMPORTED = [
    f"<results>/zoo/{zoo}/zoo.json"
    for zoo in dict.fromkeys(name for pool in POOLS for name in settings.pools[pool].zoos)
]
INVERSIONS = [
    f"<results>/inversion/{pool}/{inverter}/seed{seed}/inversion.json"
    for pool, inverter in BANKS
    for seed in settings.seeds
]
# The bank whose images the report shows, and the zoos of its pool in the order in which that unites them.
SHOWN_BANK = [str(Path(file).with_name("bank.npz")) for file in INVERSIONS[:1]]
SHOWN_ZOOS = [
    f"<results>/zoo/{dataset}/{network}/seed{FIRST_SEED}/zoo.json"
    for pool, _ in BANKS[:1]
    for dataset in settings.pools[pool].datasets
    for network in settings.pools[pool].networks
] + [f"<results>/zoo/{zoo}/zoo.json" for pool, _ in BANKS[:1] for zoo in settings.pools[pool].zoos]
# Timing one pool answers the question, and from-scratch inversion is slow.
SPEEDS = [f"<results>/inversion/{pool}/speed.json" for pool, inverter in BANKS if inverter == "five"][:1]


# Files of the classes that learners are evaluated on: those of the learning curve, those of the tables.
EVALUATED = list(dict.fromkeys(["meta_val.npz", f"{settings.evaluation.split}.npz"]))


def images_per_class(dataset):
    """Fewest images that a class of a data set has to have: support and query images of an episode of evaluation."""
    return evaluation_shots(settings, dataset) + settings.evaluation.queries


def table_grid():
    """(pool, method, reason, shots) of every pair asked for, in table order; the reason why it cannot run, or None."""
    rows = []
    for pool in [
        name for name in settings.pools if settings.selected(name) and settings.pools[name].measured
    ]:
        for method in settings.selected(pool):
            reason = settings.inapplicable(pool, method)
            rows.append([pool, method, reason, settings.shots_of(pool, method)])
    return rows


# ---- what a job reads


def image_sources(wildcards):
    """Files that a data set is made from; the images of a folder or an archive are watched by `image_listing`."""
    dataset = settings.datasets[wildcards.dataset]
    if dataset.source == "embedded":
        stem = EMBEDDED_FILES[wildcards.dataset]
        return [f"{EMBEDDED}/{stem}.npz", f"config/splits/{stem}.json"]
    if dataset.source in KNOWN:
        return [f"config/splits/{dataset.source}.json"]
    return [str(file) for file in split_files(Path(dataset.split).expanduser())] if dataset.split else []


@cache
def copy_digest(path, source):
    """Digest of names and contents of all that lies at a path; what names alone show to be wrong is an error."""
    place = Path(path).expanduser()
    check_listing(place, source)
    return fingerprint(place, Path(".snakemake/images", f"{digest_json(str(place.absolute()))}.json"))


def image_listing(wildcards):
    """Digest of what a data set's path holds, so that added or changed images are seen; None for embedded data.

    A dry run plans without a copy of a public data set, so that a configuration can be looked at before one has it.
    """
    dataset = settings.datasets[wildcards.dataset]
    if dataset.path is None:
        return None
    known = KNOWN.get(dataset.source)
    if known and workflow.dryrun and not Path(dataset.path).expanduser().exists():
        return None
    try:
        return copy_digest(dataset.path, dataset.source)
    except DataError as error:
        needed = f"; needed is {known.layouts} (from {known.page})" if known else ""
        raise SystemExit(f"datasets.{wildcards.dataset}: {error}{needed}") from None


def is_evaluated(wildcards):
    """Whether a data set is in a pool; others are only asked, and may be pictures without classes."""
    return any(wildcards.dataset in settings.pools[pool].read for pool in POOLS)


def pool_zoos(*names):
    """Input function: the files `names` of every zoo in the job's pool."""

    def files(wildcards):
        pool = settings.pools[wildcards.pool]
        seed = wildcards.get("seed", FIRST_SEED)
        trained = collect(
            "<results>/zoo/{dataset}/{network}/seed{seed}/{name}",
            dataset=pool.datasets,
            network=pool.networks,
            seed=seed,
            name=names,
        )
        imported = [name for name in names if name not in JUDGES]  # which only zoos of our own have
        return trained + collect("<results>/zoo/{zoo}/{name}", zoo=pool.zoos, name=imported)

    return files


def card_path(zoo):
    """The card of an imported zoo."""
    return Path(settings.zoos[zoo].card).expanduser()


def card_files(zoo):
    """The files that its models are made of: weights, and code beside the card."""
    return settings.card(zoo).files(card_path(zoo).parent)


def pool_images(*names):
    """Input function: the files `names` of every data set in the job's pool."""

    def files(wildcards):
        return collect(
            "<results>/images/{dataset}/{name}", dataset=settings.pools[wildcards.pool].measured, name=names
        )

    return files


def cell_zoos(name):
    """Input function: the file `name` of every zoo that the cell's method is given."""
    files = pool_zoos(name)
    return lambda wildcards: files(wildcards) if entry(wildcards.method).needs_zoo else []


def cell_learner(name):
    """Input function: the file `name` of the cell's learner, which may have been made for another cell."""
    return lambda wildcards: f"{learner_folder(MADE_AS.get(cell(wildcards), cell(wildcards)))}/{name}"


def cell_inversion(wildcards):
    """Input function: what the `invert` rule made of the cell's pool, if its method starts from that."""
    if not entry(wildcards.method).needs_inversion(cell_options(wildcards)):
        return []
    return collect(
        "<results>/inversion/{pool}/{inverter}/seed{seed}/{name}",
        pool=wildcards.pool,
        inverter=settings.bank_of(wildcards.method),
        seed=wildcards.seed,
        name=["inversion.json", "generator.safetensors", "bank.npz"],
    )


def cell_base(wildcards):
    """Input function: the learner that the cell's method begins with, if its setting `start` names a method."""
    base = settings.base_of(wildcards.method)
    if not base:
        return []
    own = replace(cell(wildcards), method=base)
    made = MADE_AS.get(own, own)
    return collect(
        "{folder}/{name}",
        folder=learner_folder(made),
        name=["learner.json", "learner.safetensors", "history.csv"],
    )


def cell_images(wildcards):
    """Input function: real meta-train images for a method that stands outside the data-free wall, else nothing."""
    method, names = entry(wildcards.method), ("images.json", "meta_train.npz")
    if not method.reads_real_images:
        return []
    if not method.other_domain:
        return pool_images(*names)(wildcards)
    return collect(
        "<results>/images/{dataset}/{name}", dataset=cell_options(wildcards)["dataset"], name=names
    )
