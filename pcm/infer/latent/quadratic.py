r"""The integral of the exponential of a quadratic function that is known by its values.

A quadratic function of ``r`` coordinates is known from its values at ``(r + 1)(r + 2)/2`` points (polarisation), and

    log ∫ exp(f₀ + gᵀx − ½ xᵀPx) dx = f₀ + ½ gᵀP⁻¹g − ½ log|P| + ½ r log 2π,

so the integral is as differentiable in the program's parameters as the values are: nothing is differentiated in ``x``.

>>> import math, torch
>>> spread = torch.full((3, 1), 0.7, dtype=torch.float64)  # (unit, coordinate)
>>> x = offsets(1, torch.float64)[:, None] * spread  # (point, unit, coordinate)
>>> values = -0.5 * (x[..., 0] - 2.0) ** 2 / 0.3**2
>>> found = integral(values, spread, torch.ones(3, 1, dtype=torch.bool))
>>> bool((found.log_integral - math.log(0.3 * math.sqrt(2 * math.pi))).abs().max() < 1e-12)
True
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GaussianIntegral", "integral", "offsets", "predicted"]


@dataclass(frozen=True)
class GaussianIntegral:
    """The integral, and the Gaussian it is of.

    Attributes
    ----------
    log_integral : Tensor ``(…, unit)``
        ``-inf`` where the values are; NaN where the quadratic has no maximum.
    shift : Tensor ``(…, unit, coordinate)``
        From the point of expansion to the mode, where asked for.
    spread : Tensor ``(…, unit, coordinate)``
        Standard deviations.
    """

    log_integral: Tensor
    shift: Tensor
    spread: Tensor


def offsets(width: int, dtype: torch.dtype) -> Tensor:
    """Where the function must be known, ``(point, coordinate)``, in units of each coordinate's spread."""
    eye = torch.eye(width, dtype=dtype)
    first, second = torch.triu_indices(width, width, 1)
    return torch.cat([torch.zeros(1, width, dtype=dtype), eye, -eye, eye[first] + eye[second]])


def _coefficients(values: Tensor, width: int) -> tuple[Tensor, list[Tensor], list[list[Tensor]]]:
    """Value, gradient and lower half of the negative Hessian, in scaled coordinates, of values ``(…, point, unit)``."""
    centre, *others = values.unbind(-2)
    up, down, both = others[:width], others[width : 2 * width], others[2 * width :]
    slope = [0.5 * (high - low) for high, low in zip(up, down, strict=True)]
    first, second = torch.triu_indices(width, width, 1).tolist()
    cross: dict[tuple[int, int], Tensor] = {}
    for low, high, value in zip(first, second, both, strict=True):
        cross[high, low] = up[low] + up[high] - value - centre
    precision = [
        [cross[row, column] for column in range(row)] + [2.0 * centre - up[row] - down[row]] for row in range(width)
    ]
    return centre, slope, precision


def integral(values: Tensor, spread: Tensor, active: Tensor, *, locate: bool = False) -> GaussianIntegral:
    """The integral over the ``active`` coordinates ``(unit, coordinate)`` of exp(values ``(…, point, unit)``).

    ``spread`` ``(…, unit, coordinate)`` scaled the :func:`offsets`. The Gaussian itself is found with ``locate``.
    """
    width = spread.shape[-1]
    if not width:
        return GaussianIntegral(values.squeeze(-2), spread, spread)
    dead = ~torch.isfinite(values).all(-2)
    if bool(dead.any()):
        tame = -0.5 * (offsets(width, values.dtype) ** 2).sum(-1)[:, None]
        values = torch.where(dead[..., None, :], tame, values)
    centre, slope, precision = _coefficients(values, width)
    if not bool(active.all()):
        for place in range(width):
            precision[place][place] = precision[place][place] + (~active[:, place]).to(values.dtype)
    root, half = _factored(precision, slope)
    log_scale = torch.where(active, spread.log() + 0.5 * math.log(2 * math.pi), 0.0).sum(-1)
    log_integral = centre + log_scale  # a negative pivot has the square root NaN: no maximum
    for place, part in enumerate(half):
        log_integral = log_integral + 0.5 * part**2 - root[place][place].log()
    log_integral = torch.where(dead, -torch.inf, log_integral)
    if not locate:
        return GaussianIntegral(log_integral, spread, spread)
    with torch.no_grad():
        lower = torch.zeros(*centre.shape, width, width, dtype=values.dtype)
        for row in range(width):
            for column in range(row + 1):
                lower[..., row, column] = root[row][column]
        shift = torch.linalg.solve_triangular(lower.mT, torch.stack(half, -1)[..., None], upper=True).squeeze(-1)
        eye = torch.eye(width, dtype=values.dtype).expand_as(lower)
        wide = torch.linalg.solve_triangular(lower, eye, upper=False).square().sum(-2).sqrt()
    return GaussianIntegral(log_integral, shift * spread * active, wide * spread)


def _factored(precision: list[list[Tensor]], slope: list[Tensor]) -> tuple[list[list[Tensor]], list[Tensor]]:
    """Cholesky factor and the slope solved by it, entry by entry: units stay the last dim, in the cache."""
    root: list[list[Tensor]] = []
    half: list[Tensor] = []
    for row, entries in enumerate(precision):
        made: list[Tensor] = []
        for column, entry in enumerate(entries):
            other = root[column] if column < row else made
            for place in range(column):
                entry = entry - made[place] * other[place]
            made.append(entry.sqrt() if column == row else entry / root[column][column])
        root.append(made)
        rest = slope[row]
        for place in range(row):
            rest = rest - made[place] * half[place]
        half.append(rest / made[row])
    return root, half


def predicted(values: Tensor, steps: Tensor) -> Tensor:
    """The quadratic's values at ``steps`` ``(…, unit, coordinate)`` in units of spread, ``(…, unit)``."""
    width = steps.shape[-1]
    total, slope, precision = _coefficients(values, width)
    moves = steps.unbind(-1)
    for row in range(width):
        bent = sum(
            (precision[row][column] * moves[column] for column in range(row)), 0.5 * precision[row][row] * moves[row]
        )
        total = total + moves[row] * (slope[row] - bent)
    return total
