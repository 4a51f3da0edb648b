"""Inverting a distribution function where only the function itself is at hand: brackets, vectorised, pure torch.

``root`` solves an increasing ``f(x) = 0`` by Chandrupatla's method [1]_ (inverse quadratic steps where they are safe,
bisection where not, geometric where the bracket spans magnitudes), ``smallest`` finds the least integer where an
increasing ``f`` is at least 0. Every unit keeps a bracket, so neither can fail. Both stop when all units are done;
under ``vmap`` the numbers behind the mapped tensors are looked at for that, under tracing a fixed number of steps is
taken.

References
----------
.. [1] Chandrupatla (1997). A new hybrid quadratic/bisection algorithm for finding the zero of a nonlinear function
   without using derivatives. Advances in Engineering Software 28(3).

>>> import torch
>>> low, high = torch.zeros(2, dtype=torch.float64), torch.full((2,), 4.0, dtype=torch.float64)
>>> [round(x, 12) for x in root(lambda x: x * x - torch.tensor([2.0, 9.0]), low, high).tolist()]
[1.414213562373, 3.0]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch._C import _functorch  # pyright: ignore[reportAttributeAccessIssue]

__all__ = ["root", "settled", "smallest"]

_STEPS = 80
_EPS = 4.0 * torch.finfo(torch.float64).eps


def settled(done: Tensor) -> bool:
    """Whether all of a mask is known to be True; False where it cannot be read (tracing)."""
    while _functorch.is_functorch_wrapped_tensor(done):
        done = _functorch.get_unwrapped(done)
    if type(done) is not Tensor or torch._C._len_torch_dispatch_stack() > 0 or torch.compiler.is_compiling():
        return False
    return bool(done.all())


def root(
    function: Callable[[Tensor], Tensor],
    low: Tensor,
    high: Tensor,
    guess: Tensor | None = None,
    *,
    noise: Tensor | float = 0.0,
    steps: int = _STEPS,
) -> Tensor:
    """Solve ``function(x) = 0`` for each unit.

    Parameters
    ----------
    function : callable
        Increasing, elementwise; NaN where it has no answer.
    low, high : Tensor
        Bracket of the root, of one shape. An end where the sign is already wrong (by rounding) is the answer.
    guess : Tensor, optional
        Tried first; returned to the bit where the function is exactly 0 there, even outside the bracket.
    noise : Tensor or float
        What rounding adds to the function: where it is no larger than that, no better ``x`` can be told.

    Returns
    -------
    Tensor
        To a few units in the last place of ``x``; NaN where ``function`` is.
    """
    with torch.no_grad():
        f_low, f_high = function(low), function(high)
        answer = torch.where(f_low >= 0, low, high)
        done = (f_low >= 0) | (f_high <= 0) | torch.isnan(f_low) | torch.isnan(f_high)
        answer = torch.where(torch.isnan(f_low) | torch.isnan(f_high), torch.nan, answer)
        if guess is not None:
            found = function(guess)
            answer = torch.where(found == 0, guess, answer)
            done = done | (found == 0)
            inside = (guess > low) & (guess < high)
            below, above = inside & (found < 0), inside & (found > 0)
            low, f_low = torch.where(below, guess, low), torch.where(below, found, f_low)
            high, f_high = torch.where(above, guess, high), torch.where(above, found, f_high)
        if settled(done):
            return answer
        # x1 is the newest point, x2 the other end of the bracket, x3 the point before
        nearer = f_low.abs() < f_high.abs()
        x1, f1 = torch.where(nearer, low, high), torch.where(nearer, f_low, f_high)
        x2, f2 = torch.where(nearer, high, low), torch.where(nearer, f_high, f_low)
        step = torch.clamp(f1 / (f1 - f2), 0.05, 0.95)
        for _ in range(steps):
            x = x1 + step * (x2 - x1)
            f = function(x)
            same = (f > 0) == (f1 > 0)
            x3, f3 = torch.where(same, x1, x2), torch.where(same, f1, f2)
            x2, f2 = torch.where(same, x2, x1), torch.where(same, f2, f1)
            x1, f1 = x, f
            gap = x2 - x1
            best = torch.where(f1.abs() < f2.abs(), x1, x2)
            tolerance = _EPS * best.abs() + torch.finfo(best.dtype).tiny
            answer = torch.where(done, answer, best)
            done = done | (gap.abs() <= 2.0 * tolerance) | (f1.abs() <= noise)
            if settled(done):
                break
            ratio, height = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
            safe = (1.0 - torch.sqrt(1.0 - ratio) < height) & (height < torch.sqrt(ratio))
            inverse = f1 / (f1 - f2) * f3 / (f3 - f2) - (x3 - x1) / gap * f1 / (f3 - f1) * f2 / (f2 - f3)
            step = torch.where(safe & torch.isfinite(inverse), inverse, _middle(x1, x2))
            least = torch.clamp(tolerance / gap.abs(), max=0.5)
            step = torch.minimum(torch.maximum(step, least), 1.0 - least)
        return answer


def smallest(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, steps: int = 64) -> Tensor:
    """Least integer ``k`` in (low, high] with ``function(k) >= 0``; ``high`` where none below it has.

    Parameters
    ----------
    function : callable
        Increasing, elementwise.
    low, high : Tensor
        Integers of one shape; ``function(low) < 0`` is taken for granted.
    """
    with torch.no_grad():
        for _ in range(steps):
            done = high - low <= 1.0
            if settled(done):
                break
            middle = torch.floor((low + high) / 2.0)
            reached = function(middle) >= 0
            high = torch.where(done | ~reached, high, middle)
            low = torch.where(done | reached, low, middle)
        return high


def _middle(x1: Tensor, x2: Tensor) -> Tensor:
    """Fraction of the way from ``x1`` to ``x2`` that halves the bracket, in magnitude where it spans several."""
    apart = (x1 * x2 > 0) & ((x1.abs() > 4.0 * x2.abs()) | (x2.abs() > 4.0 * x1.abs()))
    geometric = torch.sign(x1) * torch.sqrt(x1.abs()) * torch.sqrt(x2.abs())
    return torch.where(apart, (geometric - x1) / torch.where(apart, x2 - x1, 1.0), 0.5)
