"""The undisturbed run that every faulty one must end like."""

import pytest

from faults.experiment import EXPERIMENT, Experiment
from support.comparable import digests
from support.workflow import Workflow


@pytest.fixture(scope="session")
def reference(tmp_path_factory) -> Experiment:
    """Everything from images to the report, undisturbed; not to be changed.

    Jobs save at every step and have steps enough to be hit between the first and the last, on a fast machine too.
    """
    workflow = Workflow.tiny(
        tmp_path_factory.mktemp("faults") / "reference",
        EXPERIMENT,
        zoo={"models": 8, "epochs": 3},
        inversion={"five": {"iterations": 12, "warmup": 2, "steps": 4}},
        free={"iterations": 12},
        runtime={"checkpoint_every": 1},
    )
    run = workflow.snakemake("--cores", "2")
    assert run.status == 0, run.output
    return Experiment(workflow.folder)


@pytest.fixture(scope="session")
def undisturbed(reference) -> dict[str, str]:
    """Its digests."""
    return digests(reference.results)


@pytest.fixture
def experiment(reference, tmp_path) -> Experiment:
    """A copy of it to disturb."""
    return reference.duplicate(tmp_path / "workflow")
