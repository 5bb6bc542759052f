"""Zoos to invert, and what every inverter makes of them undisturbed."""

import pytest

from support.recoveries import INVERTERS, run
from support.zoo import write_random_zoo


@pytest.fixture(scope="module")
def zoos(tmp_path_factory):
    """Four models with two judges, and two of another architecture with one."""
    root = tmp_path_factory.mktemp("zoos")
    return [
        write_random_zoo(root / "a", judges=2),
        write_random_zoo(root / "b", architecture="other", models=2, seed=1),
    ]


@pytest.fixture(scope="module", params=INVERTERS)
def inverter(request):
    return request.param


@pytest.fixture(scope="module")
def undisturbed(zoos, inverter, tmp_path_factory):
    return run(zoos, tmp_path_factory.mktemp(inverter), inverter=inverter)
