"""When replay stops, when BiDf-MKD asks for another model and when PURER's images are made harder."""

import pytest
import torch

from dfml.compute.state import collect, restore
from dfml.metalearning.patience import Patience


def fired(make, accuracies, *, resume_at=None):
    """The steps before which the patience is used up, while the steps reach ``accuracies``."""
    patience, found = make(), []
    for step, accuracy in enumerate(accuracies):
        if step == resume_at:
            state, patience = collect(patience), make()
            restore(patience, state)
        if patience.used_up():
            found.append(step)
        patience.take(torch.tensor(accuracy))
    return found


def at_once(limit):
    return lambda: Patience(limit, at_once=True)


def test_values_that_do_not_beat_the_best_count():
    patience, over = Patience(2), []
    for value in (1.0, 1.0, 2.0, 1.5, 2.0):
        patience.take(value)
        over.append(patience.used_up())
    assert over == [False, False, False, False, True]


def test_a_constant_accuracy_fires_after_patience_and_one_steps():
    # The first sets the record; then as many as the patience do not beat it.
    assert fired(at_once(3), [0.5] * 12) == [0, 4, 8]
    assert fired(lambda: Patience(3), [0.5] * 12) == [4, 8]


def test_steady_progress_never_fires_again():
    assert fired(at_once(2), [step / 20 for step in range(20)]) == [0]
    assert fired(lambda: Patience(1), [step / 50 for step in range(50)]) == []


def test_an_improvement_in_between_starts_the_count_anew():
    assert fired(at_once(3), [0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.2, 0.9]) == [0, 7]
    #                                    best  1    2    best 1    2    3
    assert fired(lambda: Patience(3), [0.5, 0.5, 0.4, 0.6, 0.6, 0.1, 0.2, 0.9, 0.9]) == [7]


def test_firing_begins_a_new_record():
    # 0.9 is never reached again, yet 0.2, 0.3, 0.4 count as progress after the event.
    assert fired(at_once(2), [0.9, 0.1, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.5]) == [0, 3, 8]
    # Without a new record 0.3 would not beat 0.9, and step 5 would be one, too.
    assert fired(lambda: Patience(2), [0.9, 0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.4]) == [3, 7]


def test_nothing_counts_before_it_is_due():
    assert fired(lambda: Patience(2, after=4), [0.9, 0.1, 0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.0]) == [8]


def test_null_switches_it_off():
    assert fired(lambda: Patience(1, after=None), [0.5] * 20) == []


@pytest.mark.parametrize("at", range(10))
@pytest.mark.parametrize(
    ("make", "expected"),
    [(at_once(2), [0, 3, 6, 9]), (lambda: Patience(2), [3, 6, 9]), (lambda: Patience(2, after=3), [6, 9])],
)
def test_a_resumed_one_fires_at_the_same_steps(make, expected, at):
    accuracies = [0.5, 0.5, 0.4, 0.6, 0.6, 0.1, 0.2, 0.1, 0.1, 0.1]
    assert fired(make, accuracies) == expected
    assert fired(make, accuracies, resume_at=at) == expected


@pytest.mark.parametrize("make", [at_once(3), lambda: Patience(3)])
def test_the_host_reads_only_what_could_decide(make):
    class Watched(float):
        def __float__(self):
            read.append(len(taken))
            return float.__add__(self, 0.0)

    read, taken, patience = [], [], make()
    for accuracy in [0.5, 0.4, 0.3, 0.2, 0.1, 0.1]:
        patience.used_up()
        patience.take(Watched(accuracy))
        taken.append(accuracy)
    # Three at once; two of them waited, so one more may be the last; then the record is new.
    assert read == [3, 3, 3, 4]
