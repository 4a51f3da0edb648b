r"""A cubic in place of most evaluations of a log density that is costly and all but Gaussian.

In coordinates ``e`` of a Laplace approximation the log ratio of target to proposal is a smooth function that is small
where draws fall: its terms beyond the third order are O(1/n). It is evaluated at some of the draws, a cubic is fitted
to those by least squares, and told at the others. Some of the evaluated draws are held back from a first fit, and the
error there is what the others' weights may be wrong by; above .1 nats nothing is told, and all are evaluated.
Least squares leaves an error orthogonal to the cubics, so that to first order no moment up to the third is off.

>>> import torch
>>> def ratio(e):
...     return 0.05 * e[:, 0] ** 3 - 0.02 * e[:, 0] * e[:, 1]
>>> places = torch.randn(1000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
>>> found = told(ratio, places)
>>> found.evaluated < 150, bool((found.values - ratio(places)).abs().max() < 1e-9), found.error < 1e-9
(True, True, True)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from torch import Tensor

__all__ = ["CHEAP", "Told", "told"]

#: Values that a site takes in all evaluations together below which every draw is evaluated.
CHEAP = 10_000_000
#: Largest root mean square error of log weights, in nats, that is left standing.
NEGLIGIBLE = 0.1
#: Draws held back, and evaluated draws for each coefficient.
HELD, EACH, LEAST = 48, 2, 128


@dataclass(frozen=True)
class Told:
    """Values of a function at many places, most of them by a cubic.

    Attributes
    ----------
    values
        ``(draw,)``.
    evaluated
        At how many places it was evaluated.
    error
        Root mean square error at places held back; 0 where all were evaluated.
    """

    values: Tensor
    evaluated: int
    error: float


def told(function: Callable[[Tensor], Tensor], places: Tensor, enough: int | None = None) -> Told:
    """A function ``(draw, coordinate) → (draw,)`` at exchangeable places ``(draw, coordinate)``.

    Where nothing is told, only the first ``enough`` places are evaluated (all by default).
    Places where the cubic is extrapolated, farther out than any evaluated one, are evaluated.
    """
    draws, size = places.shape
    terms = math.comb(size + 3, 3)
    some = max(LEAST, EACH * terms + HELD)
    enough = draws if enough is None else enough
    if 2 * some > enough:
        return Told(function(places[:enough]), enough, 0.0)
    values = function(places[:some])
    if bool(torch.isfinite(values).all()):
        columns = _monomials(places)
        fit = torch.linalg.lstsq(columns[: some - HELD], values[: some - HELD, None]).solution
        apart = (columns[some - HELD : some] @ fit)[:, 0] - values[some - HELD :]
        error = float(apart.square().mean().sqrt())
        if error <= NEGLIGIBLE and float(apart.abs().max()) <= 5.0 * NEGLIGIBLE:
            fit = torch.linalg.lstsq(columns[:some], values[:, None]).solution
            found = torch.cat([values, (columns[some:] @ fit)[:, 0]])
            radius = places.square().sum(1)
            (beyond,) = torch.nonzero(radius[some:] > radius[:some].max(), as_tuple=True)
            if len(beyond):
                found[some + beyond] = function(places[some + beyond])
            return Told(found, some + len(beyond), error)
    return Told(torch.cat([values, function(places[some:enough])]), enough, 0.0)


def _monomials(places: Tensor) -> Tensor:
    """Monomials up to the third degree ``(draw, monomial)``."""
    size = places.shape[1]
    columns = [torch.ones(len(places), dtype=places.dtype)]
    for degree in (1, 2, 3):
        columns += [places[:, list(each)].prod(1) for each in combinations_with_replacement(range(size), degree)]
    return torch.stack(columns, 1)
