"""Digests of settings."""

import pytest

from dfml.files.reading import digest_json


def test_json_digest_sees_values_but_not_the_order_of_keys():
    assert digest_json({"a": 1, "b": [1, 2.5, None]}) == digest_json({"b": (1, 2.5, None), "a": 1})
    assert digest_json({"a": 1}) != digest_json({"a": 2})
    assert digest_json({"a": [1, 2]}) != digest_json({"a": [2, 1]})
    assert len(digest_json({})) == 64
    with pytest.raises(ValueError):
        digest_json(float("nan"))
