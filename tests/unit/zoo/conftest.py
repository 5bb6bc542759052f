"""One model of a lab's, imported by itself."""

import pytest
import torch

from support.habits import NETWORKS
from support.lab import classes, model, taken, write_card, write_networks


@pytest.fixture
def imported(tmp_path):
    """Imports one model with the given facts into a zoo of its own; ``saved`` is what stands in its weights' file."""
    write_networks(tmp_path)
    with (tmp_path / "nets.py").open("a", encoding="utf-8") as file:
        file.write(NETWORKS)
    scope = {}
    exec((tmp_path / "nets.py").read_text(encoding="utf-8"), scope)

    def made(network, *, saved=None, **facts):
        torch.manual_seed(0)
        kept = network if network not in ("exits", "doubles", "parallel") else "Own"
        built = scope[kept](5)
        options = {"options": {"outputs": 5}, "classes": classes(5)}
        entry = model(tmp_path, "odd", built, f"nets.py:{network}", **(options | facts))
        if saved is not None:
            torch.save(saved(built.state_dict()), tmp_path / "odd.pt")
            entry["weights"] = "odd.pt"
        return taken(write_card(tmp_path, [entry]), tmp_path / "zoo"), built.eval()

    made.folder = tmp_path / "zoo"
    return made
