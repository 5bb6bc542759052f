# What the machine has for jobs, and what is shown of them.
import sys

from snakemake.logging import logger

from dfml.compute.cuda import look_for_cuda
from dfml.jobs.display import show_run

CUDA = look_for_cuda()
# GPUs a training job asks for. None where no GPU can be used, so that the cap in the profile binds GPU jobs only and
# CPU jobs run side by side.
GPU = int(CUDA.gpus > 0)


onstart:
    if unmeasured := [name for name in POOLS if not settings.pools[name].measured]:
        print(
            f"No data set to evaluate on: learners of {', '.join(unmeasured)} are made, and nothing says how good they are "
            "(`pools.*.evaluate`).",
            file=sys.stderr,
        )
    # Snakemake's limit of jobs per second, meant for clusters, looks again at all jobs a second after each that ended, and
    # so on for ever: half a core after some hundreds.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
        logger.info(CUDA.line(asked=workflow.scheduler.global_resources.get("gpu", 1) > 0))
    try_networks()
    quiet = [about.name.lower() for about in workflow.output_settings.quiet or ()]
    show_run(logger, quiet, workflow.dag.stats()[1]["total"])


onerror:
    print(
        f"Logs of the jobs: logs/{settings.experiment}/. Finished work is kept; the same command goes on.",
        file=sys.stderr,
    )
