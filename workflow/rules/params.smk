# What a job is told: exactly the settings it uses, since a changed value makes it run again. Its files: common.smk.
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

from dfml.artefacts.base import Cell
from dfml.artefacts.images import MANIFEST, ImagesManifest, Wanted
from dfml.artefacts.receipt import Receipt
from dfml.catalogue import entry
from dfml.config.wanted import needed_splits, real_episodes
from dfml.errors import DataError, FileFormatError
from dfml.files.reading import digest_json
from dfml.inversion.settings import Inverter
from dfml.jobs.provenance import digests, receipt_path
from dfml.zoo.settings import parts_of


def plain(section, **options):
    """A section of the configuration as plain values."""
    return section.model_dump(mode="json", **options)


def dataset_settings(wildcards):
    """Where the images of a data set come from."""
    return plain(settings.datasets[wildcards.dataset], exclude={"epochs", "recolour"})  # of its zoos


def wanted_of_dataset(wildcards):
    """What its images have to give; what they cannot is refused before anything is trained."""
    name = wildcards.dataset
    return Wanted(needed_splits(settings, name), images_per_class(name), real_episodes(settings, name))


def network_settings(wildcards):
    """The network of a zoo."""
    return plain(settings.networks[wildcards.architecture])


def zoo_settings(wildcards):
    """Zoo training without the recipe of the other family of networks."""
    own = settings.zoo.recipe_of(settings.networks[wildcards.architecture].family)
    return plain(settings.zoo_of(wildcards.dataset), exclude={"conv4", "resnet"} - {own})


def zoo_ranges(wildcards):
    """Which models of a zoo each of its jobs trains; none where one job trains them all."""
    network, zoo = settings.networks[wildcards.architecture], settings.zoo_of(wildcards.dataset)
    return parts_of(network, zoo, settings.runtime.models_per_job)


def zoo_positions(wildcards):
    """The first model that a job trains of a zoo made in parts, and the first that it does not train any more."""
    positions = zoo_ranges(wildcards)[int(wildcards.part)]
    return [positions.start, positions.stop]


SECTION_OF_INVERTER = {"gen_ce": "per_model", "gen_bn": "per_model"}
INVERTER_SECTIONS = {SECTION_OF_INVERTER.get(name, name) for name in get_args(Inverter)}


def inverter(wildcards):
    """The job's inverter without the name of a variant."""
    return wildcards.inverter.partition("-")[0]


def inversion_settings(wildcards):
    """Inversion with the section of the job's own inverter alone, and without what only the speed table uses."""
    others = INVERTER_SECTIONS - {SECTION_OF_INVERTER.get(inverter(wildcards), inverter(wildcards))}
    return plain(
        INVERSION_OF_BANK.get(wildcards.inverter, settings.inversion), exclude={"inverter", "speed"} | others
    )


def cell_inversion_settings(wildcards):
    """The inversion settings that a method uses; None for one that has nothing to do with recovered images."""
    used = entry(wildcards.method).inverts
    if used is None:
        return None
    return plain(settings.inversion_of(wildcards.method), exclude={"speed", *INVERTER_SECTIONS} - set(used))


def cell_network(wildcards):
    """The network that a method trains."""
    return plain(settings.learner_of(wildcards.method))


def cell(wildcards):
    """The cell itself. Being no plain value it is no reason to run again, and need not be: the paths name it too."""
    return Cell(wildcards.pool, wildcards.method, int(wildcards.shots), int(wildcards.seed))


def cell_method(wildcards):
    """What the catalogue says of the cell's method, as far as its learner depends on it."""
    return entry(wildcards.method).assignment(cell_options(wildcards))


def cell_options(wildcards):
    """The method's own section."""
    return settings.options(wildcards.method, wildcards.pool)


def recipes_of_zoos(wildcards):
    """How the zoos of its pool are trained."""
    pool = settings.pools[wildcards.pool]
    zoos = itertools.product(pool.datasets, pool.networks)
    return [zoo_settings(SimpleNamespace(dataset=dataset, architecture=network)) for dataset, network in zoos]


def recipes_of_banks(wildcards):
    """How the bank is made that the cell starts from, and that of the learner that it begins with."""
    methods = [wildcards.method, settings.base_of(wildcards.method)]
    started = [m for m in methods if m and entry(m).needs_inversion(settings.options(m, wildcards.pool))]
    return [inversion_settings(SimpleNamespace(inverter=settings.bank_of(m))) for m in started]


def cell_digest(wildcards):
    """Digest of every setting that the number of a cell depends on."""
    pool = settings.pools[wildcards.pool]
    method, options = entry(wildcards.method), cell_options(wildcards)
    foreign = [options["dataset"]] if method.other_domain else []
    base = settings.base_of(wildcards.method)
    return digest_json(
        {
            "cell": dict(wildcards.items()),
            "ways": config["ways"],
            "label_space": config["label_space"],
            "datasets": {name: config["datasets"][name] for name in [*pool.read, *foreign]},
            "networks": {name: config["networks"][name] for name in pool.networks if pool.datasets},
            "learner": cell_network(wildcards),
            "zoo": recipes_of_zoos(wildcards) if method.needs_zoo else None,
            "inversion": [cell_inversion_settings(wildcards), *recipes_of_banks(wildcards)],
            "options": options,
            "base": settings.options(base, wildcards.pool) if base else None,
            "evaluation": config["evaluation"],
            **({"zoos": {name: card_digest(name) for name in pool.zoos}} if pool.zoos else {}),
        }
    )


def prepared_from_others(dataset):
    """Whether its images were prepared from another copy, by another split or with other settings: they will be again."""
    of_dataset = SimpleNamespace(dataset=dataset)
    receipt = receipt_path(
        Path("logs", settings.experiment, "prepare_images", f"{dataset}.log"), settings.experiment
    )
    try:
        before = Receipt.load(receipt)
    except FileFormatError:
        return False
    files = [file for file in image_sources(of_dataset) if Path(file).exists()]
    now = {"settings": dataset_settings(of_dataset), "listing": image_listing(of_dataset)}
    return before.inputs != digests(files) or any(before.settings.get(name) != now[name] for name in now)


def check_images():
    """Refuse more ways, shots or queries than images that were prepared earlier allow; new ones are checked then."""
    for dataset in {name for pool in POOLS for name in settings.pools[pool].read}:
        try:
            images = ImagesManifest.load(Path(RESULTS, "images", dataset, MANIFEST))
            images.check_enough(
                minimum_classes=settings.ways,
                minimum_images=images_per_class(dataset),
                needed=needed_splits(settings, dataset),
            )
            images.check_episodes(real_episodes(settings, dataset))
        except FileFormatError:
            continue  # not there yet, or damaged: the jobs that make and read it say so
        except DataError as error:
            if not prepared_from_others(dataset):
                raise SystemExit(f"datasets.{error}") from None


check_images()
