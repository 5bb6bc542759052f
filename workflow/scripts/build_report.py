"""Build the report with a second Snakemake: it describes finished jobs, and this one is not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from dfml.errors import DfmlError
from dfml.files.atomic import atomic_write
from dfml.jobs.job import Job, run_job


def _main(snakemake: Any, job: Job) -> None:
    report, config = Path(snakemake.output.report), Path(snakemake.output.config)
    # The whole configuration of this run, which its files alone would not give after `--config key=value`.
    atomic_write(config, yaml.safe_dump(snakemake.params.config, sort_keys=False).encode())
    snakefile = Path(snakemake.scriptdir).parent / "Snakefile"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--nolock", "--cores", "1"]
    command += ["--report", str(report), "--report-stylesheet", str(snakefile.parent / "report" / "page.css")]
    # The list of configuration files would swallow a target that follows it.
    command += ["--configfile", str(config), "--", "results"]
    with Path(snakemake.log[0]).open("a", encoding="utf-8") as log:
        status = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    if status:
        raise DfmlError(f"the report could not be built; {snakemake.log[0]} says why")


run_job(snakemake, _main)
