r"""What a unit's evidence leaves open, as one vector a unit, and the log density of that vector.

A site that is missing is *inferred* where something below it was observed, and *barren* where nothing was: the law of a
barren site given the rest is its own mechanism, from which it is simply drawn. Which is which differs from unit to unit
and is kept as masks, so that every pattern of holes runs in one vectorised pass. Inferred continuous sites enter in the
unconstrained coordinates of their support; finite discrete ones as configurations.

A cell may be known to lie in an interval ``[low, high]``, which is evidence of its own: its factor is
``1[low <= x <= high]``. Where nothing below it was observed it is drawn from its mechanism truncated to the interval,
and what is above it sees ``F(high) - F(low)``. Elsewhere its coordinate is the normal score of its truncated mechanism,
which the mechanism alone makes standard normal (:mod:`pcm.infer.latent.between`).

>>> import pyro, pyro.distributions as dist, torch
>>> from pcm.program import Program
>>> from pcm.worlds import WorldPlan
>>> def chain():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     b = pyro.sample("b", dist.Normal(a, 1.0))
...     pyro.sample("c", dist.Normal(b, 1.0))
>>> program = Program(chain)
>>> hole = torch.tensor([True, False])
>>> space = Space(program, WorldPlan(program.structure, {}), {"b": torch.ones(2)}, {"a": hole, "c": hole}, 2)
>>> space.inferred["a"].tolist(), space.barren["c"].tolist()
([True, False], [True, False])
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to

from pcm.infer.latent.barren import barren_units
from pcm.infer.latent.between import Between, standard_normal
from pcm.infer.latent.cells import Cells, log_jacobian
from pcm.infer.latent.choices import choices_of, values_at
from pcm.infer.latent.coordinates import (
    by_unit,
    flat,
    from_mechanism,
    middle,
    site_log_prob,
    spread,
    weighed,
)
from pcm.infer.latent.enumeration import Configurations, own_codes
from pcm.infer.latent.links import Links, find_links
from pcm.infer.latent.solve import TOLERANCE, Solved, solve
from pcm.program import Program, Site, is_deterministic
from pcm.worlds import Factual, Run, WorldPlan, fault, uniforms

__all__ = ["Space"]


class Space:
    """The unobserved values of all units.

    Parameters
    ----------
    program : Program
    plan : WorldPlan
        The interventions under which the evidence was observed.
    known : dict of name to tensor ``(*inner, unit, *event)``
        The evidence, with any finite value where it is missing.
    missing : dict of name to bool tensor ``(unit,)``
        Stochastic sites that some unit lacks.
    units : int
    bounds : dict of name to two tensors ``(*inner, unit, *event)``, optional
        Lowest and highest value of missing sites, infinite for cells that know neither.
    split : bool or bool tensor ``(unit,)``
        Whether (in which units) barren sites are set apart; otherwise all that is missing is inferred.
    finite : bool or bool tensor ``(unit,)``
        Whether (in which units) finite barren sites are set apart too, and not enumerated with the rest.
    windows : dict of name to (Tensor ``(unit,)``, int), optional
        Lowest value and number of values between which a count without an upper bound is enumerated.
    solved : dict of name to bool tensor ``(unit,)``, optional
        Deterministic columns that stand below something missing, and the units that have them.
    holes : dict of name to bool tensor ``(*inner, unit, *event)``, optional
        Empty cells of the missing sites that some unit has in part.
    parameters : dict of name to tensor, optional
        Parameters under which it is tried what those columns are one to one in.
    links : Links, optional
        What those trials found before.
    """

    def __init__(
        self,
        program: Program,
        plan: WorldPlan,
        known: Mapping[str, Tensor],
        missing: Mapping[str, Tensor],
        units: int,
        *,
        bounds: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        split: bool | Tensor = True,
        finite: bool | Tensor = True,
        windows: Mapping[str, tuple[Tensor, int]] | None = None,
        solved: Mapping[str, Tensor] | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        links: Links | None = None,
        holes: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.program, self.plan, self.units = program, plan, units
        self.windows = dict(windows or {})
        self.sites = program.structure.sites
        self.missing = {name: missing[name] for name in self.sites if name in missing and name not in plan.sets}
        self.known = {
            name: known[name]
            if name in known
            else torch.zeros(self.sites[name].shape(units), dtype=self.sites[name].dtype)
            for name in {*known, *self.missing}
        }
        self.cells = Cells(self.sites, {name: hole for name, hole in (holes or {}).items() if name in self.missing})
        kind = program.dtype
        self.between = Between(
            self.sites,
            {n: (low.to(kind), high.to(kind)) for n, (low, high) in (bounds or {}).items() if n in self.missing},
        )
        self.solved = {name: solved[name] for name in self.sites if solved and name in solved and name not in plan.sets}
        self.first = dict(parameters or {})
        self.links = links or (find_links(self, self.first) if self.solved else Links())
        self.carried = self.links.carried
        self.barren = {
            name: mask & split & (finite if self.enumerable(name) else True)
            for name, mask in barren_units(self).items()
        }
        open_ = {name: mask & ~self.barren[name] for name, mask in self.missing.items()}
        open_ |= {name: open_[name] & ~mask for name, mask in self.carried.items()}
        self.inferred = {name: mask for name, mask in open_.items() if bool(mask.any())}
        self.discrete = [name for name in self.inferred if self.sites[name].discrete]
        self.continuous = [name for name in self.inferred if not self.sites[name].discrete]
        self.choices = {name: choices_of(self, name) for name in self.discrete}
        # now, and not first within a transformation of functions, which the tensors must not outlive
        self.typical = self._typical() if self.solved else ({}, {})

    def enumerable(self, name: str) -> bool:
        """Whether each value of a site is a finite number (or a one-hot row)."""
        site = self.sites[name]
        return site.cardinality is not None and (site.one_hot or not site.joint)

    # -- coordinates -------------------------------------------------------------------------------------------------

    @cached_property
    def slots(self) -> dict[str, slice]:
        """Where each continuous site stands in a unit's vector."""
        found, start = {}, 0
        for name in self.continuous:
            width = self.cells.width(name)
            found[name] = slice(start, start + width)
            start += width
        return found

    @property
    def width(self) -> int:
        """Length of a unit's vector."""
        return max((slot.stop for slot in self.slots.values()), default=0)

    @property
    def closed(self) -> bool:
        """Whether nothing is left open: every missing site was solved for."""
        return not self.inferred and not any(bool(mask.any()) for mask in self.barren.values())

    @cached_property
    def active(self) -> Tensor:
        """Which coordinates a unit really has, bool ``(unit, coordinate)``."""
        mask = torch.zeros(self.units, self.width, dtype=torch.bool)
        for name, slot in self.slots.items():
            mask[:, slot] = self.inferred[name][:, None]
            if name in self.cells.used:
                mask[:, slot] &= self.cells.taken(self.cells.free(name), name)
        return mask

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Where each discrete site stands in a configuration."""
        found, start = {}, 0
        for name, choices in self.choices.items():
            found[name] = slice(start, start + choices.width)
            start += choices.width
        return found

    @cached_property
    def joint(self) -> Configurations:
        """The joint values of the missing discrete sites."""
        return own_codes(self)

    @property
    def configurations(self) -> Tensor:
        """Their codes, ``(configuration, column)`` or ``(configuration, unit, column)``."""
        return self.joint.codes

    @property
    def counted(self) -> Tensor:
        """Which of them count for a unit, ``(configuration, unit)``."""
        return self.joint.counted

    def narrowed(self, rows: Tensor, count: int | None = None) -> Space:
        """The space of some units (a bool mask or positions), with the same coordinates and the first ``count``
        configurations (default: all)."""
        made = copy.copy(self)
        made.__dict__.pop("active", None)
        made.__dict__.update(slots=self.slots)
        place = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        made.units = len(place)
        made.joint = self.joint.narrowed(place, count)

        def part(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.index_select(len(self.sites[name].inner), place) for name, value in values.items()}

        made.known, made.typical = part(self.known), (part(self.typical[0]), part(self.typical[1]))
        for group in ("missing", "barren", "inferred", "solved"):
            setattr(made, group, {name: mask[place] for name, mask in getattr(self, group).items()})
        made.links, made.cells = self.links.narrowed(place), self.cells.narrowed(place)
        made.carried, made.between = made.links.carried, self.between.narrowed(place)
        made.choices = {name: choices.narrowed(place) for name, choices in self.choices.items()}
        return made

    def normals(self, label: str, seed: int, rows: Any, draws: range) -> Tensor:
        """Standard normals ``(draw, unit, coordinate)``, by site: a unit's own whatever other units lack."""
        found = [torch.zeros(len(draws), self.units, 0, dtype=torch.float64)]
        for name in self.slots:
            noise = uniforms(seed, f"{label}/{name}", rows, draws, event=(self.cells.whole(name),))
            found.append(noise if name not in self.cells.used else noise[..., self.cells.used[name]])
        return torch.special.ndtri(torch.cat(found, -1)).to(self.program.dtype)

    # -- density -----------------------------------------------------------------------------------------------------

    def log_joint(self, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor) -> Tensor:
        """Log density of evidence and unobserved values, in the unconstrained coordinates; ``(unit,)``.

        Barren sites are left out: they integrate to one.
        """
        found = self._solved(parameters, vector, codes)
        total: list[Tensor] = [found.log_slope] if self.carried else []
        self._run(parameters, self._placed(vector, codes, None, total, raw=found.raw), total)
        return sum(total, torch.zeros(self.units, dtype=self.program.dtype))

    def watch(
        self,
        parameters: Mapping[str, Tensor],
        vector: Tensor,
        codes: Tensor,
        seen: Callable[[str, Any, Tensor], None],
    ) -> None:
        """Show ``seen`` the distribution and value of every site at these unobserved values."""
        raw = self._solved(parameters, vector, codes).raw
        self._run(parameters, self._placed(vector, codes, None, None, raw=raw), None, seen)

    def culprits(self, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor, unit: int) -> list[str]:
        """Sites whose value has probability zero in a unit; columns that nothing gives."""
        terms: dict[str, Tensor] = {}
        found: dict[str, Tensor] = {}
        raw = self._solved(parameters, vector, codes).raw
        made = self._run(parameters, self._placed(vector, codes, None, None, found, raw), None, terms=terms)
        terms |= {name: self._match(name, value, self.solved[name]) for name, value in made.items()}
        for name, carrier in self.carried.items():
            if name in self.between:
                terms[name] = torch.where(self.between.outside(name, found[name], carrier), -torch.inf, terms[name])
        return [name for name, term in terms.items() if float(term[unit]) == -torch.inf]

    def complete(
        self, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor, uniform: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Values of the missing sites, barren ones drawn from their mechanisms; observed cells as they were.

        The deterministic columns that were solved are among them.
        """
        found: dict[str, Tensor] = {}
        raw = self._solved(parameters, vector, codes).raw
        seen = self._run(parameters, self._placed(vector, codes, uniform, None, found, raw), None)
        columns = {name: self._seen(name, seen[name]) for name in self.solved}
        return {**found, **columns}

    def computed(
        self, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor, raw: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """What the program computes for the solved columns with its carriers at ``raw``."""
        return self._run(parameters, self._placed(vector, codes, None, None, raw=raw), None)

    def _solved(self, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor) -> Solved:
        return solve(self, parameters, vector, codes) if self.carried else Solved()

    @torch.no_grad()
    def _typical(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """With everything missing at its median: what the program computes for the solved columns, and the carriers'
        unconstrained coordinates, from which the search for them starts."""
        found: dict[str, Tensor] = {}

        def place(name: str, site: Site, fn: Any) -> Tensor:
            value = from_mechanism(site, fn, middle(site, self.units), self.units).detach()
            if name in self.carried:
                found[name] = biject_to(fn.support).inv(value).expand_as(value)
            return torch.where(self.cells.open(self.missing[name], name), value.to(site.dtype), self.known[name])

        return self._run(self.first, place, None), found

    def spread(self, mask: Tensor, name: str) -> Tensor:
        """A mask over units against values of a site."""
        return spread(mask, self.sites[name])

    def by_unit(self, term: Tensor, name: str) -> Tensor:
        """Values of a site summed over its cells, ``(unit,)``."""
        site = self.sites[name]
        full = term.expand(site.shape(self.units)).movedim(len(site.inner), 0)
        return full.reshape(self.units, -1).sum(1)

    def start(
        self, parameters: Mapping[str, Tensor], codes: Tensor, uniform: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Coordinates ``(unit, coordinate)`` of inferred sites drawn from their mechanisms (default: the median)."""
        columns: dict[str, Tensor] = {}

        def level(name: str, site: Site) -> Tensor:
            return middle(site, self.units) if uniform is None else uniform[name]

        def value(name: str, site: Site, fn: Any) -> Tensor:
            if site.discrete:
                return self.coded(name, codes)
            drawn = self._drawn(name, site, fn, level(name, site))
            column = biject_to(fn.support).inv(from_mechanism(site, fn, level(name, site), self.units))
            if name in self.between:
                column = torch.where(self.between.cells[name], torch.special.ndtri(level(name, site)), column)
            columns[name] = self.cells.taken(flat(column, site, self.units), name)
            return torch.where(self.cells.open(self.inferred[name], name), drawn, self.known[name])

        def place(name: str, site: Site, fn: Any) -> Tensor:
            inferred = value(name, site, fn) if name in self.inferred else self.known[name]
            rest = self.barren[name] | self.carried[name] if name in self.carried else self.barren[name]
            if not bool(rest.any()):
                return inferred
            return torch.where(self.cells.open(rest, name), self._median(name, site, fn), inferred)

        self._run(parameters, place, None)
        return torch.cat([columns[name] for name in self.continuous], -1) if columns else torch.zeros(self.units, 0)

    def _placed(
        self,
        vector: Tensor,
        codes: Tensor,
        uniform: Mapping[str, Tensor] | None,
        total: list[Tensor] | None,
        found: dict[str, Tensor] | None = None,
        raw: Mapping[str, Tensor] | None = None,
    ) -> Callable[[str, Site, Any], Tensor]:
        """How a missing site gets its value in a run."""

        def place(name: str, site: Site, fn: Any) -> Tensor:
            value, carrier = self.known[name], self.carried.get(name)
            if name in self.inferred or carrier is not None:
                if site.discrete:
                    mask, made = self.inferred[name], values_at(self, name, codes)
                else:
                    bijection, mask = biject_to(fn.support), self.inferred.get(name)
                    scored = self.between.of(name, mask) if mask is not None and name in self.between else None
                    free = None if mask is None else self.cells.placed(vector[:, self.slots[name]], name, self.units)
                    score = free
                    if carrier is not None:
                        given = (raw or {})[name]
                        free = given if free is None else torch.where(spread(carrier, site), given, free)
                        mask = carrier if mask is None else mask | carrier
                    assert free is not None and mask is not None
                    made = bijection(free)
                    if total is not None:
                        plain = self.cells.open(mask, name)
                        plain = plain if scored is None else plain & ~scored
                        total.append(log_jacobian(site, fn.support, free, made, plain, self.units))
                    if scored is not None and score is not None:
                        made = torch.where(scored, self.between.scored(name, fn, score), made)
                        if total is not None:
                            total.append(self.by_unit(torch.where(scored, standard_normal(score), 0.0), name))
                    if carrier is not None and name in self.between and total is not None:
                        total.append(torch.where(self.between.outside(name, made, carrier), -torch.inf, 0.0))
                value = torch.where(self.cells.open(mask, name), made.to(value.dtype), value)
            if name in self.barren and bool(self.barren[name].any()):
                drawn = self._median(name, site, fn)
                if uniform is not None and name in uniform:
                    drawn = self._drawn(name, site, fn, uniform[name])
                value = torch.where(self.cells.open(self.barren[name], name), drawn.to(value.dtype), value)
            if found is not None:
                found[name] = value
            return value

        return place

    def _drawn(self, name: str, site: Site, fn: Any, uniform: Tensor) -> Tensor:
        """A site from its mechanism, truncated where it lies in an interval."""
        drawn = from_mechanism(site, fn, uniform, self.units)
        if name in self.between and site.cardinality is None:  # finite ones are enumerated
            within = self.between.drawn(name, fn, uniform).to(drawn.dtype)
            drawn = torch.where(self.between.cells[name], within, drawn)
        return drawn

    def _median(self, name: str, site: Site, fn: Any) -> Tensor:
        with torch.no_grad():  # nothing hangs on it, and counts have no derivative
            return self._drawn(name, site, fn, middle(site, self.units)).detach()

    def coded(self, name: str, codes: Tensor) -> Tensor:
        """A discrete site's values in a configuration, as observed where they were."""
        made = values_at(self, name, codes)
        return torch.where(self.cells.open(self.inferred[name], name), made, self.known[name])

    def _run(
        self,
        parameters: Mapping[str, Tensor],
        place: Callable[[str, Site, Any], Tensor],
        total: list[Tensor] | None,
        watch: Callable[[str, Any, Tensor], None] | None = None,
        terms: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Run the program; what it computes for the solved columns."""
        sets, computed = self.plan.sets, {}
        so_far = {name: self.known[name] for name in self.program.structure.covariates}
        run = Run(self.program, self.plan, Factual(so_far, {}, self.units), parameters, {}, {})

        def act(msg: Any) -> Tensor:
            name = msg["name"]
            if name in self.sites:
                so_far[name] = value = answer(msg, self.sites[name])
                return value
            return parameters[name] if name in parameters else msg["value"]

        def answer(msg: Any, site: Site) -> Tensor:
            name = msg["name"]
            if is_deterministic(msg) and name not in sets:
                value = run.read_by_edges(name) if name in run.edges else msg["value"]
                value = value.expand(site.shape(self.units))
                if name not in self.solved:
                    return value
                computed[name] = value
                if total is not None and name in self.links.matched:
                    total.append(self._match(name, value, self.links.matched[name]))
                return self._seen(name, value)
            if name in sets:
                return self.known[name]
            fn = run.read_by_edges(name) if name in run.edges else msg["fn"]
            value = place(name, site, fn) if name in self.missing else self.known[name]
            if watch is not None:
                watch(name, fn, value)
            if total is not None or terms is not None:
                term = by_unit(weighed(msg, self._term(name, site, fn, value)), site, self.units)
                if name in self.barren:
                    term = torch.where(self._gone(name), 0.0, term)
                if total is not None:
                    total.append(term)
                if terms is not None:
                    terms[name] = term
            return value

        try:
            self.program.execute(act, self.units, dict(so_far))
        except (IndexError, RuntimeError) as error:
            ahead = next((name for name in self.sites if name not in so_far), None)
            asked, structure = self.plan.interventions, self.program.structure
            ours = fault(structure, asked, ahead, self.known, error, reached=so_far, missing=self.missing)
            if ours is None:
                raise
            raise ours from error
        return computed

    def _term(self, name: str, site: Site, fn: Any, value: Tensor) -> Tensor:
        """A site's log density ``(*inner, unit)`` of what was observed of it, and of what is inferred."""
        if name not in self.barren:
            return site_log_prob(fn, value)
        between = None
        if name in self.between:
            units = self.barren[name] if site.discrete else self.missing[name]
            between = self.between.of(name, units & ~self.carried[name] if name in self.carried else units)
            between = between if bool(between.any()) else None
        return self.cells.log_prob(self.barren[name], fn, value, name, between, self.between)

    def _gone(self, name: str) -> Tensor:
        """Units that know nothing of a site, and nothing that hangs on it."""
        gone = self.barren[name]
        gone = gone & ~self.cells.partly[name] if name in self.cells.partly else gone
        return gone & ~self.between.units[name] if name in self.between else gone

    def _seen(self, name: str, value: Tensor) -> Tensor:
        """A solved column: as observed where it was, as computed elsewhere."""
        return torch.where(self.spread(self.solved[name], name), self.known[name], value)

    def _match(self, name: str, value: Tensor, units: Tensor) -> Tensor:
        """Minus infinity in those of some units (a mask) where the computed column is not the observed one."""
        given, here = self.known[name].to(self.program.dtype), value.detach().to(self.program.dtype)
        apart = (given - here).abs() > TOLERANCE[self.program.dtype] * (1 + given.abs())
        wrong = self.by_unit((apart & self.spread(units, name)).to(self.program.dtype), name)
        return torch.where(wrong > 0, -torch.inf, 0.0)
