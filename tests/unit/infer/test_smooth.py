"""Pareto-smoothed weights of many units at once against those of one at a time, and what has no tail."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pcm.infer.diagnostics import psis
from pcm.infer.latent.smooth import smoothed

INF = torch.inf


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, -1, 1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 8.0])
def test_each_unit_is_what_it_is_alone(scale):
    """Beside draws that do not count for it as well."""
    ratios = scale * torch.randn(1, 900, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights, khat = smoothed(ratios)
    for unit in range(3):
        expected, shape = psis(ratios[0, :, unit].numpy())
        assert khat[0, unit] == pytest.approx(shape, rel=1e-4)
        assert np.allclose(weights[0, :, unit], np.exp(expected), rtol=1e-4, atol=1e-9)
    among = torch.full((1, 8100, 3), -INF, dtype=torch.float64)
    among[:, 4::9] = ratios
    again, same = smoothed(among, torch.tensor([900, 900, 900]))
    assert np.allclose(same, khat, rtol=1e-12) and torch.allclose(again[:, 4::9], weights, rtol=1e-12, atol=0)


def test_one_draw_that_outweighs_all_others_is_no_sample():
    """Its effective size is 1; a k-hat of 0 would hide that."""
    steep = 3000.0 * torch.randn(1, 1024, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights, khat = smoothed(steep)
    assert ((weights**2).sum(1) > 0.999).all() and np.isinf(khat).all()
    assert np.isinf(smoothed(column(*[0.0] * 3, *[-INF] * 997))[1]).all()
    assert np.isinf(smoothed(column(*[50.0] * 3, *[0.0] * 997))[1]).all()


def test_level_weights_have_no_tail():
    for ratios in (column(*[0.3] * 1000), column(*[0.0] * 500, *[-INF] * 500), column(*[0.1] * 3, *[0.0] * 997)):
        assert (smoothed(ratios)[1] == 0).all()


def test_nothing_finite_is_infinite():
    weights, khat = smoothed(column(*[-INF] * 100))
    assert np.isinf(khat).all() and torch.allclose(weights, torch.tensor(0.01, dtype=torch.float64))
