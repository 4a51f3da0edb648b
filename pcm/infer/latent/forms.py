"""Which form the density of what some units lack has, found by trying it at random places under several parameters.

A *trial* is a dict of parameter name to tensor. What is tried on a :class:`~pcm.infer.latent.part.Part` divides its
coordinates anew; who asks divides them as the answers say.

>>> from pcm.infer.latent.forms import is_closed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pcm.infer.latent.density import peaks
from pcm.infer.latent.kinks import piece_nodes, piece_probes, piece_values
from pcm.infer.latent.newton import Peak
from pcm.infer.latent.part import Part
from pcm.infer.latent.quadratic import offsets, predicted

__all__ = ["is_closed", "is_pieced", "kinked_coordinates", "moved_kinks", "quadratic_coordinates"]

#: Relative difference from a quadratic that is rounding.
ROUNDING = 1e-8
#: Log densities in which a curvature drowns: a draw of the prior that tells nothing.
WILD = 1e12
#: Sizes of the moves, in standard deviations, by which a density is compared with a quadratic one.
MOVES = (1.0, 3.0, 8.0)


def is_closed(part: Part, trials: Sequence[Mapping[str, Tensor]]) -> bool:
    """Whether the density of every unit is quadratic in all that is missing, under every trial."""
    width, active = part.space.width, part.space.active
    points = offsets(width, part.space.program.dtype)[:, None]
    for number, trial in enumerate(trials):
        lane = _lane(trial)
        part.divide([], "closed")
        place = part.placed(lane, 1)
        values = part.values(lane, place.rest[:, :, None] + points * place.spread[:, :, None])
        alive = torch.isfinite(values).all(2)
        wild = torch.nan_to_num(values).abs().amax() > WILD
        if number and (bool(wild) or not bool(alive.any(1).all())):
            continue  # a wild draw of the prior
        if not bool(torch.isfinite(part.terms(lane, place).total).all()):
            return False
        for moves in _moves(part.space.units, width, number):
            moves = moves * active
            there = part.values(lane, (place.rest + moves * place.spread)[:, :, None])[:, :, 0]
            if not _same(there, predicted(values, moves.expand(*there.shape, width)), values, alive):
                return False
    part.divide([], "closed")
    return not kinked_coordinates(part, trials[:1])


def kinked_coordinates(part: Part, trials: Sequence[Mapping[str, Tensor]]) -> list[int]:
    """Coordinates that move a kink, under any trial."""
    found: set[int] = set()
    for trial in trials:
        lane = _lane(trial)
        part.divide([], "closed")
        middle = part.placed(lane, 1).rest
        moves = torch.cat([torch.zeros(1, part.space.width), torch.eye(part.space.width)])[:, None]
        seen = part.residuals_at(lane, middle[:, :, None] + moves)
        if seen.numel():
            apart = torch.nan_to_num(seen[:, :, 1:] - seen[:, :, :1]).abs()
            found |= set(apart.amax((0, 1, 3, 4)).nonzero().flatten().tolist())
    return sorted(found)


def moved_kinks(part: Part, trials: Sequence[Mapping[str, Tensor]], left: list[int]) -> list[int]:
    """Which kinks the one coordinate left moves; none where one of them does not move in proportion."""
    moving: set[int] = set()
    for trial in trials:
        lane = _lane(trial)
        part.divide(left, "pieces")
        place = part.placed(lane, 1)
        steps = torch.tensor([0.0, 1.0, 2.0, -3.0])[:, None] * place.root[..., None, :, 0, 0]
        seen = part.residuals(lane, place, place.centre[..., 0][:, :, None] + steps)
        slope = seen[:, :, 1] - seen[:, :, 0]
        for at, factor in ((2, 2.0), (3, -3.0)):
            off = (seen[:, :, at] - seen[:, :, 0] - factor * slope).abs()
            if bool((off > 1e-9 * (1 + seen[:, :, 0].abs() + slope.abs())).any()):
                return []
        moving |= set(slope.abs().amax((0, 1, 3)).nonzero().flatten().tolist())
    return sorted(moving)


def is_pieced(part: Part, trials: Sequence[Mapping[str, Tensor]], left: list[int]) -> bool:
    """Whether the density is quadratic between the kinks, under every trial; the part keeps if its pieces have
    curvatures of their own."""
    part.divide(left, "pieces")
    bent = False
    for trial in trials:
        lane = _lane(trial)
        part.at = None
        place = part.placed(lane, 1)
        knots, step = part.knots(lane, place), place.root[..., 0, 0]
        nodes = piece_nodes(knots, step, bent=True)
        values = part.inner(lane, place, torch.cat([nodes, piece_probes(knots, step)], 2)[..., None])[0]
        told, curvatures, apart = piece_values(knots, step, values[:, :, : nodes.shape[2]])
        size = 1 + values.abs().amax(2, keepdim=True)
        same = ((values[:, :, nodes.shape[2] :] - told).abs() <= 10 * ROUNDING * size).all()
        if not bool(same & (curvatures < 0).all()):
            return False
        bent = bent or bool((apart > 1e-6 * size).any())
    part.bent = bent
    return True


def quadratic_coordinates(part: Part, trials: Sequence[Mapping[str, Tensor]], candidates: list[int]) -> list[int]:
    """Coordinates in which, jointly, the density is quadratic whatever the others are."""
    chosen: list[int] = []
    if not candidates:
        return chosen
    peaked = [(trial, peaks(part.space, _lane(trial), 1, part.space.configurations)[0]) for trial in trials]
    for candidate in candidates:
        if all(_is_quadratic(part, trial, peak, [*chosen, candidate]) for trial, peak in peaked):
            chosen.append(candidate)
    return chosen


def _is_quadratic(part: Part, trial: Mapping[str, Tensor], peak: Peak, flat: list[int]) -> bool:
    lane = _lane(trial)
    spread = (peak.factor**2).sum(-1).sqrt()
    spread = torch.where((spread > 0) & torch.isfinite(spread), spread, 1.0)
    part.divide([c for c in range(part.space.width) if c not in flat], "closed")
    points = torch.zeros(len(offsets(len(flat), spread.dtype)), part.space.width, dtype=spread.dtype)
    points[:, flat] = offsets(len(flat), spread.dtype)
    for number, moves in enumerate(_moves(part.space.units, part.space.width, 7)):
        base = torch.nan_to_num(peak.vector) + (1.5 if number else 0.0) * moves.flip(0) / MOVES[number] * spread
        values = part.values(lane, (base[:, None] + points[:, None] * spread[:, None])[None])
        alive = torch.isfinite(values).all(2)
        own = torch.zeros_like(moves)
        own[:, flat] = moves[:, flat]
        there = part.values(lane, (base + own * spread)[None][:, :, None])[:, :, 0]
        shape = (*there.shape, len(flat))
        if not _same(there, predicted(values, own[:, flat].expand(shape)), values, alive):
            return False
    return True


def _moves(units: int, width: int, number: int) -> list[Tensor]:
    generator = np.random.default_rng(number)
    return [torch.from_numpy(size * generator.standard_normal((units, width))) for size in MOVES]


def _same(found: Tensor, told: Tensor, values: Tensor, alive: Tensor) -> bool:
    """Whether densities ``(lane, configuration, unit)`` are what a quadratic told, where that is not impossible."""
    size = 1 + found.abs() + values.abs().amax(2)
    same = (found - told).abs() <= ROUNDING * size
    return bool((same | (~alive & ~torch.isfinite(found))).all())


def _lane(trial: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[None] for name, value in trial.items()}
