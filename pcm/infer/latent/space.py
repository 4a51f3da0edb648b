r"""What a unit's evidence leaves open, as one vector a unit, and the log density of that vector.

A site that is missing is *inferred* where something below it was observed, and *barren* where nothing was: the law of a
barren site given the rest is its own mechanism, from which it is simply drawn. Which is which differs from unit to unit
and is kept as masks, so that every pattern of holes runs in one vectorised pass. Inferred continuous sites enter in the
unconstrained coordinates of their support; finite discrete ones as configurations.

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

import itertools
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import networkx as nx
import torch
from torch import Tensor
from torch.distributions import biject_to, constraints

from pcm.couplings import unwrap
from pcm.couplings.parameters import given_logits
from pcm.errors import QueryError
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
    split : bool
        Whether barren sites are set apart; otherwise all that is missing is inferred.
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
        split: bool = True,
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
        self.barren = self._barren() if split else {name: torch.zeros_like(mask) for name, mask in self.missing.items()}
        self.inferred = {
            name: mask & ~self.barren[name]
            for name, mask in self.missing.items()
            if bool((mask & ~self.barren[name]).any())
        }
        self.discrete = [name for name in self.inferred if self.sites[name].discrete]
        self.continuous = [name for name in self.inferred if not self.sites[name].discrete]
        for name in self.discrete:
            site = self.sites[name]
            endless = site.cardinality is None and name not in self.windows
            if endless or site.inner or (site.event and not site.one_hot):
                raise QueryError(
                    f"'{name}' is missing for some units that have values below it, and {site.family} with "
                    f"{'several values a unit' if site.inner or site.event else 'infinitely many values'} cannot be "
                    "enumerated: give its column, or model it as a finite variable.",
                    site=name,
                )

    def _barren(self) -> dict[str, Tensor]:
        """For each missing site, the units in which nothing below it was observed."""
        graph = self.plan.graph
        nothing = torch.zeros(self.units, dtype=torch.bool)
        open_below: dict[str, Tensor] = {}
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
            open_below[name] = free
        return {name: open_below[name] for name in self.missing}

    # -- coordinates -------------------------------------------------------------------------------------------------

    @cached_property
    def slots(self) -> dict[str, slice]:
        """Where each continuous site stands in a unit's vector."""
        found, start = {}, 0
        for name in self.continuous:
            site = self.sites[name]
            width = math.prod(site.inner) * math.prod(_free_shape(site))
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
        counts = [self.windows[n][1] if n in self.windows else self.sites[n].cardinality or 1 for n in self.discrete]
        if math.prod(counts) > MAX_CONFIGURATIONS:
            raise QueryError(
                f"the missing discrete sites {', '.join(self.discrete)} have {math.prod(counts):,} joint values, "
                f"more than {MAX_CONFIGURATIONS:,} to enumerate: give some of their columns."
            )
        codes = list(itertools.product(*map(range, counts)))
        return torch.tensor(codes, dtype=torch.int64).reshape(len(codes), len(counts))

    @cached_property
    def counted(self) -> Tensor:
        """Which configurations count for a unit, ``(config, unit)``: of a site that it has, only the first code."""
        mask = torch.ones(len(self.configurations), self.units, dtype=torch.bool)
        for place, name in enumerate(self.discrete):
            mask &= self.inferred[name][None] | (self.configurations[:, place] == 0)[:, None]
        return mask

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

    def complete(
        self, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor, uniform: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Values of the missing sites, barren ones drawn from their mechanisms; observed cells as they were."""
        found: dict[str, Tensor] = {}
        self._run(parameters, self._placed(vector, codes, uniform, None, found), None)
        return found

    def start(self, parameters: Mapping[str, Tensor], codes: Tensor) -> Tensor:
        """Coordinates of every inferred site at the median of its mechanism, ``(unit, coordinate)``."""
        columns: dict[str, Tensor] = {}

        def value(name: str, site: Site, fn: Any) -> Tensor:
            if site.discrete:
                return self._coded(name, site, codes)
            middle = _median(site, fn, self.units)
            columns[name] = _flat(biject_to(fn.support).inv(middle), site, self.units)
            return torch.where(_spread(self.inferred[name], site), middle, self.known[name])

        def place(name: str, site: Site, fn: Any) -> Tensor:
            inferred = value(name, site, fn) if name in self.inferred else self.known[name]
            return torch.where(_spread(self.barren[name], site), _median(site, fn, self.units), inferred)

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
                    raw = _unflat(vector[:, self.slots[name]], site, self.units)
                    made = bijection(raw)
                    if total is not None and not _is_real(fn.support):
                        jacobian = bijection.log_abs_det_jacobian(raw, made)
                        total.append(torch.where(mask, _by_unit(jacobian, site, self.units), 0.0))
                value = torch.where(_spread(mask, site), made.to(value.dtype), value)
            if name in self.barren and bool(self.barren[name].any()):
                drawn = (
                    _median(site, fn, self.units) if uniform is None else _drawn(site, fn, uniform[name], self.units)
                )
                value = torch.where(_spread(self.barren[name], site), drawn.to(value.dtype), value)
            if found is not None:
                found[name] = value
            return value

        return place

    def _coded(self, name: str, site: Site, codes: Tensor) -> Tensor:
        """A discrete site's code in a configuration: one for all units ``(site,)``, or one a unit ``(unit, site)``."""
        code = codes[..., self.discrete.index(name)]
        shape = site.shape(self.units)
        if site.one_hot:
            return torch.nn.functional.one_hot(code, site.cardinality or -1).to(site.dtype).expand(shape)
        if name in self.windows:
            code = code + self.windows[name][0]
        return code.to(site.dtype).expand(shape)

    def _run(
        self,
        parameters: Mapping[str, Tensor],
        place: Callable[[str, Site, Any], Tensor],
        total: list[Tensor] | None,
        watch: Callable[[str, Any, Tensor], None] | None = None,
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
            if total is not None:
                term = _by_unit(_weighed(msg, _log_prob(fn, value)), site, self.units)
                hidden = self.barren.get(name)
                total.append(term if hidden is None else torch.where(hidden, 0.0, term))
            return value

        self.program.execute(act, self.units, {name: self.known[name] for name in self.program.structure.covariates})


def _weighed(msg: Any, term: Tensor) -> Tensor:
    """A log density with the program's own mask and scale."""
    if msg["mask"] is not None:
        term = term * msg["mask"]
    return term if msg["scale"] is None or isinstance(msg["scale"], float) else term * msg["scale"]


def _log_prob(fn: Any, value: Tensor) -> Tensor:
    """Log density; of a distribution given by ``probs`` without torch's clamping, so that the impossible stays so."""
    if isinstance(fn, torch.distributions.Bernoulli) and not given_logits(fn):
        return torch.where(value > 0.5, torch.log(fn.probs), torch.log1p(-fn.probs))
    if isinstance(fn, torch.distributions.Categorical) and not given_logits(fn):
        logs = torch.log(fn.probs)
        shape = torch.broadcast_shapes(logs.shape[:-1], value.shape)
        return logs.expand(*shape, -1).gather(-1, value.long().expand(shape)[..., None]).squeeze(-1)
    return fn.log_prob(value)


def _free_shape(site: Site) -> tuple[int, ...]:
    """Shape of a site's event in the unconstrained coordinates of its support."""
    return tuple(biject_to(site.support).inverse_shape(torch.Size(site.event))) if site.event else ()


def _is_real(support: Any) -> bool:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.real


def _spread(mask: Tensor, site: Site) -> Tensor:
    """A mask over units against values ``(*inner, unit, *event)``."""
    return mask.reshape(*mask.shape, *([1] * len(site.event)))


def _by_unit(term: Tensor, site: Site, units: int) -> Tensor:
    """A log density ``(*inner, unit)`` (or broadcastable to it) summed over the plates inside a unit."""
    full = term.expand(torch.broadcast_shapes(term.shape, (*site.inner, units)))
    return full.reshape(-1, units).sum(0) if site.inner else full


def _flat(value: Tensor, site: Site, units: int) -> Tensor:
    """Coordinates ``(*inner, unit, *free)`` as ``(unit, coordinate)``."""
    full = value.expand(*site.inner, units, *_free_shape(site))
    return full.movedim(len(site.inner), 0).reshape(units, -1)


def _unflat(columns: Tensor, site: Site, units: int) -> Tensor:
    return columns.reshape(units, *site.inner, *_free_shape(site)).movedim(0, len(site.inner))


def _median(site: Site, fn: Any, units: int) -> Tensor:
    return _drawn(site, fn, torch.full((*site.inner, units, *site.noise), 0.5), units).detach()


def _drawn(site: Site, fn: Any, uniform: Tensor, units: int) -> Tensor:
    coupling, bare = site.coupling, unwrap(fn)[0]
    assert coupling is not None
    return coupling.push(bare, coupling.fresh(bare, uniform)).expand(site.shape(units))
