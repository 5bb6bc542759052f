"""Rounding as TF32 does, against what is known of it."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from benchmarks.tf32 import AsTF32, rounded
from support.learners import generator
from support.repository import ROOT

STEP = 2.0**-10  # between two numbers of 10 bits of mantissa from 1 on


def test_numbers_keep_ten_bits():
    given = torch.tensor([1 + STEP, 1 + 0.4 * STEP, 1 + 0.5 * STEP, -1 - 0.6 * STEP, 2 - STEP / 4, 0.0, float("inf")])
    known = torch.tensor([1 + STEP, 1.0, 1 + STEP, -1 - STEP, 2.0, 0.0, float("inf")])
    assert torch.equal(rounded(given), known)
    assert torch.equal(rounded(given.double()), given.double())
    finer = torch.tensor([1 + 0.4 * STEP, 1 + 0.5 * STEP])
    assert rounded(finer, 20).tolist() == [1 + round(0.4 * 2**10) * 2**-20, 1 + 0.5 * STEP]


def test_rounding_errs_by_half_a_step_at_most_and_to_both_sides():
    given = torch.randn(10_000, generator=generator(0))
    error = (rounded(given) / given - 1).double()
    assert error.abs().max() <= STEP / 2
    assert abs(error.mean()) < STEP / 100


DRAWN = [torch.randn(4, 3, 9, 9, generator=generator(1)), torch.randn(5, 3, 3, 3, generator=generator(2))]
MATRICES = [torch.randn(6, 7, generator=generator(3)), torch.randn(7, 8, generator=generator(4))]
PRODUCTS = {
    "convolution": (lambda a, b: F.conv2d(a, b, padding=1), DRAWN),
    "transposed convolution": (lambda a, b: F.conv_transpose2d(a[:, :, :1], b.transpose(0, 1)), DRAWN),
    "matrices": (torch.matmul, MATRICES),
    "linear": (lambda a, b: F.linear(a, b.T, torch.ones(8)), MATRICES),
    "batches": (lambda a, b: a.expand(2, 6, 7) @ b.expand(2, 7, 8), MATRICES),
    "added to": (lambda a, b: torch.ones(6, 8).addmm_(a, b), MATRICES),
    "a vector": (lambda a, b: a @ b[:, 0], MATRICES),
    "written to": (lambda a, b: torch.mm(a, b, out=torch.empty(6, 8)), MATRICES),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_factors_are_rounded_and_nothing_else(name):
    product, factors = PRODUCTS[name]
    with AsTF32():
        found = product(*factors)
    torch.testing.assert_close(found, product(*map(rounded, factors)), rtol=0, atol=1e-6)
    assert not torch.allclose(found, product(*factors), rtol=0, atol=1e-5)


def test_so_are_those_of_gradients():
    images, kernel = (x.clone().requires_grad_() for x in DRAWN)
    outer = torch.randn(4, 5, 7, 7, generator=generator(5))
    with AsTF32():
        found = torch.autograd.grad(F.conv2d(images, kernel), [images, kernel], outer)
    expected = torch.autograd.grad(F.conv2d(rounded(images), kernel), kernel, rounded(outer))
    torch.testing.assert_close(found[1], expected[0], rtol=0, atol=1e-5)
    expected = torch.autograd.grad(F.conv2d(images, rounded(kernel)), images, rounded(outer))
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("bits", "known"), [({}, "1.0"), ({"MANTISSA_BITS": "20"}, str(1 + 210 * 2**-20))])
def test_a_process_is_inside_from_beginning_to_end(bits, known):
    code = """
import threading, torch
product = lambda: print((torch.tensor([[1.0002]]) @ torch.tensor([[1.0]])).item())
product()
thread = threading.Thread(target=product)
thread.start()
thread.join()
"""
    paths = os.pathsep.join([str(ROOT / "benchmarks" / "as_tf32"), str(ROOT / "src")])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths} | bits,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout.split()) == (0, [known, known]), run.stderr
