"""Digests of settings and tensors."""

import numpy as np
import pytest
import torch

from dfml.runtime.digests import digest_json, digest_tensors


def test_json_digest_sees_values_but_not_the_order_of_keys():
    assert digest_json({"a": 1, "b": [1, 2.5, None]}) == digest_json({"b": (1, 2.5, None), "a": 1})
    assert digest_json({"a": 1}) != digest_json({"a": 2})
    assert digest_json({"a": [1, 2]}) != digest_json({"a": [2, 1]})
    assert len(digest_json({})) == 64
    with pytest.raises(ValueError):
        digest_json(float("nan"))


def test_tensor_digest_sees_names_types_shapes_and_bits():
    x = torch.arange(6, dtype=torch.float32)
    digests = {
        digest_tensors({"x": x}),
        digest_tensors({"y": x}),
        digest_tensors({"x": x.double()}),
        digest_tensors({"x": x.reshape(2, 3)}),
        digest_tensors({"x": x.reshape(2, 3).T}),
        digest_tensors({"x": -x}),
        digest_tensors({"x": torch.zeros(0)}),
        digest_tensors({}),
    }
    assert len(digests) == 8
    assert digest_tensors({"x": torch.tensor(0.0)}) != digest_tensors({"x": torch.tensor(-0.0)})


def test_tensor_digest_ignores_order_memory_layout_and_library():
    x, y = torch.arange(6.0).reshape(2, 3), torch.tensor([True, False])
    expected = digest_tensors({"x": x, "y": y})
    assert digest_tensors({"y": y, "x": x}) == expected
    assert digest_tensors({"x": x.T.contiguous().T, "y": y.requires_grad_(False)}) == expected
    assert digest_tensors({"x": x.numpy(), "y": y.numpy()}) == expected
    assert digest_tensors({"x": np.asfortranarray(x.numpy()), "y": y}) == expected


def test_bfloat16_scalars_and_text_have_digests_and_objects_have_none():
    assert digest_tensors({"x": torch.ones(3, dtype=torch.bfloat16)})
    assert digest_tensors({"x": torch.tensor(1)}) != digest_tensors({"x": torch.tensor([1])})
    assert digest_tensors({"x": np.array(["a", "b"])})
    with pytest.raises(TypeError, match="Python objects"):
        digest_tensors({"x": np.array([{}])})
