r"""Where the log density of one unobserved number steps or bends: a comparison, a clip or an ``abs`` upstream.

Between two neighbouring places of a smooth ``f`` the trapezoid of its slopes, ``h (f'(l) + f'(r)) / 2``, says how much
it rises, up to ``h³``. Where it says otherwise the interval is halved, towards the half that is further off: after so
many halvings what is left of the difference is a step of ``f``, or one of its slope.

>>> import torch
>>> low, high = torch.full((1, 1), -1.0), torch.full((1, 1), 1.5)
>>> found = narrowed(lambda x: ((x > 0.25) * 2.0 - x**2, -2 * x), low, high)
>>> round(found.place.item(), 6), found.step.item(), found.bend.item()
(0.25, True, False)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pcm.errors import FitError

if TYPE_CHECKING:
    from pcm.infer.latent.part import Part

__all__ = ["Breaks", "find_breaks", "narrowed", "stepped"]

#: Places at which a density is first looked at, on how many standard deviations, and breaks a unit that are sought.
PLACES, WIDE, MOST = 73, 9.0, 4
#: Halvings of an interval with a break.
HALVINGS = 40
#: Nats below the highest place beyond which nothing matters.
DEEP = 35.0
#: Steps of the log density, and of its slope relative to it, that rounding does not make.
STEP, BEND = 1e-6, 1e-5
#: How far apart, in standard deviations, one place found twice may be.
SAME = 1e-6

Slopes = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Breaks:
    """Places ``(…)`` and whether the density steps there, or bends."""

    place: Tensor
    step: Tensor
    bend: Tensor


def narrowed(look: Slopes, low: Tensor, high: Tensor) -> Breaks:
    """The break in each interval; ``look`` gives values and slopes at places of that shape."""
    (below, left), (above, right) = look(low), look(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        value, slope = look(middle)
        first = (value - below - (middle - low) * (left + slope) / 2).abs()
        last = (above - value - (high - middle) * (slope + right) / 2).abs()
        up = last > first
        low, below, left = (torch.where(up, *pair) for pair in ((middle, low), (value, below), (slope, left)))
        high, above, right = (torch.where(up, *pair) for pair in ((high, middle), (above, value), (right, slope)))
    step = (above - below).abs() > STEP * (1 + above.abs() + below.abs())
    bend = (right - left).abs() > BEND * (1 + left.abs() + right.abs())
    return Breaks((low + high) / 2, step, bend & ~step)


def find_breaks(part: Part, trials: Sequence[Mapping[str, Tensor]]) -> Tensor | None:
    """Places ``(1, 1, break, unit)`` where the density in the one coordinate left steps or bends; None where nowhere.

    Raises
    ------
    FitError
        Where a parameter moves a step: no gradient tells of that.
    """
    seen = [_found(part, trial) for trial in trials]
    scale = seen[0][1]
    steps, bends = (torch.stack([getattr(found, kind) for found, _ in seen]) for kind in ("step", "bend"))
    if not bool(steps.any()) and (part.kinks or not bool(bends.any())):
        return None
    places = torch.stack([found.place for found, _ in seen])  # (trial, break, unit)
    if _moves(places, steps, scale):
        name = part.names(part.left[0])
        raise FitError(
            f"'{name}' is unobserved for some units, and what was observed steps with it (a comparison, rounding or "
            "Python if) at a place that a parameter moves: no gradient tells of that. Fix the threshold with given(…), "
            f"write the step smoothly (torch.sigmoid), or give the column '{name}'.",
            site=name,
        )
    fixed = torch.zeros_like(bends) if part.kinks or _moves(places, bends, scale) else bends
    kept = torch.where(steps | fixed, places, torch.inf).flatten(0, 1).sort(0).values
    again = torch.cat([torch.zeros_like(kept[:1], dtype=torch.bool), kept.diff(dim=0) <= SAME * scale])
    kept = torch.where(again, torch.inf, kept).sort(0).values
    kept = kept[: int(torch.isfinite(kept).sum(0).max())]
    if not len(kept):
        return None
    return torch.where(torch.isfinite(kept), kept, kept[:1].nan_to_num(posinf=0.0))[None, None]


def stepped(part: Part, trials: Sequence[Mapping[str, Tensor]], coordinate: int) -> bool:
    """Whether the density steps along one coordinate, the others at the middle."""
    return any(bool(_found(part, trial, coordinate)[0].step.any()) for trial in trials)


def _moves(places: Tensor, kinds: Tensor, scale: Tensor) -> bool:
    """Whether two trials that both have breaks in a unit have none in common."""
    for one in range(len(places)):
        for other in range(one):
            apart = (places[one][:, None] - places[other][None]).abs() <= SAME * scale
            common = (apart & kinds[one][:, None] & kinds[other][None]).any(0).any(0)
            if bool((kinds[one].any(0) & kinds[other].any(0) & ~common).any()):
                return True
    return False


def _found(part: Part, trial: Mapping[str, Tensor], coordinate: int | None = None) -> tuple[Breaks, Tensor]:
    """The largest breaks ``(configuration × break, unit)`` under one trial, and the standard deviations ``(unit,)``."""
    lane = {name: value[None] for name, value in trial.items()}
    place = part.placed(lane, 1)
    along = 0 if coordinate is None else part.left.index(coordinate)
    centre, spread = place.centre[0, :, None], place.root[0].square().sum(-1).sqrt()[..., along][:, None]

    def look(at: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            at = at.detach().requires_grad_()
            nodes = centre.expand(*at.shape, -1)
            nodes = torch.cat([nodes[..., :along], at[..., None], nodes[..., along + 1 :]], -1)
            values = part.along(lane, place, nodes[None])[0]
            good = torch.isfinite(values)
            slopes = torch.autograd.grad(torch.where(good, values, 0.0).sum(), at, allow_unused=True)[0]
        slopes = torch.zeros_like(at) if slopes is None else slopes
        return torch.where(good, values, -torch.inf).detach(), torch.nan_to_num(slopes)

    # a little off the middle, where a step may well be
    grid = torch.linspace(-WIDE, WIDE, PLACES, dtype=centre.dtype)[:, None] + 0.0137
    at = centre[..., along] + grid * spread  # (configuration, place, unit)
    values, slopes = look(at)
    off = (values.diff(dim=1) - at.diff(dim=1) * (slopes[:, 1:] + slopes[:, :-1]) / 2).abs()
    top = values.nan_to_num(neginf=-1e300).amax(1, keepdim=True)
    counts = (torch.maximum(values[:, 1:], values[:, :-1]) > top - DEEP) & torch.isfinite(off)
    worst = torch.where(counts, off, 0.0).topk(MOST, dim=1)
    low, high = at.gather(1, worst.indices), at[:, 1:].gather(1, worst.indices)
    found = narrowed(look, low, high)
    real = worst.values > 0
    flat = Breaks(found.place.flatten(0, 1), (found.step & real).flatten(0, 1), (found.bend & real).flatten(0, 1))
    return flat, spread.amax((0, 1))
