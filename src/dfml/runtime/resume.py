"""Where a job keeps its resume file: beside the results, never among them."""

from pathlib import Path


def resume_path(folder: Path) -> Path:
    """The resume file of the job that makes ``results/{experiment}/…``: ``results/{experiment}/resume/….pt``.

    No parameter of the job, whose value would name the experiment: the cache between workflows goes by parameters, and
    experiments are to share what is equal.
    """
    results, experiment, *rest = folder.parts
    return Path(results, experiment, "resume", *rest[:-1], f"{rest[-1]}.pt")
