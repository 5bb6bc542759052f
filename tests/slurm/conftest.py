"""The cluster of all tests here, and Snakemake on its login node."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.cluster import Cluster, obstacle
from slurm.head import Head


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """SLURM with one node; skips where none can be started."""
    if reason := obstacle():
        pytest.skip(reason)
    # Not in pytest's own folder, whose path may be too long for the name of a socket.
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(cluster.folder, ignore_errors=True)


@pytest.fixture
def head(cluster, tmp_path) -> Iterator[Head]:
    """Snakemake in an empty folder."""
    head = Head(tmp_path, cluster)
    yield head
    head.stop()
