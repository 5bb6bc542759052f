"""One method on one zoo, without Snakemake: ``python examples/one_method.py ZOO IMAGES METHOD LEARNER [CONFIG ...]``.

ZOO and IMAGES are folders that a run made, such as results/demo/zoo/icons_colour/conv4/seed0 and
results/demo/images/icons_colour. METHOD is a name of docs/methods/README.md, or one that a CONFIG names in
`custom_methods`; CONFIG files are laid over config/config.yaml. The learner goes into the folder LEARNER, which
`dfml.load` takes, and its accuracies on meta-test episodes are printed.

There is no data-free wall here: a method that opens images is not stopped.
"""

import sys
from pathlib import Path

import torch

from dfml.artefacts.base import Cell
from dfml.catalogue import entry
from dfml.config.load import load_config
from dfml.data.images import load_images
from dfml.errors import DfmlError
from dfml.evaluation.episodes import EpisodeSet, episode_accuracies
from dfml.evaluation.intervals import interval95
from dfml.jobs.job import Job
from dfml.jobs.progress import NullProgress
from dfml.metalearning.store import load_learner
from dfml.methods.base import Context
from dfml.methods.stage import fit_cell
from dfml.networks.custom import register_networks
from dfml.zoo.imported.card import register_cards

SHOTS, SEED = 1, 0


def main(zoo: Path, images: Path, method: str, learner: Path, *overlays: str) -> None:
    """Fit the method, keep the learner, print what it reaches on the fixed episodes."""
    config = load_config(["config/config.yaml", *overlays])
    register_networks(config.custom_networks)
    register_cards(zoo.card for zoo in config.zoos.values())
    facts, options = entry(method), config.options(method)
    if facts.needs_inversion(options) or config.base_of(method):
        raise DfmlError(f"{method} begins with what other jobs make; run it with snakemake")

    job = Job("one_method", threads=2, gpu=int(torch.cuda.is_available()), progress=NullProgress())
    context = Context(
        cell=Cell("one_zoo", method, SHOTS, SEED),
        ways=config.ways,
        label_space=config.label_space,
        learner=config.learner_of(method),
        access=facts.needed_access(options),
        settings=config.section(method),
        adapts=facts.learner,
        zoos=[zoo],
        inversion=None,
        base=None,
        images=[images] if facts.reads_real_images else [],
        inversion_settings=config.inversion_of(method) if facts.inverts is not None else None,
        job=job,
    )
    learner.mkdir(parents=True, exist_ok=True)
    own = config.custom_methods.get(method)
    fit_cell(context, learner, fit=Path(own).expanduser() if own else facts.fit, code="")

    evaluation = config.evaluation
    _, iterates = load_learner(
        learner,
        steps=evaluation.adaptation_steps,
        learning_rate=evaluation.adaptation_learning_rate,
        device=job.device,
    )
    episodes = EpisodeSet.draw(
        load_images(images / "meta_test.npz"),
        ways=config.ways,
        shots=SHOTS,
        settings=evaluation,
        count=evaluation.episodes,
        device=job.device,
    )
    accuracies = episode_accuracies(iterates[-1].for_domain(episodes.dataset), episodes)
    for (rule, batch_norm), percent in accuracies.items():
        sys.stdout.write(f"{rule}, {batch_norm}: {percent.mean():.2f} ± {interval95(percent):.2f} %\n")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), *sys.argv[5:])
    except DfmlError as error:
        sys.exit(str(error))
