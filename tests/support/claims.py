"""A comparison of a claim, declared in few words."""

from typing import Any

from dfml.results.claims.declared import Comparison

TEST = {"experiment": "one", "of": "free", "pool": "single", "rule": "finetune", "seeds": 3}


def comparison(**changes: Any) -> Comparison:
    """Of ``free`` with ``random``; ``changes`` replace keys."""
    return Comparison(**(TEST | {"against": ({"method": "random"},), "more_than": 0.0} | changes))
