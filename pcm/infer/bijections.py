"""The bijection between a parameter's support and real coordinates.

``torch.distributions.biject_to``, to which lower Cholesky factors and positive definite matrices are added.

>>> import torch
>>> transform = bijection("covariance", torch.distributions.constraints.positive_definite)
>>> transform(torch.zeros(3))                                             # L = [[1, 0], [0, 1]]
tensor([[1., 0.],
        [0., 1.]])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pyro.distributions.constraints as pyro_constraints
import torch
from torch import Tensor
from torch.distributions import biject_to, constraints
from torch.distributions.constraints import Constraint

from pcm.errors import FitError

__all__ = ["IDENTITY", "Identity", "Triangular", "bijection"]


def bijection(name: str, support: Constraint, method: str = "this method"):
    """The bijection from real coordinates to ``support``, or a :class:`~pcm.errors.FitError` naming the parameter."""
    if support.is_discrete:
        raise FitError(
            f"The parameter '{name}' is discrete ({support}); {method} needs continuous parameters. "
            f"Sum '{name}' out of the program, or fix it with given({name}=…).",
            parameter=name,
        )
    core = support
    while hasattr(core, "base_constraint"):
        core = core.base_constraint  # type: ignore[attr-defined]
    if core in REALS:
        return IDENTITY
    if core in CHOLESKY:
        return Triangular(definite=False)
    if core is constraints.positive_definite:
        return Triangular(definite=True)
    try:
        return biject_to(support)
    except NotImplementedError:
        raise FitError(
            f"The support of the parameter '{name}', {support}, has no bijection with real coordinates, which {method} "
            f"needs. Write '{name}' as a function of parameters that have one, or fix it with given({name}=…).",
            parameter=name,
        ) from None


class Identity:
    """Real coordinates are their own values."""

    inv: Callable[[Tensor], Tensor]

    def __init__(self) -> None:
        self.inv = lambda value: value

    def __call__(self, coordinates: Tensor) -> Tensor:
        return coordinates

    def log_abs_det_jacobian(self, coordinates: Tensor, value: Tensor) -> Tensor:
        return torch.zeros_like(coordinates)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(shape)


class Triangular:
    """Lower Cholesky factors L, or positive definite matrices L Lᵀ, from ``n (n + 1) / 2`` coordinates.

    The diagonal is exp(u). With i counted from 0, log |dL/du| = Σ u_ii, and for L Lᵀ the factor
    2ⁿ Π L_ii^(n − i) more (Muirhead 1982, theorem 2.1.9).
    """

    def __init__(self, *, definite: bool) -> None:
        self.definite = definite

    def __call__(self, coordinates: Tensor) -> Tensor:
        size = self._size(coordinates.shape[-1])
        rows, columns = torch.tril_indices(size, size)
        # A one-hot product, unlike an in-place write, is traced by every transform of torch.func.
        places = torch.zeros(coordinates.shape[-1], size * size, dtype=coordinates.dtype)
        places[torch.arange(coordinates.shape[-1]), rows * size + columns] = 1.0
        scaled = torch.where(rows == columns, coordinates.exp(), coordinates)
        factor = (scaled @ places).reshape((*coordinates.shape[:-1], size, size))
        return factor @ factor.mT if self.definite else factor

    def inv(self, value: Tensor) -> Tensor:
        factor = torch.linalg.cholesky(value) if self.definite else value
        rows, columns = torch.tril_indices(factor.shape[-1], factor.shape[-1])
        flat = factor[..., rows, columns]
        diagonal = rows == columns
        return torch.where(diagonal, torch.where(diagonal, flat, torch.ones_like(flat)).log(), flat)

    def log_abs_det_jacobian(self, coordinates: Tensor, value: Tensor) -> Tensor:
        size = value.shape[-1]
        rows, columns = torch.tril_indices(size, size)
        diagonal = coordinates[..., rows == columns]
        if not self.definite:
            return diagonal.sum(-1)
        powers = 1.0 + torch.arange(size, 0, -1, dtype=diagonal.dtype)
        return (diagonal * powers).sum(-1) + size * math.log(2.0)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        size = shape[-1]
        return (*shape[:-2], size * (size + 1) // 2)

    @staticmethod
    def _size(coordinates: int) -> int:
        return (math.isqrt(8 * coordinates + 1) - 1) // 2


IDENTITY = Identity()
REALS = (constraints.real,)
CHOLESKY = tuple(
    getattr(pyro_constraints, name)
    for name in ("lower_cholesky", "softplus_lower_cholesky")
    if hasattr(pyro_constraints, name)
)
