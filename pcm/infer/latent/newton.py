"""Newton's method for many small problems at once: the mode of every unit's unobserved values, and the curvature there.

Units are independent, so the Hessian of the sum over units is block diagonal: ``d`` backward passes give all blocks.

>>> import torch
>>> def quadratic(vector):  # (lane, unit, 2): a Gaussian with mean 1 and precision [[2, 1], [1, 2]]
...     precision = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
...     gradient = -(vector - 1) @ precision
...     terms = 0.5 * ((vector - 1) * gradient).sum(-1)
...     return terms, gradient, -precision.expand(*vector.shape, 2)
>>> peak = climb(quadratic, torch.zeros(1, 3, 2, dtype=torch.float64), torch.ones(3, 2, dtype=torch.bool))
>>> peak.vector[0, 0].round(decimals=9).tolist(), bool(peak.converged.all())
([1.0, 1.0], True)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Peak", "climb", "still"]

#: Value, gradient and Hessian of every unit's log density at ``(lane, unit, coordinate)``.
Evaluate = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Peak:
    """Modes and curvatures.

    Attributes
    ----------
    vector : Tensor ``(lane, unit, coordinate)``
    terms : Tensor ``(lane, unit)``
        Log density at the mode.
    factor : Tensor ``(lane, unit, coordinate, coordinate)``
        A square root of the inverse negative Hessian: ``covariance = factor @ factor.T``; zero rows where a unit has no
        such coordinate.
    log_determinant : Tensor ``(lane, unit)``
        Of the covariance, over the coordinates that a unit has.
    converged : bool Tensor ``(lane, unit)``
    """

    vector: Tensor
    terms: Tensor
    factor: Tensor
    log_determinant: Tensor
    converged: Tensor

    def select(self, place: Tensor) -> Peak:
        """Those of some units."""
        return Peak(
            self.vector[:, place],
            self.terms[:, place],
            self.factor[:, place],
            self.log_determinant[:, place],
            self.converged[:, place],
        )


def still(terms: Tensor) -> Peak:
    """The peak of a vector without coordinates."""
    empty = torch.zeros(*terms.shape, 0, dtype=terms.dtype)
    nothing = torch.zeros((), dtype=terms.dtype).expand_as(terms)
    return Peak(empty, terms, empty[..., None, :], nothing, torch.isfinite(terms))


def climb(evaluate: Evaluate, start: Tensor, active: Tensor, iterations: int = 60, tolerance: float = 1e-13) -> Peak:
    """Damped Newton steps from ``start`` until no unit gains; ``active`` is ``(unit, coordinate)``.

    A unit that has stopped stays where it is, however long others go on.
    """
    vector = start
    terms, gradient, hessian = evaluate(vector)
    damping = torch.zeros_like(terms)
    rejected = torch.zeros_like(terms, dtype=torch.bool)
    decrement, moving = torch.full_like(terms, torch.inf), torch.ones_like(rejected)
    for iteration in range(iterations):
        root, damped = _root(hessian, active, damping)
        damping = torch.where(moving, damped, damping)
        step = torch.cholesky_solve((gradient * active).unsqueeze(-1), root).squeeze(-1)
        decrement = torch.where(moving, 0.5 * (gradient * active * step).sum(-1), decrement)
        # everyone steps once: a start that happens to be near a mode is not at it
        moving = moving & (~(decrement <= tolerance * (1 + terms.abs())) | (iteration == 0))
        if not bool(moving.any()):
            break
        trial = vector + step * moving[..., None]
        new_terms, new_gradient, new_hessian = evaluate(trial)
        better = moving & (new_terms >= terms - 1e-10 * (1 + terms.abs())) & torch.isfinite(new_terms)
        rejected = moving & ~better
        kept = better[..., None]
        vector = torch.where(kept, trial, vector)
        gradient = torch.where(kept, new_gradient, gradient)
        hessian = torch.where(kept[..., None], new_hessian, hessian)
        terms = torch.where(better, new_terms, terms)
        lower = torch.where(moving, damping * (damping > 1e-4) / 10, damping)
        damping = torch.where(rejected, (10 * damping).clamp(min=1e-2), lower)
    root, shift = _root(hessian, active, torch.zeros_like(terms))
    eye = torch.eye(start.shape[-1], dtype=start.dtype).expand_as(root)
    factor = torch.linalg.solve_triangular(root.mT, eye, upper=True) * active[..., None]
    determinant = -2 * (root.diagonal(dim1=-2, dim2=-1).log() * active).sum(-1)
    converged = (decrement <= 1e-6 * (1 + terms.abs())) & (shift == 0) & torch.isfinite(terms)
    return Peak(vector, terms, factor, determinant, converged)


def _root(hessian: Tensor, active: Tensor, damping: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky factor of the negative Hessian, with enough added to its diagonal to make it positive definite."""
    both = (active[..., None] & active[..., None, :]).to(hessian.dtype)
    precision = -0.5 * (hessian + hessian.mT) * both
    precision = torch.nan_to_num(precision) + torch.diag_embed((~active).to(hessian.dtype))
    scale = precision.diagonal(dim1=-2, dim2=-1).abs().mean(-1).clamp(min=1e-8)
    eye = torch.eye(hessian.shape[-1], dtype=hessian.dtype)
    root, info = eye, torch.zeros_like(damping)
    for _ in range(16):
        root, info = torch.linalg.cholesky_ex(precision + (damping * scale)[..., None, None] * eye)
        if not bool(info.any()):
            return root, damping
        damping = torch.where(info > 0, (10 * damping).clamp(min=1e-3), damping)
    failed = info > 0
    return torch.where(failed[..., None, None], eye, root), torch.where(failed, torch.inf, damping)
