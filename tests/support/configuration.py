"""What the configuration says: of a mapping that is wrong, and of colours."""

from typing import Any

import pytest

from dfml.config.load import validate_config
from dfml.config.root import Config
from dfml.errors import ConfigError


def problems(mapping: dict[str, Any]) -> list[str]:
    """The lines of the refusal, one for each problem, without the first, which counts them."""
    with pytest.raises(ConfigError) as caught:
        validate_config(mapping)
    head, *lines = str(caught.value).splitlines()
    assert head == f"config: {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    return [line.strip() for line in lines]


def recoloured(config: Config) -> set[str]:
    """Which parts learn from images in colours that they do not have: the zoo, and methods by what they replay."""
    pools = [config.pools[pool] for pool in {cell.pool for cell in config.cells()}]
    found = {"zoo"} if any(config.zoo_of(name).recolour for pool in pools for name in pool.datasets) else set()
    options = {cell.method: config.options(cell.method, cell.pool) for cell in config.cells()}
    episodes = {method: own if "domains" in own else own.get("replay", {}) for method, own in options.items()}
    return found | {method for method, own in episodes.items() if own.get("recolour")}


# What a job is told of the configuration beside its parameters, as Snakemake hands it over.
UNTRACKED = {
    "experiment": "demo",
    "runtime": {"checkpoint_every": 20, "tf32": False},
    "datasets": {},
    "custom_methods": {},
    "custom_networks": {},
    "zoos": {},
    "ways": 5,
}
