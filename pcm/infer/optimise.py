"""The mode of a log density: quasi-Newton from afar, Newton near by.

L-BFGS (Nocedal 1980) with a weak Wolfe search by bisection (Lewis & Overton 2013), which steps over regions where the
density is zero or NaN; then Newton steps on the Jacobi-scaled Hessian until the Newton decrement
``λ²/2 = gᵀ H⁻¹ g / 2`` — the nats still to be gained, were the density Gaussian — is below 1e-10. A half-converged
optimum looks like miscalibration, so a Laplace approximation needs the second part.

>>> import torch
>>> def bowl(x):
...     return float(-(x - 3.0).square().sum()), -2.0 * (x - 3.0)
>>> climb(bowl, torch.zeros(2, dtype=torch.float64)).point.round(decimals=6)
tensor([3., 3.], dtype=torch.float64)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Evaluate", "Optimum", "climb", "polish"]

Evaluate = Callable[[Tensor], tuple[float, Tensor]]  # point -> (log density, gradient)
Step = Callable[[float], object]  # told the log density after each iteration

SLACK = 1e-13  # relative rounding of a sum over many units: a smaller loss of height is no loss
FLAT = 1e-13  # a scaled curvature below this, per coordinate, is rounding


@dataclass(frozen=True)
class Optimum:
    """Where a search ended.

    Attributes
    ----------
    point
        ``(coordinate,)``.
    value
        Log density there, nats.
    gradient
        ``(coordinate,)``.
    decrement
        Newton decrement (after :func:`climb`, its quasi-Newton estimate), nats.
    converged
        Whether the decrement is below the tolerance asked for.
    iterations
        Iterations used.
    precision
        Negative Hessian ``(coordinate, coordinate)``, after :func:`polish`.
    flat
        A direction ``(coordinate,)`` along which the density does not fall, if there is one.
    """

    point: Tensor
    value: float
    gradient: Tensor
    decrement: float
    converged: bool
    iterations: int
    precision: Tensor | None = None
    flat: Tensor | None = None


def climb(
    evaluate: Evaluate,
    start: Tensor,
    *,
    iterations: int = 300,
    tolerance: float = 1e-9,
    memory: int = 20,
    step: Step | None = None,
) -> Optimum:
    """Maximise by L-BFGS.

    Parameters
    ----------
    evaluate
        Point ``(coordinate,)`` to log density and gradient.
    start
        ``(coordinate,)``; the density must be finite there.
    tolerance
        Stop when the estimated decrement is below this, in nats.
    """
    point = start.detach().clone()
    value, gradient = evaluate(point)
    pairs: list[tuple[Tensor, Tensor, float]] = []
    decrement, count = math.inf, 0
    for count in range(1, iterations + 1):  # noqa: B007
        direction = _two_loops(gradient, pairs)
        slope = float(gradient @ direction)
        if not slope > 0.0 and pairs:
            pairs.clear()
            direction = gradient
            slope = float(gradient @ gradient)
        decrement = 0.5 * slope
        if slope == 0.0 or (pairs and decrement < tolerance):
            break
        first = 1.0 if pairs else min(1.0, 1.0 / math.sqrt(slope))
        found = _search(evaluate, point, value, direction, slope, first)
        if found is None:
            if not pairs:
                break
            pairs.clear()
            continue
        moved, new_value, new_gradient = found
        change, turn = moved - point, gradient - new_gradient
        bend = float(change @ turn)
        if bend > 1e-10 * float(change.norm() * turn.norm()):
            pairs.append((change, turn, bend))
            del pairs[:-memory]
        point, value, gradient = moved, new_value, new_gradient
        if step is not None:
            step(value)
    return Optimum(point, value, gradient, decrement, decrement < tolerance, count)


def polish(
    evaluate: Evaluate,
    hessian: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    iterations: int = 60,
    tolerance: float = 1e-10,
    step: Step | None = None,
) -> Optimum:
    """Maximise by damped Newton steps; returns the precision matrix at the mode.

    Directions of negative or no curvature are followed uphill. ``flat`` is set when the search ends where the density
    does not fall in every direction.
    """
    point = start.detach().clone()
    value, gradient = evaluate(point)
    precision, flat = torch.zeros(len(point), len(point), dtype=point.dtype), None
    decrement, previous, count = math.inf, math.inf, 0
    for count in range(1, iterations + 1):  # noqa: B007
        precision = -hessian(point)
        if not bool(torch.isfinite(precision).all()):
            flat = torch.where(torch.isfinite(precision).all(-1), 0.0, 1.0).to(point.dtype)
            break
        scale, curvature, axes = _scaled_spectrum(precision)
        threshold = FLAT * max(1, len(point))
        lowest = int(curvature.argmin())
        flat = axes[:, lowest] / scale if float(curvature[lowest]) <= threshold else None
        projected = axes.mT @ (gradient / scale)
        direction = (axes @ (projected / curvature.abs().clamp_min(1e-8))) / scale
        decrement = 0.5 * float(gradient @ direction)
        if flat is not None and decrement < tolerance and float(curvature[lowest]) < -1e-6:
            direction, decrement = flat / flat.norm(), 1.0  # leave the saddle along its rising axis
        if decrement < tolerance or (decrement < 1e-6 and decrement > 0.25 * previous):
            last = None if flat is not None else _newton_step(evaluate, point, value, gradient, direction, decrement)
            if last is not None:  # the step is known already, and the precision does not change on its way
                point, value, gradient = last
            break  # done, or as near as rounding allows
        previous = decrement
        moved = _newton_step(evaluate, point, value, gradient, direction, decrement)
        if moved is None:
            break
        point, value, gradient = moved
        if step is not None:
            step(value)
    return Optimum(point, value, gradient, decrement, decrement < max(tolerance, 1e-8), count, precision, flat)


def _two_loops(gradient: Tensor, pairs: list[tuple[Tensor, Tensor, float]]) -> Tensor:
    direction = gradient.clone()
    if not pairs:
        return direction
    shares = []
    for change, turn, bend in reversed(pairs):
        share = float(change @ direction) / bend
        direction -= share * turn
        shares.append(share)
    _, turn, bend = pairs[-1]
    direction *= bend / float(turn @ turn)
    for (change, turn, bend), share in zip(pairs, reversed(shares), strict=True):
        direction += (share - float(turn @ direction) / bend) * change
    return direction


def _finite(value: float, gradient: Tensor) -> bool:
    return math.isfinite(value) and bool(torch.isfinite(gradient).all())


def _search(evaluate: Evaluate, point: Tensor, value: float, direction: Tensor, slope: float, first: float):
    low, high, length = 0.0, math.inf, first
    kept = None
    for _ in range(60):
        moved = point + length * direction
        new_value, new_gradient = evaluate(moved)
        if not _finite(new_value, new_gradient) or new_value < value + 1e-4 * length * slope - SLACK * abs(value):
            high = length
        else:
            kept, low = (moved, new_value, new_gradient), length
            if float(new_gradient @ direction) <= 0.9 * slope:
                break
        if high - low < 1e-14 * high:
            break
        length = 0.5 * (low + high) if math.isfinite(high) else 2.0 * length
    return kept


def _newton_step(
    evaluate: Evaluate, point: Tensor, value: float, gradient: Tensor, direction: Tensor, decrement: float
):
    length = 1.0
    for _ in range(50):
        moved = point + length * direction
        new_value, new_gradient = evaluate(moved)
        # Near the mode the height gained drowns in rounding, while the gradient still tells.
        near = decrement < 1e-4 and new_value > value - 1e-9 * (1.0 + abs(value))
        if _finite(new_value, new_gradient) and (near or new_value > value - SLACK * abs(value)):
            return moved, new_value, new_gradient
        length *= 0.5
    return None


def _scaled_spectrum(precision: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues and axes of the precision in units in which each coordinate has curvature ±1 (or none)."""
    diagonal = precision.diagonal().abs()
    top = float(diagonal.max()) if len(diagonal) else 1.0
    scale = diagonal.clamp_min(max(1e-14 * top, 1e-300)).sqrt()
    curvature, axes = torch.linalg.eigh(precision / (scale[:, None] * scale))
    return scale, curvature, axes
