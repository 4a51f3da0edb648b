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
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from pcm.errors import EvidenceError
from pcm.infer.latent.between import Between, by_row
from pcm.infer.latent.breaks import find_breaks, stepped
from pcm.infer.latent.forms import is_closed, is_pieced, kinked_coordinates, moved_kinks, quadratic_coordinates
from pcm.infer.latent.links import Links
from pcm.infer.latent.part import Part
from pcm.infer.latent.smooth import smoothed
from pcm.infer.latent.space import Space
from pcm.infer.latent.windows import Windows, edge_share, endless, first_windows
from pcm.program import Program
from pcm.worlds import WorldPlan, lane_count

__all__ = ["Marginal"]

#: Elements in one chunk of parameter draws.
CHUNK = 200_000
#: Units on which the method is chosen.
PROBED = 256


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
    bounds, solved, holes : dict, optional
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
        holes: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.bounds, self.solved, self.holes = dict(bounds or {}), dict(solved or {}), dict(holes or {})
        self.program, self.plan, self.known, self.missing, self.units = program, plan, known, missing, units
        self.between = Between(program.structure.sites, self.bounds)
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
                if probe.kind == "sum" or is_closed(probe, trials):
                    self.parts.append(self._part(rows, trials[0]))
                else:
                    self.parts += [self._divided(group, trials) for group in groups]

    # -- asking it ---------------------------------------------------------------------------------------------------

    def log_density(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The log likelihood at one value of the parameters, a scalar; differentiable, also twice."""
        return self._sum({name: value[None] for name, value in parameters.items()})[0]

    def log_densities(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The log likelihood at parameters ``(draw, …)``; ``(draw,)``."""
        lanes = lane_count(parameters)
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
            made = space.complete(parameters, vector, space.joint.at(best), uniform)
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
        columns += [by_row(end, sites[name]) for name, ends in self.bounds.items() for end in ends]
        columns += [cells.to(torch.float64) for cells in self._empty(every, self.holes)]
        if all(2 * len(torch.unique(column)) <= self.units * column.shape[1] for column in columns):
            _, which, counts = torch.unique(torch.cat(columns, 1), dim=0, return_inverse=True, return_counts=True)
            if 2 * len(counts) <= self.units:
                first = torch.full((len(counts),), self.units).scatter_reduce(0, which, every, "amin")
                weights = torch.zeros(self.units, dtype=self.program.dtype)
                weights[first] = counts.to(weights.dtype)
                return first.sort().values, first[which], weights
        return every, every, torch.ones(self.units, dtype=self.program.dtype)

    def _alike(self, names: list[str], rows: Tensor | None = None) -> list[Tensor]:
        """Rows in groups that lack the same of these sites (of discrete ones alone: as many of their values)."""
        rows = self.kept if rows is None else rows
        if not names:
            return [rows]
        masks = [self.missing[name] for name in names]
        masks += self.solved.values()
        sites = self.program.structure.sites
        between = [by_row(cells, sites[name])[rows] for name, cells in self.between.cells.items()]
        pattern = torch.stack([mask[rows] for mask in masks], 1)
        empty = self._empty(rows, names)
        if all(sites[name].discrete for name in names):
            empty = [cells.sum(1, keepdim=True) for cells in empty]
        pattern = torch.cat([pattern, *between, *empty], 1)
        _, which = torch.unique(pattern, dim=0, return_inverse=True)
        return [rows[which == group] for group in range(int(which.max()) + 1)]

    def _empty(self, rows: Tensor, names: Collection[str]) -> list[Tensor]:
        """Empty cells ``(row, cell)`` of the sites that units have in part."""
        sites = self.program.structure.sites
        return [
            hole.movedim(len(sites[name].inner), 0)[rows].flatten(1)
            for name, hole in self.holes.items()
            if name in names
        ]

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
                    holes=self.holes,
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
        bounds = self.between.narrowed(rows).bounds
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
            holes={name: hole.index_select(len(sites[name].inner), rows) for name, hole in self.holes.items()},
        )

    def _part(self, rows: Tensor, parameters: Mapping[str, Tensor]) -> Part:
        make = partial(self._space, rows)
        names = [name for name in self.counts if bool(self.missing[name][rows].any())]
        return Part(make, make(first_windows(make, names, parameters) if names else {}), rows, self.weights[rows])

    def _divided(self, rows: Tensor, trials: Sequence[Mapping[str, Tensor]]) -> Part:
        """Units that lack the same, with the method that is right for the first of them."""
        part, probe = self._part(rows, trials[0]), self._part(rows[:PROBED], trials[0])
        if part.kind == "sum" or is_closed(probe, trials):
            return part
        kinked = kinked_coordinates(probe, trials)
        quadratic = quadratic_coordinates(probe, trials, [c for c in range(part.space.width) if c not in kinked])
        left = [place for place in range(part.space.width) if place not in quadratic]
        kind = "closed" if not left else "quadrature" if len(left) <= 2 else "drawn"
        if len(left) == 1 and kinked == left:
            part.kinks = probe.kinks = moved_kinks(probe, trials, left)
            if part.kinks:
                kind = "pieces" if is_pieced(probe, trials, left) else "panels"
                part.bent = probe.bent
        probe.divide(left, "quadrature" if left else kind)
        if len(left) == 2 and any(stepped(probe, trials, place) for place in left):
            kind = "drawn"  # no rule of the plane sees a step
        if len(left) == 1 and kind != "pieces" and find_breaks(probe, trials) is not None:
            kind, part.breaks = "panels", self._breaks(rows, left, part.kinks, trials)
        part.divide(left, kind)
        if part.kinks and part.breaks is None:
            self._hold(part, probe, trials)
        part.refine(trials[0])
        return part

    def _breaks(
        self, rows: Tensor, left: list[int], kinks: list[int], trials: Sequence[Mapping[str, Tensor]]
    ) -> Tensor:
        """Where the density of every unit steps or bends, ``(1, 1, break, unit)``; a few units at a time."""
        found = []
        for some in rows.split(8 * PROBED):
            part = self._part(some, trials[0])
            part.kinks = kinks
            part.divide(left, "quadrature")
            breaks = find_breaks(part, trials)
            found.append(torch.zeros(1, 1, 1, len(some)) if breaks is None else breaks)
        most = max(part.shape[2] for part in found)
        return torch.cat([part[:, :, [*range(part.shape[2])] + [0] * (most - part.shape[2])] for part in found], -1)

    def _hold(self, part: Part, probe: Part, trials: Sequence[Mapping[str, Tensor]]) -> None:
        """Keep the kinks where no parameter moves them."""

        def knots(one: Part, trial: Mapping[str, Tensor]) -> Tensor:
            lane = {name: value[None] for name, value in trial.items()}
            one.at = None
            return one.knots(lane, one.placed(lane, 1))

        probe.divide(part.left, part.kind)
        first, *others = (knots(probe, trial) for trial in trials)
        if all(torch.allclose(one, first, rtol=1e-12, atol=1e-12) for one in others):
            part.still = knots(part, trials[0])
        part.at = probe.at = None

    def _doubts(self, part: Part, parameters: Mapping[str, Tensor], one: Mapping[str, Tensor]) -> list[str]:
        if part.space.windows:
            mass = part.terms(one, part.placed(one, 1)).terms.detach().softmax(-2)
            worst = max((max(ends) for ends in edge_share(part.space, mass).values()), default=0.0)
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
        if part.kind == "closed" and not is_closed(part, [{name: value[0] for name, value in one.items()}]):
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
        return f"integrated out in closed form (Gaussian between the kinks of noise){each}"
    others = f", {len(part.flat)} more in closed form" if part.flat else ""
    if part.kind == "drawn":
        return f"simulated with {part.nodes} fixed draws in {len(part.left)} dimensions{others}{each}"
    split = "" if part.breaks is None else ", split where the density steps or bends"
    return f"adaptive quadrature with {part.nodes} nodes in {len(part.left)} dimension(s){split}{others}{each}"
