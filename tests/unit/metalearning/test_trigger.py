"""When BiDf-MKD asks for another model: accuracies are scripted."""

import pytest
import torch

from dfml.metalearning.patience import Trigger
from support.zoo import CPU


def events(accuracies, patience, *, resume_at=None):
    """The steps before which the trigger fires, while the steps reach ``accuracies``."""
    trigger, fired = Trigger(patience, CPU), []
    for step, accuracy in enumerate(accuracies):
        if step == resume_at:
            state, trigger = trigger.state(), Trigger(patience, CPU)
            trigger.load_state(state)
        if trigger.fires():
            fired.append(step)
        trigger.take(torch.tensor(accuracy))
    return fired


def test_a_constant_accuracy_fires_after_patience_and_one_steps():
    # The first sets the record; then as many as the patience do not beat it.
    assert events([0.5] * 12, 3) == [0, 4, 8]


def test_steady_progress_never_fires_again():
    assert events([step / 20 for step in range(20)], 2) == [0]


def test_an_improvement_in_between_starts_the_count_anew():
    assert events([0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.2, 0.9], 3) == [0, 7]


def test_an_event_begins_a_new_record():
    # 0.9 is never reached again, yet 0.2, 0.3, 0.4 count as progress after the event.
    assert events([0.9, 0.1, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.5], 2) == [0, 3, 8]


@pytest.mark.parametrize("resume_at", range(1, 9))
def test_a_resumed_one_fires_at_the_same_steps(resume_at):
    accuracies = [0.9, 0.1, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.5]
    assert events(accuracies, 2, resume_at=resume_at) == [0, 3, 8]


def test_accuracies_are_read_only_where_an_event_could_be(monkeypatch):
    reads = []
    stack = torch.stack
    monkeypatch.setattr(torch, "stack", lambda values: reads.append(len(values)) or stack(values))
    # Each block is as long as the patience that is left: 3, then what progress gave back.
    assert events([0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.3], 3) == [0]
    assert reads == [3, 3]
