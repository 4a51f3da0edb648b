"""Optimisers on functions whose optimum is known."""

from __future__ import annotations

import math

import pytest
import torch

from pcm.infer.optimise import climb, polish

F64 = torch.float64


def of(function):
    def evaluate(point):
        point = point.detach().requires_grad_()
        value = function(point)
        return float(value.detach()), torch.autograd.grad(value, point)[0]

    def hessian(point):
        return torch.autograd.functional.hessian(function, point)

    return evaluate, hessian


def rosenbrock(x):
    return -100.0 * (x[1] - x[0] ** 2) ** 2 - (1.0 - x[0]) ** 2


@pytest.mark.parametrize("start", [[-1.2, 1.0], [3.0, -4.0]])
def test_rosenbrock(start):
    evaluate, hessian = of(rosenbrock)
    found = climb(evaluate, torch.tensor(start, dtype=F64))
    assert found.converged and found.iterations < 100
    torch.testing.assert_close(found.point, torch.ones(2, dtype=F64), rtol=0, atol=1e-4)
    mode = polish(evaluate, hessian, torch.tensor(start, dtype=F64))
    assert mode.converged and mode.flat is None and mode.iterations < 60
    torch.testing.assert_close(mode.point, torch.ones(2, dtype=F64), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        mode.precision, torch.tensor([[802.0, -400.0], [-400.0, 200.0]], dtype=F64), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e8])
def test_badly_scaled_bowl(size):
    curvature = size * torch.logspace(-4, 4, 9, dtype=F64)
    evaluate, hessian = of(lambda x: -0.5 * (curvature * (x - 1.0) ** 2).sum() - 1e6)
    mode = polish(evaluate, hessian, torch.zeros(9, dtype=F64))
    assert mode.converged and mode.flat is None
    torch.testing.assert_close(mode.point, torch.ones(9, dtype=F64), rtol=0, atol=1e-9)


def test_walls_are_stepped_over():
    evaluate, _ = of(lambda x: 3.0 * x[0].log() - x[0])  # NaN below 0
    found = climb(evaluate, torch.tensor([40.0], dtype=F64), tolerance=1e-14)
    assert float(found.point) == pytest.approx(3.0, abs=1e-5)


def test_newton_leaves_a_saddle():
    evaluate, hessian = of(lambda x: -((x[0] ** 2 - 1.0) ** 2) - x[1] ** 2)
    mode = polish(evaluate, hessian, torch.zeros(2, dtype=F64))
    assert mode.converged and abs(float(mode.point[0])) == pytest.approx(1.0, abs=1e-9)


def test_a_ridge_is_flat_along_its_crest():
    evaluate, hessian = of(lambda x: -((x[0] + 2.0 * x[1] - 1.0) ** 2))
    mode = polish(evaluate, hessian, torch.zeros(2, dtype=F64))
    assert mode.flat is not None
    assert float(mode.flat[0] / mode.flat[1]) == pytest.approx(-2.0)
    assert float(mode.point[0] + 2.0 * mode.point[1]) == pytest.approx(1.0)


def test_the_start_can_be_the_optimum():
    evaluate, hessian = of(lambda x: -(x**2).sum())
    assert climb(evaluate, torch.zeros(3, dtype=F64)).converged
    assert polish(evaluate, hessian, torch.zeros(3, dtype=F64)).iterations == 1


def test_steps_are_told():
    heights = []
    evaluate, _ = of(rosenbrock)
    found = climb(evaluate, torch.zeros(2, dtype=F64), step=heights.append)
    assert heights == sorted(heights) and heights[-1] == found.value
    assert not math.isnan(found.decrement)
