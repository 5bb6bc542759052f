"""Adapt one learner to the fixed meta-test episodes and record its accuracies."""

from pathlib import Path
from typing import Any

from dfml.evaluation.settings import EvaluationSettings
from dfml.evaluation.stage import evaluate
from dfml.jobs.job import Job, run_job
from dfml.networks.custom import register_networks
from dfml.zoo.imported.card import register_cards


def _main(snakemake: Any, job: Job) -> None:
    params = snakemake.params
    register_networks(job.untracked.custom_networks)
    register_cards(job.untracked.cards.values())
    evaluate(
        Path(snakemake.input.learner).parent,
        list(dict.fromkeys(Path(file).parent for file in snakemake.input.images)),
        Path(snakemake.output.record),
        cell=params.cell,
        experiment=params.experiment,
        ways=params.ways,
        settings=EvaluationSettings.model_validate(params.settings),
        config_digest=params.config_digest,
        job=job,
    )


run_job(snakemake, _main)
