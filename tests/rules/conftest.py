"""A tiny experiment, run once: two methods on one pool of six narrow networks."""

import pytest

from support.workflow import Workflow

EXPERIMENT = "tiny"


@pytest.fixture(scope="session")
def ran(tmp_path_factory) -> Workflow:
    """Everything up to evaluation, really computed; not to be changed."""
    workflow = Workflow.tiny(tmp_path_factory.mktemp("tiny") / "workflow", EXPERIMENT)
    run = workflow.snakemake("--until", "evaluate", "--cores", "2")
    assert run.status == 0, run.output
    return workflow


@pytest.fixture
def again(ran, tmp_path) -> Workflow:
    """A copy of the tiny experiment to change."""
    return ran.duplicate(tmp_path / "workflow")
