r"""The marginal likelihood of units that lack the same sites: ``log Σ_codes ∫ p(observed, missing | parameters)``.

The missing continuous coordinates of a unit divide into those in which the log density is quadratic whatever the
others are — integrated in closed form — and the rest, for which the ladder is: none left, so that all is closed form;
one, with kinks (Laplace noise, clipping) in a density that is quadratic between: closed form between the kinks; one or
two: adaptive quadrature around each unit's mode; more: importance sampling with the same draws at every evaluation.
Which applies is found by trying the density itself at random places, under several values of the parameters.

>>> from pcm.infer.latent.part import Part
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pcm.infer.latent import windows as counts
from pcm.infer.latent.density import peaks
from pcm.infer.latent.kinks import bent_integral, panels, piece_integral, piece_nodes, residuals
from pcm.infer.latent.quadratic import integral, offsets
from pcm.infer.latent.quadrature import LEVELS, Rule, drawn_rule, product_rule
from pcm.infer.latent.space import Space
from pcm.worlds import lane_count

__all__ = ["Part", "Terms"]

#: Elements in one chunk of a vectorised run: 2.5 MB a tensor in float64.
CHUNK = 320_000
#: Importance draws where more than two coordinates are left.
DRAWS = 512
#: Largest error of a rule in nats a unit, by dimension; and where many draws of the parameters are compared.
TOLERANCE = {1: 1e-9, 2: 1e-6}
ROUGHLY = 1e-5
ORDERS = (24, 48, 96)
REACH = 9.0
#: Nats below the integral at which a density has died away, and the share of the distance at which it must have.
DEAD, WITHIN = 25.0, 0.7
#: Standard deviations and nats at and below which a node is too light to be differentiated through.
OUT, LITTLE = 15.0, 18.0
#: With steps nothing is said of tails: how far out they are followed, and where between panels meet.
FAR, TAILS = 40.0, (-12.0, -4.0, 4.0, 12.0)
#: How much wider than the curvature says the first window is, and how often a window is moved at most.
WIDE, ROUNDS = 8.0, 20


@dataclass(frozen=True)
class Place:
    """Where to integrate, all ``(lane, configuration, unit, …)``.

    ``centre`` and ``root`` (a square root of the covariance) of the coordinates left over; ``rest``, ``tilt`` and
    ``spread`` of the quadratic ones: their centre, how it moves with the others, their scale.
    """

    centre: Tensor
    root: Tensor
    rest: Tensor
    tilt: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Terms:
    """Log marginals ``(lane, unit)``, ``(lane, configuration, unit)`` before the sum over configurations, log ratios
    ``(lane, configuration, node, unit)``, and the Gaussian of the quadratic ones."""

    total: Tensor
    terms: Tensor
    ratios: Tensor
    shift: Tensor
    spread: Tensor


class Part:
    """Units that lack the same sites.

    Parameters
    ----------
    make : callable
        The space of these units, given the windows of its endless counts.
    space : Space
    rows : Tensor ``(unit,)``
        Which units of the data they are.
    weights : Tensor ``(unit,)``
        How many units each stands for.
    """

    def __init__(self, make: Callable[[Any], Space], space: Space, rows: Tensor, weights: Tensor) -> None:
        self.make, self.space, self.rows, self.weights = make, space, rows, weights
        self.kind = "sum" if not space.width else "closed"
        self.left: list[int] = []
        self.flat = list(range(space.width))
        self.order = torch.arange(space.width)
        self.level, self.rough, self.looped = 0, 0, False
        self.kinks: list[int] = []
        self.bent = False
        self.still: Tensor | None = None
        self.breaks: Tensor | None = None
        self.draws: Rule | None = None
        self.at: Place | None = None
        self.mode: Tensor | None = None

    # -- the ladder --------------------------------------------------------------------------------------------------

    def divide(self, left: list[int], kind: str) -> None:
        """Leave these coordinates to the method ``kind``, the others to closed form."""
        self.left, self.kind = left, kind
        self.flat = [place for place in range(self.space.width) if place not in left]
        self.order = torch.tensor([*left, *self.flat], dtype=torch.int64).argsort()
        self.at = self.mode = None
        if kind == "drawn":
            self.draws = drawn_rule(DRAWS, len(left), self.space.units)

    def refine(self, parameters: Mapping[str, Tensor]) -> None:
        """Choose the coarsest rule that is fine enough at these parameters, and where simulated, where to draw."""
        if self.kind == "drawn":
            self.at = None
            self.at = self.placed(_lane(parameters), 1)
        if self.kind not in ("quadrature", "panels"):
            return
        tolerance = TOLERANCE[len(self.left)]
        rough: int | None = None
        with torch.no_grad():
            for level in range(self.levels - 1):  # the last is there to be compared with
                self.level = level
                error = self.error(_lane(parameters))
                if error <= ROUGHLY and rough is None:
                    rough = level
                if error <= tolerance:
                    break
        self.rough = self.level if rough is None else rough

    @property
    def levels(self) -> int:
        """How many rules there are."""
        return LEVELS[len(self.left)] if self.kind == "quadrature" else len(ORDERS)

    def error(self, parameters: Mapping[str, Tensor]) -> float:
        """Largest difference from the next finer rule, nats a unit, at parameters ``(lane, …)``."""
        place = self.placed(parameters, lane_count(parameters))
        coarse, fine = (self.terms(parameters, place, level).total for level in (self.level, self.level + 1))
        return float(torch.nan_to_num((coarse - fine).abs(), nan=math.inf).max())

    # -- the density -------------------------------------------------------------------------------------------------

    def log_density(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Sum over units of the log marginal, at parameters ``(lane, …)``; ``(lane,)``."""
        lanes = lane_count(parameters)
        single = lanes == 1
        place = self.placed(parameters, lanes)
        found = self.terms(parameters, place, self.level if single else self.rough)
        while self.space.windows and single:
            more = counts.grown(self.space, counts.edge_share(self.space, found.terms.detach().softmax(-2)))
            if more is None:
                break
            self.space, self.at, self.mode = self.make(more), None, None
            place = self.placed(parameters, lanes)
            found = self.terms(parameters, place)
        if single and self.kind == "closed":
            self._recentre(place, found)
        return (found.total * self.weights).sum(-1)

    @property
    def reach(self) -> float:
        """How many standard deviations panels go out."""
        return REACH if self.breaks is None else FAR

    def names(self, coordinate: int) -> str:
        """The site of a coordinate."""
        return next(n for n, slot in self.space.slots.items() if slot.start <= coordinate < slot.stop)

    def along(self, parameters: Mapping[str, Tensor], place: Place, nodes: Tensor) -> Tensor:
        """Log integrals ``(lane, configuration, node, unit)`` over the quadratic coordinates, the others at nodes."""
        return self.inner(parameters, place, nodes)[0]

    def cost(self) -> int:
        """Values a site takes in one evaluation."""
        width = len(self.flat)
        return len(self.space.configurations) * self.nodes * (width + 1) * (width + 2) // 2 * self.space.units

    @property
    def nodes(self) -> int:
        """Nodes of the rule."""
        if self.kind == "panels":
            extra = 0 if self.breaks is None else len(TAILS) + self.breaks.shape[2]
            return ORDERS[self.level] * (len(self.kinks) + extra + 1)
        if self.kind == "pieces":
            return 2 * len(self.kinks) + 3 if self.bent else len(self.kinks) + 3
        return len(self._rule(self.level).nodes) if self.left else 1

    def _rule(self, level: int) -> Rule:
        if self.kind == "drawn":
            assert self.draws is not None
            return self.draws
        return product_rule(level, len(self.left))

    def terms(self, parameters: Mapping[str, Tensor], place: Place, level: int | None = None) -> Terms:
        """Log marginals at parameters ``(lane, …)``, by the rule of a level."""
        space, level = self.space, self.level if level is None else level
        if self.kind == "pieces":
            knots, step = self.knots(parameters, place), place.root[..., 0, 0]
            nodes = piece_nodes(knots, step, bent=self.bent)
            ratios, shift, spread = self.inner(parameters, place, nodes[..., None])
            values = (bent_integral if self.bent else piece_integral)(knots, step, ratios)
        elif self.kind == "panels":
            values, ratios, shift, spread = self._panelled(parameters, place, ORDERS[level])
        elif self.left:
            rule = self._rule(level)
            turned = torch.einsum("lcuij,kuj->lckui", place.root, rule.nodes.expand(-1, space.units, -1))
            scale = place.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)[:, :, None]
            log_weights = scale + rule.log_weights.reshape(len(rule.nodes), -1)
            inner, shift, spread = self._outer(
                parameters, place, place.centre[:, :, None] + turned, log_weights, rule.nodes.norm(dim=-1)
            )
            ratios = inner + log_weights
            values = ratios.logsumexp(2)
        else:
            ratios, shift, spread = self.inner(parameters, place, place.centre[:, :, None])
            values = ratios[:, :, 0]
        if len(space.counted) == 1:
            return Terms(values[:, 0], values, ratios, shift, spread)
        values = values + torch.where(space.counted, 0.0, -torch.inf)
        return Terms(values.logsumexp(1), values, ratios, shift, spread)

    def _panelled(
        self, parameters: Mapping[str, Tensor], place: Place, order: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        centre, reach = place.centre[..., 0], self.reach * place.root[..., 0, 0]
        nodes, log_weights = panels(self.knots(parameters, place), centre - reach, centre + reach, order)
        radius = (nodes - centre[:, :, None]).abs() / place.root[..., 0, 0][:, :, None]
        inner, shift, spread = self._outer(parameters, place, nodes[..., None], log_weights, radius)
        ratios = inner + log_weights
        return ratios.logsumexp(2), ratios, shift, spread

    def _outer(
        self, parameters: Mapping[str, Tensor], place: Place, nodes: Tensor, log_weights: Tensor, radius: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """:meth:`inner` where far-out nodes (``radius`` in standard deviations) may overflow the program, as exp does.

        Where the density has died away well within them such nodes weigh nothing; elsewhere what is not a number stays
        so. Nothing is differentiated through them, nor through others whose weight is negligible: a derivative
        overflows (or is 0/0) long before a value does.
        """
        far, graded = radius > (math.inf if self.kind == "drawn" else OUT), torch.is_grad_enabled()
        with torch.set_grad_enabled(graded and not bool(far.any())):
            found = self.inner(parameters, place, nodes)
        bad = ~torch.isfinite(found[0])
        if not bool(bad.any() | far.any()):
            return found
        with torch.no_grad():
            logs, wrong = torch.where(bad, -math.inf, found[0] + log_weights), torch.isnan(found[0])
            total = logs.logsumexp(2, keepdim=True)
            first = torch.where(wrong, radius.expand_as(logs), math.inf).amin(2, keepdim=True)
            near = torch.where(radius >= WITHIN * first, logs, -math.inf).logsumexp(2, keepdim=True)
            alive = wrong.any(2, keepdim=True) & ~(near < total - DEAD)
            still = bad | (far & (logs < total - LITTLE))
        inner = torch.where(bad, -math.inf, found[0].detach() if graded else found[0])
        if graded:
            found = self.inner(parameters, place, torch.where(still[..., None], place.centre[:, :, None], nodes))
            inner = torch.where(still, inner, found[0])
        return torch.where(alive, math.nan, inner), *found[1:]

    def inner(self, parameters: Mapping[str, Tensor], place: Place, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log integrals ``(lane, configuration, node, unit)`` over the quadratic coordinates, the others at nodes."""
        if not self.flat:
            values = self.values(parameters, nodes[:, :, :, None])[:, :, :, 0]
            return values, place.spread[:, :, None], place.spread[:, :, None]
        points = offsets(len(self.flat), nodes.dtype)[:, None]
        rest = place.rest[:, :, None]
        if self.left:
            rest = rest + torch.einsum("lcuij,lckuj->lckui", place.tilt, nodes - place.centre[:, :, None])
        vectors = rest[:, :, :, None] + points * place.spread[:, :, None, None]
        if self.left:
            others = nodes[:, :, :, None].expand(*vectors.shape[:-1], len(self.left))
            vectors = torch.cat([others, vectors], -1)[..., self.order]
        values = self.values(parameters, vectors)
        active = self.space.active[:, self.flat]
        spread = place.spread[:, :, None].expand(*values.shape[:3], *place.spread.shape[2:])
        found = integral(values, spread, active, locate=self.kind == "closed" and values.shape[0] == 1)
        return found.log_integral, found.shift, found.spread

    def values(self, parameters: Mapping[str, Tensor], vectors: Tensor) -> Tensor:
        """Log densities ``(lane, configuration, …, unit)`` at ``(lane, configuration, …, unit, coordinate)``."""
        codes, space = self.space.configurations, self.space
        return self._over(parameters, vectors, lambda p, v, c: space.log_joint(p, v, c), codes)

    def _over(self, parameters: Mapping[str, Tensor], vectors: Tensor, one: Any, codes: Tensor) -> Tensor:
        lanes, configurations, *middle, units, width = vectors.shape
        each = math.prod(middle)
        flat = vectors.reshape(lanes, configurations * each, units, width)
        many = codes.repeat_interleave(each, 0)
        chunk = None if torch.is_grad_enabled() and lanes == 1 else max(1, CHUNK // max(1, units))

        def inner(values: Mapping[str, Tensor], vector: Tensor) -> Tensor:
            return torch.func.vmap(lambda v, c: one(values, v, c), chunk_size=chunk)(vector, many)

        if not self.looped:
            try:
                if lanes == 1:
                    out = inner({name: value[0] for name, value in parameters.items()}, flat[0])[None]
                else:
                    out = torch.func.vmap(inner)(dict(parameters), flat)
                return out.reshape(lanes, configurations, *middle, *out.shape[2:])
            except (RuntimeError, TypeError, ValueError, NotImplementedError):
                self.looped = True  # what cannot be mapped is run one by one; a fault of the program shows there
        rows = []
        for lane in range(lanes):
            values = {name: value[lane] for name, value in parameters.items()}
            rows.append(torch.stack([one(values, v, c) for v, c in zip(flat[lane], many, strict=True)]))
        out = torch.stack(rows)
        return out.reshape(lanes, configurations, *middle, *out.shape[2:])

    # -- where to integrate ------------------------------------------------------------------------------------------

    def placed(self, parameters: Mapping[str, Tensor], lanes: int) -> Place:
        """Where to integrate at these parameters; a search, without gradient."""
        space = self.space
        still = {name: value.detach() for name, value in parameters.items()}
        with torch.no_grad():
            if self.kind in ("closed", "sum", "pieces", "drawn"):
                if self.at is None:
                    self.at = self._first({name: value[:1] for name, value in still.items()})
                return Place(*(part.expand(lanes, *part.shape[1:]) for part in vars(self.at).values()))
            if self.kind == "panels":
                return self._window(still, lanes)
            if lanes > 1 and self.at is not None:
                return self._nudged(still, Place(*(p.expand(lanes, *p.shape[1:]) for p in vars(self.at).values())))
            start = None if self.mode is None else self.mode[0]
            if start is not None and lanes > 1:
                start = start.repeat(lanes, 1, 1)
            peak, _ = peaks(space, still, lanes, space.configurations, start, 1e-13 if start is None else 1e-4)
            shape = (lanes, len(space.configurations))
            mode, factor = (part.reshape(*shape, *part.shape[1:]) for part in (peak.vector, peak.factor))
            if lanes == 1 and bool(torch.isfinite(mode).all()) and bool(peak.converged.all()):
                self.mode, self.at = mode, self._around(mode, factor @ factor.mT)
                return self.at
            return self._around(mode, factor @ factor.mT)

    def _nudged(self, parameters: Mapping[str, Tensor], place: Place) -> Place:
        """The place moved about as far as each unit's mode, by the density at a few points around it."""
        points = offsets(len(self.left), place.root.dtype)[:, None]
        steps = torch.einsum("lcuij,kuj->lckui", place.root, points.expand(-1, self.space.units, -1))
        inner, _, _ = self.inner(parameters, place, place.centre[:, :, None] + steps)
        ones = torch.ones(*place.centre.shape, dtype=place.root.dtype)
        found = integral(inner, ones, torch.ones(self.space.units, len(self.left), dtype=torch.bool), locate=True)
        shift = torch.nan_to_num(found.shift).clamp(-2.0, 2.0)
        moved = (place.root @ shift[..., None]).squeeze(-1)
        rest = place.rest + torch.einsum("lcuij,lcuj->lcui", place.tilt, moved)
        return Place(place.centre + moved, place.root, rest, place.tilt, place.spread)

    def _first(self, parameters: Mapping[str, Tensor]) -> Place:
        space = self.space
        if self.kind == "drawn":
            peak, _ = peaks(space, parameters, 1, space.configurations)
            return self._around(peak.vector[None], (peak.factor @ peak.factor.mT)[None])
        one = {name: value[0] for name, value in parameters.items()}
        middle = torch.stack([space.start(one, codes) for codes in space.configurations])[None]
        middle = middle * space.active
        if self.kind in ("closed", "sum"):
            place = self._around(middle, torch.eye(space.width, dtype=middle.dtype).expand(*middle.shape, -1))
            for _ in range(2):
                place = self._moved(place, self.terms(parameters, place))
            return place
        peak, _ = peaks(space, parameters, 1, space.configurations, middle[0], iterations=1)  # the smooth curvature
        return self._around(peak.vector[None], (peak.factor @ peak.factor.mT)[None])

    def _window(self, parameters: Mapping[str, Tensor], lanes: int) -> Place:
        """Mean and standard deviation of the one coordinate left, by the integral itself, starting from the last.

        Once is enough where the last window held the mass; else it grows towards where the mass is, and shrinks there.
        """
        if self.at is None:
            self.at = self._first({name: value[:1] for name, value in parameters.items()})
            self.at = self.at if self.breaks is not None else replace(self.at, root=WIDE * self.at.root)
        place = Place(*(part.expand(lanes, *part.shape[1:]) for part in vars(self.at).values()))
        for _ in range(ROUNDS):
            centre, step = place.centre[..., 0], place.root[..., 0, 0]
            knots = self.knots(parameters, place)
            nodes, log_weights = panels(knots, centre - self.reach * step, centre + self.reach * step, ORDERS[0])
            inner, _, _ = self.inner(parameters, place, nodes[..., None])
            weights = torch.nan_to_num(torch.nan_to_num(inner + log_weights, nan=-math.inf).softmax(2))
            empty = weights.sum(2) == 0
            mean = torch.where(empty, centre, (weights * nodes).sum(2))
            spread = (weights * (nodes - mean[:, :, None]) ** 2).sum(2).sqrt()
            moved = (mean - centre).abs()
            held = (moved <= step) & (spread <= 1.5 * step) & (spread >= 0.2 * step)
            # a mass on one node is narrower than nodes are apart, one far from the centre may reach farther out
            spread = torch.where(moved > 2 * step, torch.maximum(spread, moved), torch.maximum(spread, 0.15 * step))
            spread = torch.where(empty, step, spread)
            rest = place.rest + torch.einsum("lcuij,lcuj->lcui", place.tilt, mean[..., None] - place.centre)
            place = Place(mean[..., None], spread[..., None, None], rest, place.tilt, place.spread)
            if bool((held | empty).all()):
                break
        if lanes == 1 and bool(torch.isfinite(place.centre).all()):
            self.at = place
        return place

    def _around(self, mode: Tensor, covariance: Tensor) -> Place:
        left, flat = self.left, self.flat
        own = covariance[..., left, :][..., left]
        root = torch.linalg.cholesky_ex(own)[0]
        tilt = covariance[..., flat, :][..., left]
        if left:
            tilt = torch.linalg.solve(own, tilt.mT).mT
        within = covariance[..., flat, :][..., flat] - tilt @ covariance[..., left, :][..., flat]
        spread = within.diagonal(dim1=-2, dim2=-1).clamp(min=0.0).sqrt()
        spread = torch.where((spread > 0) & torch.isfinite(spread), spread, 1.0)
        return Place(mode[..., left], root, mode[..., flat], tilt, spread)

    def _moved(self, place: Place, found: Terms) -> Place:
        """The place moved to the mode of the Gaussian found there."""
        shift, spread = found.shift[:, :, 0].detach(), found.spread[:, :, 0].detach()
        good = (torch.isfinite(shift) & torch.isfinite(spread) & (spread > 0)).all(-1, keepdim=True)
        rest = torch.where(good, place.rest + shift, place.rest)
        return Place(place.centre, place.root, rest, place.tilt, torch.where(good, spread, place.spread))

    def _recentre(self, place: Place, found: Terms) -> None:
        """From the next evaluation on, expand about the mode found: nothing changes but the rounding."""
        self.at = self._moved(place, found)

    def knots(self, parameters: Mapping[str, Tensor], place: Place) -> Tensor:
        """Where panels meet, ``(lane, configuration, kink, unit)``, in the one coordinate left; ascending.

        Differentiable where kinks move with the parameters.
        """
        if self.breaks is None:
            return self._kinks(parameters, place)
        centre, step = place.centre[..., 0][:, :, None], place.root[..., 0, 0][:, :, None]
        found = [centre + step * torch.tensor(TAILS, dtype=step.dtype)[:, None]]
        found.append(self.breaks.expand(*centre.shape[:2], *self.breaks.shape[2:]))
        if self.kinks:
            found.append(self._kinks(parameters, place))
        return torch.cat(found, 2).sort(2).values

    def _kinks(self, parameters: Mapping[str, Tensor], place: Place) -> Tensor:
        if self.still is not None:
            return self.still.expand(place.centre.shape[0], *self.still.shape[1:])
        step = place.root[..., 0, 0]
        both = torch.stack([place.centre[..., 0], place.centre[..., 0] + step], 2)
        found = self.residuals(parameters, place, both)[..., self.kinks, :]
        slope = found[:, :, 1] - found[:, :, 0]
        bent = slope.abs() > 0
        away = -found[:, :, 0] / torch.where(bent, slope, 1.0)
        away = torch.where(bent, away, 1e3).clamp(-1e3, 1e3)
        knots = place.centre[..., 0].unsqueeze(2) + away * step.unsqueeze(2)
        return knots.sort(2).values if len(self.kinks) > 1 else knots

    def residuals(self, parameters: Mapping[str, Tensor], place: Place, at: Tensor) -> Tensor:
        """Residuals of kinked sites ``(lane, configuration, node, kink, unit)`` with the coordinate left at nodes."""
        rest = place.rest[:, :, None].expand(*at.shape, len(self.flat))
        return self.residuals_at(parameters, torch.cat([at[..., None], rest], -1)[..., self.order])

    def residuals_at(self, parameters: Mapping[str, Tensor], vectors: Tensor) -> Tensor:
        """Residuals of kinked sites ``(lane, configuration, …, kink, unit)`` at vectors as for :meth:`values`."""
        space = self.space
        return self._over(parameters, vectors, lambda p, v, c: residuals(space, p, v, c), space.configurations)


def _lane(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach()[None] for name, value in parameters.items()}
