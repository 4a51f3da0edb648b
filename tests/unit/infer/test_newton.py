"""Newton for many units: the mode of a quadratic is reached to rounding wherever it starts."""

from __future__ import annotations

import pytest
import torch

from pcm.infer.latent.newton import climb


@pytest.mark.parametrize("offset", [0.0, 1e-9, 1e-7, 1e-3, 5.0])
def test_a_start_near_the_mode_is_not_taken_for_it(offset):
    precision = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)

    def evaluate(vector):
        gradient = -(vector - 1) @ precision
        return 0.5 * ((vector - 1) * gradient).sum(-1), gradient, -precision.expand(*vector.shape, 2)

    start = torch.full((1, 4, 2), 1 + offset, dtype=torch.float64)
    peak = climb(evaluate, start, torch.ones(4, 2, dtype=torch.bool))
    assert bool(peak.converged.all()) and float((peak.vector - 1).abs().max()) <= 1e-14
