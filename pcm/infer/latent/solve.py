"""Solving observed columns for their noise, in every unit at once: affine maps in one step, monotone ones by Newton.

With ``x = f(rest, u)`` one to one in ``u``, the density of ``x`` given the rest is ``p(u) |∂u/∂x|`` at the solution.
Newton runs on plain numbers, safeguarded by a bracket; two more steps from where it ends are left to differentiation,
and carry the first and second derivatives of the solution in the rest exactly (each step doubles the order that is
right).

>>> import pyro, pyro.distributions as dist, torch
>>> from pcm.infer.latent.space import Space
>>> from pcm.program import Program
>>> from pcm.worlds import WorldPlan
>>> def bent():
...     u = pyro.sample("u", dist.Normal(0.0, 1.0))
...     pyro.deterministic("x", torch.sinh(u))
>>> program, hole, nothing = Program(bent), torch.ones(1, dtype=torch.bool), torch.zeros(1, 0)
>>> with program.sealed():
...     plan = WorldPlan(program.structure, {})
...     space = Space(program, plan, {"x": torch.sinh(torch.ones(1))}, {"u": hole}, 1, solved={"x": hole})
...     found = solve(space, {}, nothing, torch.zeros(0))
>>> round(found.raw["u"].item(), 12), round(found.log_slope.item() / torch.cosh(torch.tensor(1.0)).log().item(), 6)
(1.0, -1.0)

References
----------
Newton with a bracket: Press et al., *Numerical Recipes*, 3rd edition, Cambridge 2007, §9.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pcm.infer.latent.links import Link

if TYPE_CHECKING:
    from pcm.infer.latent.space import Space

__all__ = ["TOLERANCE", "Solved", "solve"]

#: How far a computed column may be from the observed one, relative to 1 + its size.
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}

_STEPS = 200


@dataclass(frozen=True)
class Solved:
    """Noises that give the observed columns.

    Attributes
    ----------
    raw : dict of carrier to tensor ``(*inner, unit, *free)``
        In the unconstrained coordinates of its support.
    log_slope : Tensor ``(unit,)``
        ``Σ log |∂ raw / ∂ column|``; ``-inf`` where no noise gives the column.
    """

    raw: dict[str, Tensor] = field(default_factory=dict)
    log_slope: Tensor = field(default_factory=lambda: torch.zeros(()))


def solve(space: Space, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor) -> Solved:
    """Solve every linked column of a space, given everything else that is missing."""
    raw = dict(space.typical[1])
    total = torch.zeros(space.units, dtype=space.program.dtype)
    for level in space.links.levels:
        exact = _Level(space, level, parameters, vector, codes, raw)
        points = exact.start
        if not all(link.affine for link in level):
            plain = {name: value.detach() for name, value in parameters.items()}
            fixed = {name: value.detach() for name, value in raw.items()}
            points = _search(_Level(space, level, plain, vector.detach(), codes, fixed))
        for _ in range(2):
            gap, slope = exact(points)
            points = {name: points[name] + gap[name] / _safe(slope[name]) for name in points}
        gap, slope = exact(points)
        raw.update(points)
        for name, mask in exact.masks.items():
            solved = (gap[name].abs() <= TOLERANCE[total.dtype] * (1 + exact.targets[name].abs())) & (slope[name] != 0)
            term = torch.where(solved, -_safe(slope[name]).abs().log(), -torch.inf)
            total = total + space.by_unit(torch.where(mask, term, 0.0), name)
    return Solved(raw, total)


class _Level:
    """Columns minus what the program computes for them, and how fast they change, at given noises."""

    def __init__(
        self,
        space: Space,
        level: tuple[Link, ...],
        parameters: Mapping[str, Tensor],
        vector: Tensor,
        codes: Tensor,
        before: Mapping[str, Tensor],
    ) -> None:
        self.space, self.level, self.before = space, level, before
        self.fixed = parameters, vector, codes
        self.start = {link.carrier: before[link.carrier] for link in level}
        self.masks: dict[str, Tensor] = {}
        self.targets: dict[str, Tensor] = {}
        for link in level:
            mask, target = space.spread(link.mask, link.column), space.known[link.column]
            here = torch.where(mask, target, 0.0)
            self.targets[link.carrier] = self.targets.get(link.carrier, 0.0) + here
            self.masks[link.carrier] = self.masks.get(link.carrier, torch.zeros_like(mask)) | mask

    def __call__(self, points: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Gap and slope of every carrier; 0 and 1 in units that are not solved for it."""

        def total(at: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            made = self.space.computed(*self.fixed, {**self.before, **at})
            here: dict[str, Tensor] = {}
            for link in self.level:
                part = torch.where(self.space.spread(link.mask, link.column), made[link.column], 0.0)
                here[link.carrier] = here[link.carrier] + part if link.carrier in here else part
            return sum((part.sum() for part in here.values()), torch.zeros(())), here

        slope, made = torch.func.grad(total, has_aux=True)(points)
        gap = {name: self.targets[name] - value for name, value in made.items()}
        return gap, {name: torch.where(mask, slope[name], 1.0) for name, mask in self.masks.items()}


def _search(level: _Level) -> dict[str, Tensor]:
    """Newton within a bracket that starts infinite: a step never leaves it, nor grows by more than it has to."""
    points = dict(level.start)
    low = {name: torch.full_like(value, -torch.inf) for name, value in points.items()}
    high = {name: torch.full_like(value, torch.inf) for name, value in points.items()}
    reach = {name: 1.0 + value.abs() for name, value in points.items()}
    for _ in range(_STEPS):
        gap, slope = level(points)
        moved = []
        for name, at in points.items():
            up = gap[name] * slope[name].sign()
            low[name], high[name] = torch.where(up > 0, at, low[name]), torch.where(up < 0, at, high[name])
            step = torch.nan_to_num(gap[name] / _safe(slope[name]))
            step = step.clamp(min=-reach[name], max=reach[name])
            to = at + step
            middle = torch.where(torch.isfinite(low[name] + high[name]), (low[name] + high[name]) / 2, to)
            to = torch.where((to <= low[name]) | (to >= high[name]), middle, to)
            reach[name] = torch.where(step.abs() >= reach[name], 2 * reach[name], reach[name])
            here = torch.isfinite(gap[name]) & (up != 0)
            points[name] = torch.where(here, to, at)
            moved.append((here & ((to - at).abs() > 1e-13 * (1 + at.abs()))).any())
        if not any(_plainly(part) for part in moved):
            break
    return points


def _safe(slope: Tensor) -> Tensor:
    return torch.where(slope == 0, torch.ones_like(slope), slope)


def _plainly(flag: Tensor) -> bool:
    """Whether a flag is true in any lane: it decides only how long to go on, so every lane may decide for all."""
    while torch._C._functorch.is_functorch_wrapped_tensor(flag):  # type: ignore[attr-defined]
        flag = torch._C._functorch.get_unwrapped(flag)  # type: ignore[attr-defined]
    return bool(flag.any())
