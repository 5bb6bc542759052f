# What the machine has for jobs, and what is shown of them.
import sys

from snakemake.logging import logger

from dfml.compute.device import gpu_is_visible
from dfml.jobs.display import show_run

# GPUs a training job asks for. None on a machine without, so that the cap in the profile binds GPU jobs only and
# CPU jobs run side by side.
GPU = int(gpu_is_visible())


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
    try_networks()
    show_run(
        logger, [about.name.lower() for about in workflow.output_settings.quiet or ()], len(workflow.dag)
    )


onerror:
    print(
        f"Logs of the jobs: logs/{settings.experiment}/. Finished work is kept; the same command goes on.",
        file=sys.stderr,
    )
