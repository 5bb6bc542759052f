"""The benchmarks of forms: each takes the plain loop's step, the fastest goes into the table.

Those of inversion are held against the plain loop in ``test_benchmarks.py``.
"""

import pytest
import torch

from benchmarks import episodes, forms, inversion
from benchmarks.pools import GENERATOR_WIDTH, published_five
from dfml.inversion import together
from dfml.metalearning.episode_forms import CANDIDATES, Shape


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_form_of_the_meta_step_takes_the_plain_loops_step(name):
    case = forms.in_form(episodes.case(32, episodes=2, width=8, rounds=1), name)
    device = torch.device("cpu")
    losses = []
    for arm in (case.ours, case.reference):
        work = getattr(episodes, arm.target.partition(":")[2])(device=device, **arm.options)
        losses.append([float(work()) for _ in range(2)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_fastest_form_of_each_shape_is_what_the_table_takes():
    chosen = forms.cases("cpu")
    shapes = len(chosen) // len(CANDIDATES)
    times = [10.0, 9.0, 8.0, 1.0, 7.0, 6.0, 5.0] * shapes
    lines = list(forms.fastest(chosen, [{"ours_ms": one} for one in times]))
    assert len(lines) == shapes == 2
    table = eval(f"{{{''.join(lines)}}}", {"Shape": Shape})
    assert set(table.values()) == {list(CANDIDATES)[3]}
    assert table[Shape(10, 5, 75, 32, 32)] == "closed_grouped"


def test_the_table_of_inversion_has_the_shapes_that_are_inverted():
    chosen = forms.inversion_cases("cuda")
    assert [case.ours.options["form"] for case in chosen] == 2 * list(together.CANDIDATES)
    lines = forms.fastest(chosen, [{"ours_ms": one} for one in (3.0, 1.0, 2.0, 1.0, 2.0, 3.0)])
    table = eval(f"{{{''.join(lines)}}}", {"InversionShape": together.InversionShape})
    five, images = published_five(), 5 * 20
    assert table == {
        (five.models_per_iteration, images, 32, GENERATOR_WIDTH): "grouped",
        (inversion.MODELS, images, 84, GENERATOR_WIDTH): "apart",
    }
