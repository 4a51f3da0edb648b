"""Quantiles of weighted atoms, unit by unit.

>>> import torch
>>> weighted_quantile(torch.tensor([[3.0], [1.0], [2.0]]), torch.tensor([[0.2], [0.5], [0.3]]), 0.6)
tensor([2.])
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["smooth_quantile", "weighted_quantile"]


def smooth_quantile(atoms: Tensor, weights: Tensor, level: float) -> Tensor:
    """Quantile of a smooth law of which the atoms are points, by straight lines between them; shape of an atom.

    Examples
    --------
    >>> import torch
    >>> smooth_quantile(torch.tensor([[3.0], [1.0], [2.0]]), torch.full((3, 1), 1 / 3), 1 / 3)
    tensor([1.5000])
    """
    ordered, order = atoms.sort(0)
    here = weights.gather(0, order)
    below = here.cumsum(0) - 0.5 * here
    right = (below < level).sum(0, keepdim=True).clamp(1, len(atoms) - 1)
    first, last = (below.gather(0, place) for place in (right - 1, right))
    part = ((level - first) / (last - first).clamp(min=1e-300)).clamp(0.0, 1.0)
    start, end = (ordered.gather(0, place) for place in (right - 1, right))
    return (start + part * (end - start))[0]


def weighted_quantile(atoms: Tensor, weights: Tensor, level: float) -> Tensor:
    """Smallest atom whose cumulated weight reaches ``level``; atoms ``(atom, unit)``, weights sum to 1 over atoms."""
    ordered, order = atoms.sort(0)
    reached = weights.gather(0, order).cumsum(0) >= level - 1e-12
    first = reached.to(weights.dtype).argmax(0)
    return ordered.gather(0, first[None])[0]
