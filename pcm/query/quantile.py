"""Quantiles of weighted atoms, unit by unit.

>>> import torch
>>> weighted_quantile(torch.tensor([[3.0], [1.0], [2.0]]), torch.tensor([[0.2], [0.5], [0.3]]), 0.6)
tensor([2.])
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["weighted_quantile"]


def weighted_quantile(atoms: Tensor, weights: Tensor, level: float) -> Tensor:
    """Smallest atom whose cumulated weight reaches ``level``; atoms ``(atom, unit)``, weights sum to 1 over atoms."""
    ordered, order = atoms.sort(0)
    reached = weights.gather(0, order).cumsum(0) >= level - 1e-12
    first = reached.to(weights.dtype).argmax(0)
    return ordered.gather(0, first[None])[0]
