"""Workflows whose DAG is looked at: a fresh one, and one in which everything was done."""

import pytest

from support.workflow import SEVERAL_ARCHITECTURES, Workflow


@pytest.fixture
def fresh(tmp_path) -> Workflow:
    """A copy in which nothing has run."""
    return Workflow.copied_to(tmp_path / "fresh")


@pytest.fixture(scope="session")
def done_once(tmp_path_factory) -> Workflow:
    """The default experiment with both of its pools and two seeds, all outputs in place; not to be changed."""
    workflow = Workflow.copied_to(tmp_path_factory.mktemp("done") / "workflow")
    workflow.configure(seeds=[0, 1], pools=SEVERAL_ARCHITECTURES)
    workflow.pretend_all_is_done()
    return workflow


@pytest.fixture
def done(done_once, tmp_path) -> Workflow:
    """A copy of the finished experiment to change."""
    return done_once.duplicate(tmp_path / "workflow")
