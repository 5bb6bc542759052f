"""Labels of any kind name classes; what is missing or mixed is told."""

import numpy as np
import pytest
import torch

from dfml.errors import DataError
from dfml.use.labels import read_labels


@pytest.mark.parametrize(
    "labels", [[3, -1, 3], (3, -1, 3), np.array([3, -1, 3], np.int16), torch.tensor([3, -1, 3]), np.array([3, -1, 3])]
)
def test_whole_numbers_are_names(labels):
    names, places = read_labels(labels, 3)
    assert (names, places) == ([-1, 3], [1, 0, 1])
    assert all(type(name) is int for name in names)


@pytest.mark.parametrize("labels", [["b", "ä", "b"], np.array(["b", "ä", "b"]), np.array(["b", "ä", "b"], object)])
def test_texts_are_names(labels):
    assert read_labels(labels, 3) == (["b", "ä"], [0, 1, 0])


def test_numbers_of_numpy_and_torch_in_a_list_are_whole_numbers():
    assert read_labels([np.int64(1), torch.tensor(0), 1], 3) == ([0, 1], [1, 0, 1])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, None, 1], "the label of image 1 is missing"),
        ({"a.png": "cat", "b.png": "dog", "c.png": "dog"}, "labels must be a list, an array or a tensor"),
        ([torch.tensor([1, 2])] * 3, "the label of image 0 is tensor"),
        (["a", "", "b"], "the label of image 1 is missing"),
        ([0, float("nan"), 1], "the label of image 1 is missing"),
        ([0, 0.5, 1], "the label of image 1 is 0.5; labels are whole numbers or texts"),
        (torch.tensor([0.0, 1.0, 1.0]), "the label of image 0 is 0.0"),
        ([True, False, True], "the label of image 0 is True"),
        (["a", "b\x1b", "c"], "the label of image 1, .* is no name"),
        ([0, 2**64, 1], "beyond 64 bits"),
        ([0, "a", 1], "some labels are whole numbers and some are texts"),
        ([0, 1], "there are 3 images and 2 labels"),
        ([0, 1, 0, 1], "there are 3 images and 4 labels"),
        ([], "there are 3 images and 0 labels"),
        (["cat", "cat", "cat"], "all images have the label 'cat': a classifier needs at least two classes"),
        ("cat", "labels must be a list, an array or a tensor"),
        (None, "labels must be a list, an array or a tensor"),
        (torch.eye(3).long(), r"labels must have one dimension, not shape \(3, 3\)"),
        (torch.tensor(1), r"labels must have one dimension, not shape \(\)"),
    ],
)
def test_misuse_is_told(labels, message):
    with pytest.raises(DataError, match=message):
        read_labels(labels, 3)


@pytest.mark.parametrize("kind", [list, np.array])
def test_one_name_in_two_unicode_forms_is_one_class(kind):
    names, places = read_labels(kind(["caf\u00e9", "tea", "cafe\u0301"]), 3)
    assert (names, places) == (["caf\u00e9", "tea"], [0, 1, 0])
