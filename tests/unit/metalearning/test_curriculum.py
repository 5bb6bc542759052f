"""The gradient switch of PURER fires exactly when it should."""

import pytest
import torch

from dfml.metalearning.patience import Curriculum


def switches(curriculum, accuracies, first=0):
    """Iterations whose images are made harder; the accuracy of an iteration is known after its images moved."""
    fired = []
    for iteration, accuracy in enumerate(accuracies, first):
        if curriculum.harder():
            fired.append(iteration)
        curriculum.observe(iteration, torch.tensor(accuracy))
    return fired


def test_the_iteration_after_the_patience_was_used_up():
    #             best  1    2    best 1    2    3
    accuracies = [0.5, 0.5, 0.4, 0.6, 0.6, 0.1, 0.2, 0.9, 0.9]
    assert switches(Curriculum(0, 3), accuracies) == [7]


def test_the_record_begins_anew_after_a_switch():
    # Without a new record 0.3 would not beat 0.9, and iteration 5 would be harder, too.
    assert switches(Curriculum(0, 2), [0.9, 0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.4]) == [3, 7]


def test_nothing_counts_before_it_is_due():
    assert switches(Curriculum(4, 2), [0.9, 0.1, 0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.0]) == [8]


def test_a_steady_improvement_is_left_alone():
    assert switches(Curriculum(0, 1), [n / 50 for n in range(50)]) == []


def test_null_switches_it_off():
    assert switches(Curriculum(None, 1), [0.5] * 20) == []


def test_the_host_reads_only_what_could_decide():
    class Watched(float):
        def __float__(self):
            read.append(now)
            return float.__add__(self, 0.0)

    read, curriculum = [], Curriculum(0, 3)
    for now, accuracy in enumerate([0.5, 0.4, 0.3, 0.2, 0.1, 0.1]):
        curriculum.harder()
        curriculum.observe(now, Watched(accuracy))
    # Three at once; two of them waited, so one more may be the last; then the record is new.
    assert read == [3, 3, 3, 4]


@pytest.mark.parametrize("cut", range(9))
def test_a_resumed_record_switches_at_the_same_iterations(cut):
    accuracies = [0.5, 0.5, 0.4, 0.6, 0.6, 0.1, 0.2, 0.1, 0.1, 0.1]
    expected = switches(Curriculum(0, 2), accuracies)
    first, second = Curriculum(0, 2), Curriculum(0, 2)
    fired = switches(first, accuracies[:cut])
    second.load_state(first.state())
    assert fired + switches(second, accuracies[cut:], cut) == expected
    assert expected == [3, 6, 9]
