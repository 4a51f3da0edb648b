r"""What a unit's evidence leaves open, as one vector a unit, and the log density of that vector.

A site that is missing is *inferred* where something below it was observed, and *barren* where nothing was: the law of a
barren site given the rest is its own mechanism, from which it is simply drawn. Which is which differs from unit to unit
and is kept as masks, so that every pattern of holes runs in one vectorised pass. Inferred continuous sites enter in the
unconstrained coordinates of their support; finite discrete ones as configurations.

A site may be known to lie in an interval ``[low, high]``, which is evidence of its own: its factor is
``1[low <= x <= high]``. Where nothing below it was observed it is drawn from its mechanism truncated to the interval,
and what is above it sees ``F(high) - F(low)``. Elsewhere its coordinate is the normal score ``z`` of its truncated
mechanism, ``x = F^-1(F(low) + Phi(z) (F(high) - F(low)))``, which the mechanism alone makes standard normal.

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
import itertools
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import networkx as nx
import torch
from torch import Tensor
from torch.distributions import biject_to

from pcm.couplings import Truncated, resolve, unwrap
from pcm.couplings.location_scale import NormalCoupling
from pcm.errors import QueryError
from pcm.infer.latent.coordinates import (
    by_unit,
    flat,
    free_shape,
    from_mechanism,
    is_real,
    middle,
    site_log_prob,
    spread,
    unflat,
    weighed,
)
from pcm.program import Program, Site, is_deterministic
from pcm.worlds import WorldPlan

__all__ = ["MAX_CONFIGURATIONS", "Space"]

#: Joint configurations of missing discrete sites up to which they are enumerated.
MAX_CONFIGURATIONS = 4096


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
    bounds : dict of name to two tensors ``(unit,)``, optional
        Lowest and highest value of missing sites of one number, infinite for units that know neither.
    split : bool or bool tensor ``(unit,)``
        Whether (in which units) barren sites are set apart; otherwise all that is missing is inferred.
    finite : bool
        Whether finite barren sites are set apart too, and not enumerated with the rest.
    windows : dict of name to (Tensor ``(unit,)``, int), optional
        Lowest value and number of values between which a count without an upper bound is enumerated.
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
        finite: bool = True,
        windows: Mapping[str, tuple[Tensor, int]] | None = None,
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
        kind = program.dtype
        self.bounds = {
            name: (low.to(kind), high.to(kind)) for name, (low, high) in (bounds or {}).items() if name in self.missing
        }
        self.bounded = {name: (low > -torch.inf) | (high < torch.inf) for name, (low, high) in self.bounds.items()}
        self.barren = {
            name: mask & split & (finite or not self.enumerable(name)) for name, mask in self._barren().items()
        }
        self.inferred = {
            name: mask & ~self.barren[name]
            for name, mask in self.missing.items()
            if bool((mask & ~self.barren[name]).any())
        }
        self.discrete = [name for name in self.inferred if self.sites[name].discrete]
        self.continuous = [name for name in self.inferred if not self.sites[name].discrete]
        self.offsets, self.counts = {}, {}
        for name in self.discrete:
            self._count(name)

    def enumerable(self, name: str) -> bool:
        """Whether a site is one finite number (or one-hot row) a unit."""
        site = self.sites[name]
        return site.cardinality is not None and not site.inner and (not site.event or site.one_hot)

    def _count(self, name: str) -> None:
        """How many values a discrete site is enumerated over; an infinite one from the low end of its interval."""
        site = self.sites[name]
        if self.enumerable(name):
            self.counts[name] = site.cardinality or 1
            return
        if name in self.windows and not site.inner and not site.event:
            self.offsets[name], self.counts[name] = self.windows[name]
            return
        if name in self.bounds:
            low, high = self.bounds[name]
            least = torch.clamp(low, min=float(getattr(site.support, "lower_bound", -torch.inf)))
            widths = (high - least)[self.inferred[name]]
            if bool(torch.isfinite(widths).all()):
                self.offsets[name] = torch.where(self.inferred[name], least, 0.0)
                self.counts[name] = int(widths.max()) + 1
                return
        raise QueryError(
            f"'{name}' is missing for some units that have values below it, and {site.family} with "
            f"{'several values a unit' if site.inner or site.event else 'infinitely many values'} cannot be "
            "enumerated: give its column (or intervals with two ends), or model it as a finite variable.",
            site=name,
        )

    def _barren(self) -> dict[str, Tensor]:
        """For each missing site, the units in which nothing below it was observed."""
        graph = self.plan.graph
        nothing = torch.zeros(self.units, dtype=torch.bool)
        open_below: dict[str, Tensor] = {}
        barren: dict[str, Tensor] = {}
        for name in reversed(list(nx.topological_sort(graph))):
            site = self.sites[name]
            if name in self.missing:
                free = self.missing[name].clone()
            elif site.kind == "deterministic" and name not in self.plan.sets:
                free = ~nothing  # observes nothing itself
            else:
                free = nothing.clone()
            for child in graph.successors(name):
                free &= open_below[child]
            barren[name] = open_below[name] = free
            if name in self.bounds:  # what is above it sees the interval
                open_below[name] = free & ~self.bounded[name]
                if site.cardinality is not None:
                    barren[name] = open_below[name]  # enumerated
        return {name: barren[name] for name in self.missing}

    # -- coordinates -------------------------------------------------------------------------------------------------

    @cached_property
    def slots(self) -> dict[str, slice]:
        """Where each continuous site stands in a unit's vector."""
        found, start = {}, 0
        for name in self.continuous:
            site = self.sites[name]
            width = math.prod(site.inner) * math.prod(free_shape(site))
            found[name] = slice(start, start + width)
            start += width
        return found

    @property
    def width(self) -> int:
        """Length of a unit's vector."""
        return max((slot.stop for slot in self.slots.values()), default=0)

    @cached_property
    def active(self) -> Tensor:
        """Which coordinates a unit really has, bool ``(unit, coordinate)``."""
        mask = torch.zeros(self.units, self.width, dtype=torch.bool)
        for name, slot in self.slots.items():
            mask[:, slot] = self.inferred[name][:, None]
        return mask

    @cached_property
    def configurations(self) -> Tensor:
        """Joint codes of the missing discrete sites, ``(configuration, site)``."""
        counts = [self.counts[name] for name in self.discrete]
        if math.prod(counts) > MAX_CONFIGURATIONS:
            raise QueryError(
                f"the missing discrete sites {', '.join(self.discrete)} have {math.prod(counts):,} joint values, "
                f"more than {MAX_CONFIGURATIONS:,} to enumerate: give some of their columns."
            )
        codes = list(itertools.product(*map(range, counts)))
        return torch.tensor(codes, dtype=torch.int64).reshape(len(codes), len(counts))

    @cached_property
    def counted(self) -> Tensor:
        """Which configurations count for a unit, ``(config, unit)``: of a site that it has, only the first code; of one
        in an interval, the codes within."""
        mask = torch.ones(len(self.configurations), self.units, dtype=torch.bool)
        for place, name in enumerate(self.discrete):
            code = self.configurations[:, place, None]
            inside: Any = True
            if name in self.bounds:
                low, high = self.bounds[name]
                value = code + self.offsets.get(name, 0)
                inside = (value >= low) & (value <= high)
            mask &= torch.where(self.inferred[name][None], inside, code == 0)
        return mask

    def narrowed(self, rows: Tensor) -> Space:
        """The space of some units (a bool mask or positions), with the same coordinates and configurations."""
        made = copy.copy(self)
        for name in ("active", "counted"):
            made.__dict__.pop(name, None)
        made.__dict__.update(slots=self.slots, configurations=self.configurations)
        place = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        made.units = len(place)
        made.known = {
            name: value.index_select(len(self.sites[name].inner), place) for name, value in self.known.items()
        }
        for group in ("missing", "barren", "inferred", "bounded", "offsets"):
            setattr(made, group, {name: mask[place] for name, mask in getattr(self, group).items()})
        made.bounds = {name: (low[place], high[place]) for name, (low, high) in self.bounds.items()}
        return made

    # -- density -----------------------------------------------------------------------------------------------------

    def log_joint(self, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor) -> Tensor:
        """Log density of evidence and unobserved values, in the unconstrained coordinates; ``(unit,)``.

        Barren sites are left out: they integrate to one.
        """
        total: list[Tensor] = []
        self._run(parameters, self._placed(vector, codes, None, total), total)
        return sum(total, torch.zeros(self.units, dtype=self.program.dtype))

    def watch(
        self,
        parameters: Mapping[str, Tensor],
        vector: Tensor,
        codes: Tensor,
        seen: Callable[[str, Any, Tensor], None],
    ) -> None:
        """Show ``seen`` the distribution and value of every site at these unobserved values."""
        self._run(parameters, self._placed(vector, codes, None, None), None, seen)

    def culprits(self, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor, unit: int) -> list[str]:
        """Sites whose value has probability zero in a unit."""
        terms: dict[str, Tensor] = {}
        self._run(parameters, self._placed(vector, codes, None, None), None, terms=terms)
        return [name for name, term in terms.items() if float(term[unit]) == -torch.inf]

    def complete(
        self, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor, uniform: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Values of the missing sites, barren ones drawn from their mechanisms; observed cells as they were."""
        found: dict[str, Tensor] = {}
        self._run(parameters, self._placed(vector, codes, uniform, None, found), None)
        return found

    def start(
        self, parameters: Mapping[str, Tensor], codes: Tensor, uniform: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Coordinates ``(unit, coordinate)`` of inferred sites drawn from their mechanisms (default: the median)."""
        columns: dict[str, Tensor] = {}

        def level(name: str, site: Site) -> Tensor:
            return middle(site, self.units) if uniform is None else uniform[name]

        def value(name: str, site: Site, fn: Any) -> Tensor:
            if site.discrete:
                return self._coded(name, site, codes)
            drawn = self._drawn(name, site, fn, level(name, site))
            column = biject_to(fn.support).inv(from_mechanism(site, fn, level(name, site), self.units))
            if name in self.bounds:
                column = torch.where(self.bounded[name], torch.special.ndtri(level(name, site)), column)
            columns[name] = flat(column, site, self.units)
            return torch.where(spread(self.inferred[name], site), drawn, self.known[name])

        def place(name: str, site: Site, fn: Any) -> Tensor:
            inferred = value(name, site, fn) if name in self.inferred else self.known[name]
            drawn = self._drawn(name, site, fn, middle(site, self.units))
            return torch.where(spread(self.barren[name], site), drawn, inferred)

        self._run(parameters, place, None)
        return torch.cat([columns[name] for name in self.continuous], -1) if columns else torch.zeros(self.units, 0)

    def _placed(
        self,
        vector: Tensor,
        codes: Tensor,
        uniform: Mapping[str, Tensor] | None,
        total: list[Tensor] | None,
        found: dict[str, Tensor] | None = None,
    ) -> Callable[[str, Site, Any], Tensor]:
        """How a missing site gets its value in a run."""

        def place(name: str, site: Site, fn: Any) -> Tensor:
            value = self.known[name]
            if name in self.inferred:
                mask = self.inferred[name]
                if site.discrete:
                    made = self._coded(name, site, codes)
                else:
                    bijection = biject_to(fn.support)
                    raw = unflat(vector[:, self.slots[name]], site, self.units)
                    made = bijection(raw)
                    scored = mask & self.bounded[name] if name in self.bounds else None
                    if total is not None and not is_real(fn.support):
                        jacobian = bijection.log_abs_det_jacobian(raw, made)
                        plain = mask if scored is None else mask & ~scored
                        total.append(torch.where(plain, by_unit(jacobian, site, self.units), 0.0))
                    if scored is not None:
                        made = torch.where(scored, self._scored(name, fn, raw), made)
                        if total is not None:
                            total.append(torch.where(scored, -0.5 * raw**2 - 0.5 * math.log(2 * math.pi), 0.0))
                value = torch.where(spread(mask, site), made.to(value.dtype), value)
            if name in self.barren and bool(self.barren[name].any()):
                drawn = self._median(name, site, fn)
                if uniform is not None and name in uniform:
                    drawn = self._drawn(name, site, fn, uniform[name])
                value = torch.where(spread(self.barren[name], site), drawn.to(value.dtype), value)
            if found is not None:
                found[name] = value
            return value

        return place

    def _truncated(self, name: str, fn: Any) -> Truncated:
        """A site's mechanism given its interval; itself for units that know none."""
        return Truncated(unwrap(fn)[0].expand((self.units,)), *self.bounds[name], validate_args=False)

    def _scored(self, name: str, fn: Any, score: Tensor) -> Tensor:
        """The value at a normal score of the truncated mechanism."""
        coupling, bare = resolve(self._truncated(name, fn))
        return coupling.push(bare, NormalCoupling.standard_tail(score))

    def _drawn(self, name: str, site: Site, fn: Any, uniform: Tensor) -> Tensor:
        """A site from its mechanism, truncated where it lies in an interval."""
        drawn = from_mechanism(site, fn, uniform, self.units)
        if name in self.bounds and site.cardinality is None:  # finite ones are enumerated
            coupling, bare = resolve(self._truncated(name, fn))
            within = coupling.push(bare, coupling.fresh(bare, uniform)).to(drawn.dtype)
            drawn = torch.where(self.bounded[name], within, drawn)
        return drawn

    def _median(self, name: str, site: Site, fn: Any) -> Tensor:
        with torch.no_grad():  # nothing hangs on it, and counts have no derivative
            return self._drawn(name, site, fn, middle(site, self.units)).detach()

    def _coded(self, name: str, site: Site, codes: Tensor) -> Tensor:
        """A discrete site's code in a configuration: one for all units ``(site,)``, or one a unit ``(unit, site)``."""
        code = codes[..., self.discrete.index(name)]
        if name in self.offsets:
            code = code + self.offsets[name]
        shape = site.shape(self.units)
        if site.one_hot:
            return torch.nn.functional.one_hot(code, site.cardinality or -1).to(site.dtype).expand(shape)
        return code.to(site.dtype).expand(shape)

    def _run(
        self,
        parameters: Mapping[str, Tensor],
        place: Callable[[str, Site, Any], Tensor],
        total: list[Tensor] | None,
        watch: Callable[[str, Any, Tensor], None] | None = None,
        terms: dict[str, Tensor] | None = None,
    ) -> None:
        sets = self.plan.sets

        def act(msg: Any) -> Tensor:
            name = msg["name"]
            if name in parameters:
                return parameters[name]
            site = self.sites.get(name)
            if site is None or (is_deterministic(msg) and name not in sets):
                return msg["value"]
            if name in sets:
                return self.known[name]
            fn = msg["fn"]
            value = place(name, site, fn) if name in self.missing else self.known[name]
            if watch is not None:
                watch(name, fn, value)
            if total is not None or terms is not None:
                term = by_unit(weighed(msg, site_log_prob(fn, value)), site, self.units)
                hidden = self.barren.get(name)
                term = term if hidden is None else torch.where(hidden, 0.0, term)
                if name in self.bounds:
                    between = self.bounded[name] & (self.barren[name] if site.discrete else self.missing[name])
                    if bool(between.any()):
                        term = torch.where(between, self._truncated(name, fn).log_mass, term)
                if total is not None:
                    total.append(term)
                if terms is not None:
                    terms[name] = term
            return value

        self.program.execute(act, self.units, {name: self.known[name] for name in self.program.structure.covariates})
