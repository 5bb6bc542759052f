"""What a dry run prints: all that is planned, in one screen."""

import pytest


@pytest.mark.parametrize("config", ["config", "methods"])
def test_a_dry_run_says_in_a_screen_what_is_planned(fresh, config):
    run = fresh.dry_run("--configfile", f"config/{config}.yaml")
    assert len(run.output.splitlines()) <= 56
    assert run.jobs["meta_learn"] > 1 and run.jobs["build_report"] == 1
    assert "output files have to be generated" in run.output
