"""A cubic told at most draws: right where the function is one, not used where it is not."""

from __future__ import annotations

import torch

from pcm.infer.surrogate import HELD, told


def places(draws: int, size: int) -> torch.Tensor:
    return torch.randn(draws, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_a_cubic_is_told_exactly_from_few_evaluations() -> None:
    asked = []

    def cubic(e: torch.Tensor) -> torch.Tensor:
        asked.append(len(e))
        return 1.0 + e[:, 0] - 0.3 * e[:, 1] * e[:, 2] + 0.1 * e[:, 0] ** 2 * e[:, 2]

    at = places(2000, 3)
    found = told(cubic, at)
    assert found.evaluated == sum(asked) < 200
    assert torch.allclose(found.values, cubic(at), atol=1e-9)


def test_what_is_no_cubic_is_evaluated_everywhere() -> None:
    at = places(1000, 2)
    for function in (lambda e: e[:, 0].abs(), lambda e: torch.where(e[:, 0] > 1.0, -torch.inf, 0.0 * e[:, 0])):
        found = told(function, at)
        assert (found.evaluated, found.error) == (1000, 0.0)
        assert torch.equal(found.values, function(at))


def test_the_error_held_back_is_the_error_elsewhere() -> None:
    def nearly(e: torch.Tensor) -> torch.Tensor:
        return 0.2 * e[:, 0] ** 3 + 0.002 * (e**4).sum(1)

    at = places(4000, 3)
    found = told(nearly, at)
    true = float((found.values - nearly(at)).square().mean().sqrt())
    assert HELD < found.evaluated < 400
    assert 0.3 * true < found.error < 3.0 * true
    beyond = at.square().sum(1) > at[:128].square().sum(1).max()
    assert torch.allclose(found.values[beyond], nearly(at[beyond]), atol=1e-12), "nothing is told by extrapolation"
