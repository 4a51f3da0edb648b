r"""The likelihood of data with holes: ``Σ_units log ∫ p(observed, missing | parameters) d missing``.

Units are grouped by what they lack; each group takes the first rung of the ladder of :mod:`pcm.infer.latent.part` that
is right for it. The rung is found by trying the density itself — is it quadratic, in which coordinates, does it have
kinks — under several values of the parameters, and said in :attr:`Marginal.account`.

>>> import pyro, pyro.distributions as dist, torch
>>> from pcm.program import Program
>>> from pcm.worlds import WorldPlan
>>> def pair():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     pyro.sample("b", dist.Normal(a, 1.0))
>>> program = Program(pair)
>>> with program.sealed():
...     plan = WorldPlan(program.structure, {})
...     hole = torch.tensor([True, True])
...     marginal = Marginal(program, plan, {"b": torch.tensor([0.0, 2.0])}, {"a": hole}, 2, [{}])
...     found = marginal.log_densities({})
>>> exact = torch.distributions.Normal(0.0, 2**0.5).log_prob(torch.tensor([0.0, 2.0])).sum()
>>> bool((found[0] - exact).abs() < 1e-6), marginal.account
(True, ('a, missing in 2 units: integrated out in closed form (Gaussian)',))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.errors import EvidenceError
from pcm.infer.latent.density import peaks
from pcm.infer.latent.links import Links
from pcm.infer.latent.newton import Peak
from pcm.infer.latent.part import Part
from pcm.infer.latent.quadratic import offsets, predicted
from pcm.infer.latent.smooth import smoothed
from pcm.infer.latent.space import Space
from pcm.infer.latent.windows import Windows, edge_share, endless, first_windows
from pcm.program import Program
from pcm.worlds import WorldPlan

__all__ = ["Marginal"]

#: Elements in one chunk of parameter draws.
CHUNK = 200_000
#: Units on which the method is chosen.
PROBED = 256
#: Relative difference from a quadratic that is rounding.
ROUNDING = 1e-8
#: Log densities in which a curvature drowns: a draw of the prior that tells nothing.
WILD = 1e12
#: Sizes of the moves, in standard deviations, by which a density is compared with a quadratic one.
MOVES = (1.0, 3.0, 8.0)


class Marginal:
    """The marginal likelihood of all units.

    Parameters
    ----------
    program : Program
    plan : WorldPlan
    known, missing : dict
        As for :class:`~pcm.infer.latent.space.Space`.
    units : int
    trials : list of dict of name to tensor
        Values of the parameters at which to try the density; the search for the posterior starts at the first.
    bounds, solved : dict, optional
        As for :class:`~pcm.infer.latent.space.Space`.

    Attributes
    ----------
    links : Links
        What the columns of ``solved`` are solved for.
    computed : dict of name to tensor
        What the program computes for them with everything missing at its median.

    Raises
    ------
    EvidenceError
        A column that is one to one in nothing that is missing.
    """

    def __init__(
        self,
        program: Program,
        plan: WorldPlan,
        known: Mapping[str, Tensor],
        missing: Mapping[str, Tensor],
        units: int,
        trials: Sequence[Mapping[str, Tensor]],
        bounds: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        solved: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.bounds, self.solved = dict(bounds or {}), dict(solved or {})
        self.program, self.plan, self.known, self.missing, self.units = program, plan, known, missing, units
        self.counts = endless(program.structure.sites, missing)
        self.parts: list[Part] = []
        self.links, self.computed, self.first = self._linked(trials)
        self.kept, self.stands, self.weights = self._distinct()
        discrete = [name for name in missing if program.structure.sites[name].discrete]
        with torch.no_grad():
            for rows in self._alike(discrete):
                groups = self._alike(list(missing), rows)
                some = max(2, PROBED // len(groups))
                probe = self._part(torch.cat([group[:some] for group in groups]), trials[0])
                if probe.kind == "sum" or self._closed(probe, trials):
                    self.parts.append(self._part(rows, trials[0]))
                else:
                    self.parts += [self._divided(group, trials) for group in groups]

    # -- asking it ---------------------------------------------------------------------------------------------------

    def log_density(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The log likelihood at one value of the parameters, a scalar; differentiable, also twice."""
        return self._sum({name: value[None] for name, value in parameters.items()})[0]

    def log_densities(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The log likelihood at parameters ``(draw, …)``; ``(draw,)``."""
        lanes = next(iter(parameters.values())).shape[0] if parameters else 1
        step = max(1, CHUNK // max(1, self.cost))
        found = [
            self._sum({name: value[start : start + step] for name, value in parameters.items()})
            for start in range(0, lanes, step)
        ]
        return torch.cat(found)

    @property
    def cost(self) -> int:
        """Values a site takes in one evaluation."""
        return sum(part.cost() for part in self.parts)

    @property
    def settled(self) -> bool:
        """Whether nothing depends on where the parameters are: no rule to choose, no draws to place."""
        return all(part.kind in ("sum", "closed", "pieces") for part in self.parts)

    def settle(self, parameters: Mapping[str, Tensor]) -> None:
        """Choose rules fine enough at these parameters, and place what is drawn."""
        for part in self.parts:
            part.refine(parameters)

    @property
    def account(self) -> tuple[str, ...]:
        """How each group of units was integrated, in words; groups that went the same way together."""
        sizes: dict[tuple[str, str], int] = {}
        for part in self.parts:
            for link in (link for level in part.space.links.levels for link in level):
                key = (link.carrier, f"solved from {link.column}")
                sizes[key] = sizes.get(key, 0) + int(part.weights[link.mask].sum())
            key = (", ".join(part.space.inferred), _words(part))
            if part.space.inferred:
                sizes[key] = sizes.get(key, 0) + int(part.weights.sum())
        return tuple(f"{names}, missing in {count} units: {words}" for (names, words), count in sizes.items())

    def problems(self, parameters: Mapping[str, Tensor]) -> list[str]:
        """What is not accurate at parameters ``(draw, …)``, in words."""
        found = []
        one = {name: value[:1] for name, value in parameters.items()}
        with torch.no_grad():
            for part in self.parts:
                names = ", ".join(part.space.inferred)
                found += [f"{names}: {words}" for words in self._doubts(part, parameters, one)]
        return found

    @property
    def barren(self) -> dict[str, Tensor]:
        """For each missing site, the units in which nothing below it was observed."""
        found = {name: torch.zeros(self.units, dtype=torch.bool) for name in self.missing if name not in self.plan.sets}
        for part in self.parts:
            for name, mask in part.space.barren.items():
                found[name][part.rows] = mask
        return {name: mask[self.stands] for name, mask in found.items()}

    def filled(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values of missing sites and solved columns: about the middle of each unit's likeliest configuration."""
        sites = self.program.structure.sites
        found = {name: self.known[name].clone() for name in (*self.missing, *self.solved) if name in self.known}
        lane = {name: value[None] for name, value in parameters.items()}
        for part in self.parts:
            part.log_density(lane)  # windows grow to where the counts are
            space, place = part.space, part.placed(lane, 1)
            best = torch.nan_to_num(part.terms(lane, place).terms[0], nan=-math.inf).argmax(0)
            middle = torch.cat([place.centre[0], place.rest[0]], -1)[..., part.order]
            vector = middle[best, torch.arange(space.units)]
            uniform = {
                name: torch.full((*sites[name].inner, space.units, *sites[name].noise), 0.5) for name in space.barren
            }
            made = space.complete(parameters, vector, space.configurations[best], uniform)
            for name, value in made.items():
                inner = len(sites[name].inner)
                found[name] = found[name].index_copy(inner, part.rows, value.to(found[name].dtype))
        return {name: value.index_select(len(sites[name].inner), self.stands) for name, value in found.items()}

    # -- private -----------------------------------------------------------------------------------------------------

    def _sum(self, parameters: Mapping[str, Tensor]) -> Tensor:
        return sum((part.log_density(parameters) for part in self.parts), torch.zeros(()))

    def _distinct(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows that differ, for each unit the one that stands for it, and how many each stands for.

        Where evidence is discrete, many units are alike; otherwise all rows are kept.
        """
        every = torch.arange(self.units)
        sites = self.program.structure.sites
        columns = [
            value.movedim(len(sites[name].inner), 0).reshape(self.units, -1).to(torch.float64)
            for name, value in self.known.items()
        ]
        columns += [mask[:, None].to(torch.float64) for mask in (*self.missing.values(), *self.solved.values())]
        columns += [torch.stack(ends, 1) for ends in self.bounds.values()]
        if all(2 * len(torch.unique(column)) <= self.units * column.shape[1] for column in columns):
            _, which, counts = torch.unique(torch.cat(columns, 1), dim=0, return_inverse=True, return_counts=True)
            if 2 * len(counts) <= self.units:
                first = torch.full((len(counts),), self.units).scatter_reduce(0, which, every, "amin")
                weights = torch.zeros(self.units, dtype=self.program.dtype)
                weights[first] = counts.to(weights.dtype)
                return first.sort().values, first[which], weights
        return every, every, torch.ones(self.units, dtype=self.program.dtype)

    def _alike(self, names: list[str], rows: Tensor | None = None) -> list[Tensor]:
        """Rows in groups that lack the same of these sites."""
        rows = self.kept if rows is None else rows
        if not names:
            return [rows]
        masks = [self.missing[name] for name in names]
        masks += [(low > -math.inf) | (high < math.inf) for low, high in self.bounds.values()]
        masks += self.solved.values()
        pattern = torch.stack([mask[rows] for mask in masks], 1)
        _, which = torch.unique(pattern, dim=0, return_inverse=True)
        return [rows[which == group] for group in range(int(which.max()) + 1)]

    def _linked(
        self, trials: Sequence[Mapping[str, Tensor]]
    ) -> tuple[Links, Mapping[str, Tensor], Mapping[str, Tensor]]:
        """What columns are solved for, what the program computes for them, and the parameters at which that was found.

        The first trial may be special (an effect of zero); it is the last resort.
        """
        if not self.solved:
            return Links(), {}, trials[0]
        windows = dict.fromkeys(self.counts, (torch.zeros((), dtype=torch.float64), 1))
        refused: EvidenceError | None = None
        for trial in (*trials[1:], trials[0]):
            try:
                space = Space(
                    self.program,
                    self.plan,
                    self.known,
                    self.missing,
                    self.units,
                    bounds=self.bounds,
                    windows=windows,
                    solved=self.solved,
                    parameters=trial,
                )
                return space.links, space.typical[0], trial
            except EvidenceError as error:
                refused = error
        assert refused is not None
        raise refused

    def _space(self, rows: Tensor, windows: Windows) -> Space:
        sites = self.program.structure.sites
        known = {name: value.index_select(len(sites[name].inner), rows) for name, value in self.known.items()}
        missing = {name: mask[rows] for name, mask in self.missing.items() if bool(mask[rows].any())}
        bounds = {name: (low[rows], high[rows]) for name, (low, high) in self.bounds.items() if name in missing}
        return Space(
            self.program,
            self.plan,
            known,
            missing,
            len(rows),
            bounds=bounds,
            windows=windows,
            solved={name: mask[rows] for name, mask in self.solved.items()},
            parameters=self.first,
            links=self.links.narrowed(rows),
        )

    def _part(self, rows: Tensor, parameters: Mapping[str, Tensor]) -> Part:
        make = partial(self._space, rows)
        names = [name for name in self.counts if bool(self.missing[name][rows].any())]
        return Part(make, make(first_windows(make, names, parameters) if names else {}), rows, self.weights[rows])

    def _divided(self, rows: Tensor, trials: Sequence[Mapping[str, Tensor]]) -> Part:
        """Units that lack the same, with the method that is right for the first of them."""
        part, probe = self._part(rows, trials[0]), self._part(rows[:PROBED], trials[0])
        if part.kind == "sum" or self._closed(probe, trials):
            return part
        kinked = self._kinked(probe, trials)
        quadratic = self._quadratic(probe, trials, [c for c in range(part.space.width) if c not in kinked])
        left = [place for place in range(part.space.width) if place not in quadratic]
        kind = "closed" if not left else "quadrature" if len(left) <= 2 else "drawn"
        if len(left) == 1 and kinked == left:
            part.kinks = probe.kinks = self._kinks(probe, trials, left)
            if part.kinks:
                kind = "pieces" if self._pieced(probe, trials, left) else "panels"
        part.divide(left, kind)
        if part.kinks:
            self._hold(part, trials)
        part.refine(trials[0])
        return part

    def _hold(self, part: Part, trials: Sequence[Mapping[str, Tensor]]) -> None:
        """Keep the kinks where no parameter moves them."""
        found = []
        for trial in trials:
            lane = {name: value[None] for name, value in trial.items()}
            part.at = None
            found.append(part.knots(lane, part.placed(lane, 1)))
        if all(torch.allclose(one, found[0], rtol=1e-12, atol=1e-12) for one in found):
            part.still = found[0]
        part.at = None

    def _closed(self, part: Part, trials: Sequence[Mapping[str, Tensor]]) -> bool:
        """Whether the density of every unit is quadratic in all that is missing, under every trial."""
        width, active = part.space.width, part.space.active
        points = offsets(width, self.program.dtype)[:, None]
        for number, trial in enumerate(trials):
            lane = {name: value[None] for name, value in trial.items()}
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
        return not self._kinked(part, trials[:1])

    def _kinked(self, part: Part, trials: Sequence[Mapping[str, Tensor]]) -> list[int]:
        """Coordinates that move a kink, under any trial."""
        found: set[int] = set()
        for trial in trials:
            lane = {name: value[None] for name, value in trial.items()}
            part.divide([], "closed")
            middle = part.placed(lane, 1).rest
            moves = torch.cat([torch.zeros(1, part.space.width), torch.eye(part.space.width)])[:, None]
            seen = part._over(lane, middle[:, :, None] + moves, _residuals(part), part.space.configurations)
            if seen.numel():
                apart = torch.nan_to_num(seen[:, :, 1:] - seen[:, :, :1]).abs()
                found |= set(apart.amax((0, 1, 3, 4)).nonzero().flatten().tolist())
        return sorted(found)

    def _kinks(self, part: Part, trials: Sequence[Mapping[str, Tensor]], left: list[int]) -> list[int]:
        """Which kinks the one coordinate left moves; none where one of them does not move in proportion."""
        moving: set[int] = set()
        for trial in trials:
            lane = {name: value[None] for name, value in trial.items()}
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

    def _pieced(self, part: Part, trials: Sequence[Mapping[str, Tensor]], left: list[int]) -> bool:
        """Whether the integral between the kinks in closed form is the one by quadrature, under every trial."""
        for trial in trials:
            lane = {name: value[None] for name, value in trial.items()}
            part.divide(left, "pieces")
            closed = part.terms(lane, part.placed(lane, 1)).total
            part.divide(left, "panels")
            part.level = 1
            summed = part.terms(lane, part.placed(lane, 1)).total
            part.level = 0
            if not bool(((closed - summed).abs() <= 1e-6 * (1 + summed.abs())).all()):
                return False
        part.divide(left, "pieces")
        return True

    def _quadratic(self, part: Part, trials: Sequence[Mapping[str, Tensor]], candidates: list[int]) -> list[int]:
        """Coordinates in which, jointly, the density is quadratic whatever the others are."""
        chosen: list[int] = []
        if not candidates:
            return chosen
        peaked = [(trial, self._peak(part, trial)) for trial in trials]
        for candidate in candidates:
            if all(self._is_quadratic(part, trial, peak, [*chosen, candidate]) for trial, peak in peaked):
                chosen.append(candidate)
        return chosen

    def _peak(self, part: Part, trial: Mapping[str, Tensor]) -> Peak:
        lane = {name: value[None] for name, value in trial.items()}
        return peaks(part.space, lane, 1, part.space.configurations)[0]

    def _is_quadratic(self, part: Part, trial: Mapping[str, Tensor], peak: Peak, flat: list[int]) -> bool:
        lane = {name: value[None] for name, value in trial.items()}
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

    def _doubts(self, part: Part, parameters: Mapping[str, Tensor], one: Mapping[str, Tensor]) -> list[str]:
        if part.space.windows:
            worst = max(
                (max(ends) for ends in edge_share(part.space, part.terms(one, part.placed(one, 1)).terms).values()),
                default=0.0,
            )
            if worst > 1e-9:
                return [f"the values enumerated leave out about {worst:.1g} of a unit's probability"]
        if part.kind in ("quadrature", "panels"):
            apart = part.error(parameters)
            if not apart <= 1e-3:
                return [
                    f"a finer rule differs by {apart:.2g} nats for some unit: the density of what is missing is not "
                    "smooth, or its tails are too heavy"
                ]
        if part.kind == "drawn":
            ratios = part.terms(one, part.placed(one, 1)).ratios[0].flatten(0, 1)
            weights, khat = smoothed(ratios[None])
            error = float(((len(ratios) * (weights**2).sum(1) - 1) / len(ratios) * part.weights**2).sum().sqrt())
            bad = int((khat > 0.7).sum())
            said = []
            if not error <= 1.0:
                said.append(f"the simulated log likelihood has a standard error of up to {error:.2g} nats")
            if bad:
                said.append(f"Pareto k-hat is above 0.7 for {bad} of {part.space.units} units")
            return said
        if part.kind == "closed" and not self._closed(part, [{name: value[0] for name, value in one.items()}]):
            return ["the density of what is missing is not Gaussian at the parameters found"]
        if part.kind == "pieces" and not bool(torch.isfinite(part.log_density(one)).all()):
            return ["the integral is not finite at the parameters found"]
        return []


def _words(part: Part) -> str:
    codes = len(part.space.configurations)
    if part.kind == "sum":
        return f"summed over {codes} values" + (" (all but 1e-12 of the probability)" if part.space.windows else "")
    each = f" in each of {codes} configurations" if codes > 1 else ""
    if part.kind == "closed":
        return f"integrated out in closed form (Gaussian){each}"
    if part.kind == "pieces":
        return f"integrated out in closed form (Gaussian between the kinks of Laplace noise){each}"
    others = f", {len(part.flat)} more in closed form" if part.flat else ""
    if part.kind == "drawn":
        return f"simulated with {part.nodes} fixed draws in {len(part.left)} dimensions{others}{each}"
    return f"adaptive quadrature with {part.nodes} nodes in {len(part.left)} dimension(s){others}{each}"


def _moves(units: int, width: int, number: int) -> list[Tensor]:
    generator = np.random.default_rng(number)
    return [torch.from_numpy(size * generator.standard_normal((units, width))) for size in MOVES]


def _same(found: Tensor, told: Tensor, values: Tensor, alive: Tensor) -> bool:
    """Whether densities ``(lane, configuration, unit)`` are what a quadratic told, where that is not impossible."""
    size = 1 + found.abs() + values.abs().amax(2)
    same = (found - told).abs() <= ROUNDING * size
    return bool((same | (~alive & ~torch.isfinite(found))).all())


def _residuals(part: Part) -> Any:
    from pcm.infer.latent.kinks import residuals

    return lambda parameters, vector, codes: residuals(part.space, parameters, vector, codes)
