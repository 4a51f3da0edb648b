"""Solving observed columns for their noise, in every unit at once: affine maps in one step, others by Newton.

With ``x = f(rest, u)`` one to one in ``u``, the density of ``x`` given the rest is ``p(u) |∂u/∂x|`` at the solution.
Columns that share their noises are solved jointly: then ``u`` and ``x`` are vectors, and it is ``p(u) / |det ∂x/∂u|``.
Newton runs on plain numbers, safeguarded (by a bracket; of a system by shortening steps); two more steps from where it
ends are left to differentiation, and carry the first and second derivatives of the solution in the rest exactly (each
step doubles the order that is right).

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
            steps = exact.steps(gap, slope)
            points = {name: points[name] + steps[name] for name in points}
        gap, slope = exact(points)
        raw.update(points)
        size = exact.log_slopes(slope)
        for name, mask in exact.masks.items():
            close = gap[name].abs() <= TOLERANCE[total.dtype] * (1 + exact.targets[name].abs())
            term = torch.where(close, -size[name], -torch.inf)
            total = total + space.by_unit(torch.where(mask, term, 0.0), name)
    return Solved(raw, total)


class _Level:
    """Columns minus what the program computes for them, and how fast they change, at given noises.

    A *system* is a tuple of carriers whose columns are solved jointly, mostly of one.
    """

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
        joint: dict[int, dict[str, None]] = {}
        for link in level:
            joint.setdefault(link.system, {})[link.carrier] = None
        alone = [(name,) for name in joint.pop(0, {})]
        self.systems = [*alone, *(tuple(names) for names in joint.values())]

    def __call__(self, points: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
        """Gap of every carrier's column, and its slope in the carriers of its system.

        In units that are not solved for a carrier the gap is 0 and the slope 1.
        """

        def columns(at: dict[str, Tensor]) -> dict[str, Tensor]:
            made = self.space.computed(*self.fixed, {**self.before, **at})
            here: dict[str, Tensor] = {}
            for link in self.level:
                part = torch.where(self.space.spread(link.mask, link.column), made[link.column], 0.0)
                here[link.carrier] = here[link.carrier] + part if link.carrier in here else part
            return here

        made, back = torch.func.vjp(columns, points)  # type: ignore[assignment]
        gap = {name: self.targets[name] - value for name, value in made.items()}
        slope: dict[str, dict[str, Tensor]] = {}
        for turn in range(max(map(len, self.systems))):  # one column of every system at a time
            rows = {system[turn]: system for system in self.systems if turn < len(system)}
            found = back({n: torch.ones_like(v) if n in rows else torch.zeros_like(v) for n, v in made.items()})[0]
            for row, system in rows.items():
                idle = {name: 1.0 if name == row else 0.0 for name in system}
                slope[row] = {name: torch.where(self.masks[row], found[name], idle[name]) for name in system}
        return gap, slope

    def matrix(self, slope: Mapping[str, Mapping[str, Tensor]], system: tuple[str, ...]) -> Tensor:
        """The Jacobian of a system, ``(*inner, unit, *event, column, carrier)``; the identity where it is singular."""
        found = torch.stack([torch.stack([slope[row][name] for name in system], -1) for row in system], -2)
        good = (torch.linalg.det(found) != 0) & torch.isfinite(found).all(-1).all(-1)
        return torch.where(good[..., None, None], found, torch.eye(len(system), dtype=found.dtype))

    def steps(self, gap: Mapping[str, Tensor], slope: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Newton's step of every carrier."""
        found: dict[str, Tensor] = {}
        for system in self.systems:
            if len(system) == 1:
                found[system[0]] = gap[system[0]] / _safe(slope[system[0]][system[0]])
                continue
            apart = torch.stack([gap[name] for name in system], -1)[..., None]
            made = torch.linalg.solve(self.matrix(slope, system), apart).squeeze(-1)
            found |= dict(zip(system, made.unbind(-1), strict=True))
        return found

    def log_slopes(self, slope: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """``log |det J|`` of every system, at its first carrier; infinite where singular, in all its carriers."""
        found: dict[str, Tensor] = {}
        for system in self.systems:
            if len(system) == 1:
                own = slope[system[0]][system[0]]
                found[system[0]] = torch.where(own == 0, torch.inf, _safe(own).abs().log())
                continue
            matrix = self.matrix(slope, system)
            plain = torch.stack([torch.stack([slope[row][name] for name in system], -1) for row in system], -2)
            singular = torch.linalg.det(plain.detach()) == 0
            size = torch.where(singular, torch.inf, torch.linalg.slogdet(matrix).logabsdet)
            # units may lack some of the system's columns: whichever they have is the first that counts
            for place, name in enumerate(system):
                earlier = [self.masks[other] for other in system[:place]]
                first = ~torch.stack([torch.zeros_like(self.masks[name]), *earlier]).any(0)
                found[name] = torch.where(first | singular, size, 0.0)
        return found


def _search(level: _Level) -> dict[str, Tensor]:
    """Newton's method on plain numbers: within a bracket for one carrier, with shortened steps for a system."""
    points = dict(level.start)
    low = {name: torch.full_like(value, -torch.inf) for name, value in points.items()}
    high = {name: torch.full_like(value, torch.inf) for name, value in points.items()}
    reach = {name: 1.0 + value.abs() for name, value in points.items()}
    joint = [_Joint(level, system) for system in level.systems if len(system) > 1]
    for _ in range(_STEPS):
        gap, slope = level(points)
        steps = level.steps(gap, slope)
        moved = [system.move(points, gap, slope) for system in joint]
        for (name,) in (system for system in level.systems if len(system) == 1):
            at = points[name]
            up = gap[name] * slope[name][name].sign()
            low[name], high[name] = torch.where(up > 0, at, low[name]), torch.where(up < 0, at, high[name])
            step = torch.nan_to_num(steps[name]).clamp(min=-reach[name], max=reach[name])
            to = at + step
            middle = torch.where(torch.isfinite(low[name] + high[name]), (low[name] + high[name]) / 2, to)
            to = torch.where((to <= low[name]) | (to >= high[name]), middle, to)
            # a bracket that starts infinite: a step never leaves it, nor grows by more than it has to
            reach[name] = torch.where(step.abs() >= reach[name], 2 * reach[name], reach[name])
            here = torch.isfinite(gap[name]) & (up != 0)
            points[name] = torch.where(here, to, at)
            moved.append((here & ((to - at).abs() > 1e-13 * (1 + at.abs()))).any())
        if not any(_plainly(part) for part in moved):
            break
    return points


class _Joint:
    """Newton's steps of one system, shortened until they lead nearer and lengthened again after.

    How near is measured in the step's own coordinates, ``|J⁻¹ gap|`` with the Jacobian of the last good place.
    """

    def __init__(self, level: _Level, system: tuple[str, ...]) -> None:
        self.level, self.system = level, system
        self.best = torch.stack([level.start[name] for name in system], -1)
        self.step = torch.zeros_like(self.best)
        self.matrix = torch.eye(len(system), dtype=self.best.dtype).expand(*self.best.shape, len(system))
        self.near = torch.full_like(self.best[..., 0], torch.inf)
        self.size = torch.ones_like(self.near)

    def move(
        self, points: dict[str, Tensor], gap: Mapping[str, Tensor], slope: Mapping[str, Mapping[str, Tensor]]
    ) -> Tensor:
        """Put the next trial into ``points``, given gaps and slopes at the last one; whether any cell moves."""
        at, apart = (torch.stack([part[name] for name in self.system], -1) for part in (points, gap))
        here = torch.linalg.solve(self.matrix, apart[..., None]).squeeze(-1).norm(dim=-1)
        better = (here <= (1 - self.size / 4) * self.near) & torch.isfinite(here)
        matrix = torch.where(better[..., None, None], self.level.matrix(slope, self.system), self.matrix)
        step = torch.linalg.solve(matrix, torch.nan_to_num(apart)[..., None]).squeeze(-1)
        self.matrix, self.best = matrix, torch.where(better[..., None], at, self.best)
        self.step = torch.where(better[..., None], step, self.step)
        self.near = torch.where(better, step.norm(dim=-1), self.near)
        self.size = torch.where(better, (2 * self.size).clamp(max=1.0), self.size / 2)
        by = torch.where((self.size > 1e-12)[..., None], self.size[..., None] * self.step, 0.0)
        points.update(zip(self.system, (self.best + by).unbind(-1), strict=True))
        return (by.abs() > 1e-13 * (1 + self.best.abs())).any()


def _safe(slope: Tensor) -> Tensor:
    return torch.where(slope == 0, torch.ones_like(slope), slope)


def _plainly(flag: Tensor) -> bool:
    """Whether a flag is true in any lane: it decides only how long to go on, so every lane may decide for all."""
    while torch._C._functorch.is_functorch_wrapped_tensor(flag):  # type: ignore[attr-defined]
        flag = torch._C._functorch.get_unwrapped(flag)  # type: ignore[attr-defined]
    return bool(flag.any())
