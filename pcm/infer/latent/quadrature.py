r"""Rules for integrals over the line, plane or space, in coordinates where the integrand is about standard normal.

``∫ g(z) dz ≈ Σ_k w_k g(z_k)``. In one and two dimensions a ladder: Gauss-Hermite rules with more and more nodes, which
need few where ``g`` is nearly normal, then trapezoid rules after ``z = sinh t`` (Takahasi & Mori 1974), which converge
whatever the tails. Beyond two, scrambled Sobol points through a Student-t, the same for every evaluation.

>>> import math, torch
>>> rule = product_rule(0, 1)
>>> found = (rule.log_weights - 0.5 * rule.nodes[:, 0, 0] ** 2).logsumexp(0)
>>> abs(float(found) - 0.5 * math.log(2 * math.pi)) < 1e-14
True
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["LEVELS", "Rule", "drawn_rule", "product_rule"]

#: Nodes of the Gauss-Hermite rules, by dimension.
HERMITE = {1: (9, 15, 25, 41), 2: (9, 15, 25)}
#: Steps in t and reach in z of the finer and finer trapezoid rules after them.
TRAPEZOID = {1: ((0.18, 20.0), (0.12, 60.0), (0.06, 1000.0), (0.03, 1000.0)), 2: ((0.18, 15.0), (0.12, 30.0))}
#: Number of rules, by dimension.
LEVELS = {dimensions: len(HERMITE[dimensions]) + len(TRAPEZOID[dimensions]) for dimensions in HERMITE}
DEGREES = 5.0
SCALE = 1.1


@dataclass(frozen=True)
class Rule:
    """Nodes and weights.

    Attributes
    ----------
    nodes : Tensor ``(node, unit or 1, dimension)``
    log_weights : Tensor ``(node,)`` or ``(node, unit)``
    """

    nodes: Tensor
    log_weights: Tensor


def product_rule(level: int, dimensions: int) -> Rule:
    """The rule of a level, in one or two dimensions."""
    if level < len(HERMITE[dimensions]):
        place, weight = np.polynomial.hermite_e.hermegauss(HERMITE[dimensions][level])
        nodes = torch.from_numpy(place)
        log_weights = torch.from_numpy(np.log(weight) + 0.5 * place**2)
    else:
        step, reach = TRAPEZOID[dimensions][level - len(HERMITE[dimensions])]
        half = math.ceil(math.asinh(reach) / step)
        place = step * torch.arange(-half, half + 1, dtype=torch.float64)
        nodes, log_weights = torch.sinh(place), torch.log(step * torch.cosh(place))
    if dimensions == 1:
        return Rule(nodes[:, None, None], log_weights)
    return Rule(torch.cartesian_prod(nodes, nodes)[:, None], (log_weights[:, None] + log_weights[None]).flatten())


def drawn_rule(number: int, dimensions: int, units: int) -> Rule:
    """Fixed quasi-random nodes, shifted for every unit, with importance weights ``1 / (number · q)``."""
    from scipy.special import chdtri

    sobol = torch.quasirandom.SobolEngine(dimensions + 1, scramble=True, seed=20_170_901)
    shifts = np.random.default_rng(20_170_901).random((units, dimensions + 1))
    points = (sobol.draw(number, dtype=torch.float64)[:, None] + torch.from_numpy(shifts)) % 1.0
    points = points.clamp(1e-12, 1 - 1e-12)
    chi = torch.from_numpy(np.asarray(chdtri(DEGREES, points[..., -1].numpy())))
    nodes = SCALE * torch.special.ndtri(points[..., :-1]) * (DEGREES / chi).sqrt()[..., None]
    log_density = (
        math.lgamma((DEGREES + dimensions) / 2)
        - math.lgamma(DEGREES / 2)
        - 0.5 * dimensions * math.log(DEGREES * math.pi * SCALE**2)
        - 0.5 * (DEGREES + dimensions) * torch.log1p((nodes**2).sum(-1) / SCALE**2 / DEGREES)
    )
    return Rule(nodes, -log_density - math.log(number))
