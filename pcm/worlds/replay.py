"""Running worlds: the factual run that pulls noise back, and the replay of the same noise under interventions.

``factual`` runs the program with every site at its observed value and keeps the distributions; ``replay`` runs it
again with some sites set, and moves each descendant's observed value to the new distribution through its coupling:
``x' = push(fn', abduct(fn, x))``. Nothing else is computed.

>>> import pyro, pyro.distributions as dist, torch
>>> from pcm.program import Program
>>> from pcm.worlds import WorldPlan, read_interventions
>>> def pair():
...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
...     pyro.sample("y", dist.Normal(2 * x, 1.0))
>>> program = Program(pair)
>>> plan = WorldPlan(program.structure, read_interventions({"x": 0.0}, program.structure, (), {}))
>>> with program.sealed():
...     past = factual(program, {"x": torch.ones(1), "y": torch.tensor([2.5])}, {}, 1, frozenset({"y"}))
...     replay(program, plan, past, {}).values["y"]
tensor([0.5000])
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pcm.couplings import check_value, resolve, unwrap
from pcm.errors import CouplingError, EvidenceError, InterventionError, PCMError, ProgramError
from pcm.program import Program, Site
from pcm.worlds.failure import fault, outside_a_table
from pcm.worlds.intervention import (
    Baseline,
    Constant,
    Function,
    Intervention,
    PerUnit,
    Stochastic,
    Target,
    check_support,
)
from pcm.worlds.plan import REFERENCE, WorldPlan

__all__ = ["Factual", "Replayed", "Run", "assigned_value", "factual", "one_hot_code", "replay", "set_value"]


@dataclass(frozen=True)
class Factual:
    """The observed values, and the distribution each needed site had there."""

    values: dict[str, Tensor]
    fns: dict[str, Any]
    units: int


@dataclass
class Replayed:
    """One world's run: values of the sites that changed, their distributions, how likely the assignment was, and the
    run of the world it refers to."""

    values: dict[str, Tensor] = field(default_factory=dict)
    fns: dict[str, Any] = field(default_factory=dict)
    weight: Tensor | None = None
    reference: Replayed | None = None


class _Found(Exception):
    """Unwinds a run once the distribution it was after is known."""


def factual(
    program: Program,
    values: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    units: int,
    needed: frozenset[str],
    base: WorldPlan | None = None,
) -> Factual:
    """Run the program at the observed values.

    Deterministic sites without evidence are computed, and so is what ``base`` sets: the evidence may come from a
    world that was intervened on itself.
    """
    past = Factual(dict(values), {}, units)
    known, fns, sites = past.values, past.fns, program.structure.sites
    seen: dict[str, Any] = {}
    run = Run(program, base, past, parameters, {}, {}) if base is not None and base.interventions else None

    def act(msg: Any) -> Tensor:
        name = msg["name"]
        if name in parameters:
            return parameters[name]
        if run is not None and name in run.sets and name not in known:
            known[name] = run._set(name, run.sets[name], None)
        if name in sites:
            seen[name] = msg.get("fn")
        if name in known:
            if name in needed:
                fns[name] = run.read_by_edges(name) if run is not None and name in run.edges else msg["fn"]
            return known[name]
        value = msg["value"]
        if name in sites:
            if run is not None and name in run.edges:
                value = run.read_by_edges(name)
            known[name] = value = _full(value, sites[name], units)
        return value

    try:
        program.execute(act, units, known)
    except (IndexError, RuntimeError) as error:
        ours = _fault(program, values, seen, {} if base is None else base.interventions, error)
        if ours is None:
            raise
        raise ours from error
    return past


def _fault(
    program: Program,
    values: Mapping[str, Tensor],
    seen: Mapping[str, Any],
    interventions: Mapping[Target, Intervention],
    error: IndexError | RuntimeError,
) -> PCMError | None:
    """What is to blame where the program broke at the evidence; a value outside its support before all else."""
    structure = program.structure
    reached = {*seen, *structure.covariates}
    site = next((name for name in structure.sites if name not in reached), None)
    plain = {
        name: value
        for name, value in values.items()
        if not torch._C._functorch.is_batchedtensor(value)  # type: ignore[attr-defined]
    }
    ours = fault(structure, interventions, site, plain, error, reached=reached)
    if isinstance(ours, EvidenceError):
        for name in [name for name in plain if name in seen and structure.sites[name].kind == "variable"]:
            if name not in interventions:
                check_value(seen[name], plain[name], name, finite=False)
    return ours


def replay(
    program: Program,
    plan: WorldPlan,
    past: Factual,
    parameters: Mapping[str, Tensor],
    *,
    assigned: Mapping[str, Tensor] | None = None,
    uniform: Mapping[str, Tensor] | None = None,
    spend: bool = False,
) -> Replayed:
    """Run one world.

    Parameters
    ----------
    assigned : dict of site to code, optional
        Values of random finite sites; their probability given the evidence goes into ``weight``. Those of the
        reference world are called ``site@reference``.
    uniform : dict of site to tensor, optional
        Uniforms from which random sites draw. A random site with neither keeps its factual value: its descendants'
        values are then not to be used.
    spend : bool
        Whether ``past`` may be used up: no other world will be replayed from it.
    """
    given = assigned or {}
    run = Run(program, plan, past, parameters, given, uniform or {})
    if plan.reference is not None:
        noise = plan.reference_noise(uniform or {})
        there = {name.removesuffix(REFERENCE): code for name, code in given.items() if name.endswith(REFERENCE)}
        borrowed = replay(program, plan.reference, past, parameters, assigned=there, uniform=noise)
        run.reference, run.borrowed, run.out.weight = borrowed.values, borrowed, borrowed.weight
        run.out.reference = borrowed
    run.spend = spend and plan.reference is None
    run.execute()
    return run.out


class Run:
    """One world's run in progress: answers each statement from the past, the interventions, or a mechanism."""

    def __init__(
        self,
        program: Program,
        plan: WorldPlan,
        past: Factual,
        parameters: Mapping[str, Tensor],
        assigned: Mapping[str, Tensor],
        uniform: Mapping[str, Tensor],
    ) -> None:
        self.program, self.plan, self.past, self.parameters = program, plan, past, parameters
        self.assigned, self.uniform, self.out = assigned, uniform, Replayed()
        self.reference: Mapping[str, Tensor] = {}
        self.borrowed: Replayed | None = None
        self.spend = False
        self.sites, self.changed, self.sets, self.edges = program.structure.sites, plan.changed, plan.sets, plan.edges
        self.covariates: dict[str, Tensor] = {name: past.values[name] for name in program.structure.covariates}

    def execute(self) -> None:
        """Run the program in this world."""
        self.covariates = {name: self.covariate(name) for name in self.program.structure.covariates}
        try:
            self.program.execute(self.act, self.past.units, self.covariates)
        except (IndexError, RuntimeError) as error:
            asked, structure = self.plan.interventions, self.program.structure
            given = {} if asked else self.covariates
            ours = fault(structure, asked, self.ahead(), given, error, reached=structure.covariates)
            if ours is None:
                raise
            raise ours from error

    def ahead(self) -> str | None:
        """The first site that this run has not answered yet."""
        return next((name for name in self.sites if name in self.changed and name not in self.out.values), None)

    def value(self, name: str) -> Tensor:
        """The value of a site in this world so far."""
        return self.out.values[name] if name in self.out.values else self.past.values[name]

    def covariate(self, name: str) -> Tensor:
        if name not in self.sets:
            return self.past.values[name]
        value = self._set(name, self.sets[name], self.past.values[name])
        self.out.values[name] = value
        return value

    def act(self, msg: Any) -> Tensor:
        name = msg["name"]
        if name not in self.changed:
            kept = self.past.values.get(name)
            if kept is not None:
                return kept
            return self.parameters[name] if name in self.parameters else msg["value"]
        value = self.changed_value(name, msg)
        self.out.values[name] = value
        return value

    def changed_value(self, name: str, msg: Any) -> Tensor:
        action = self.sets.get(name)
        if action is not None and name not in self.plan.natural:
            return self._set(name, action, None)
        site = self.sites[name]
        if (
            action is not None
            and site.kind == "variable"
            and name not in self.plan.replayed
            and name in self.past.values
        ):
            return self._set(name, action, self.past.values[name])
        if site.kind == "deterministic":
            value = self.read_by_edges(name) if name in self.edges else msg["value"]
            value = _full(value, site, self.past.units)
        else:
            value = self.mechanism(name, site, self.read_by_edges(name) if name in self.edges else msg["fn"])
        return value if action is None else self._set(name, action, value)

    def mechanism(self, name: str, site: Site, fn: Any) -> Tensor:
        coupling = site.coupling
        assert coupling is not None
        observed = self.past.values[name]
        if coupling.invertible:
            # its distributions are not read again: buffers that die young stay in the cache
            before = self.past.fns.pop(name) if self.spend else self.past.fns[name]
            return coupling.transport(unwrap(before)[0], observed, unwrap(fn)[0])
        before = self.past.fns[name]
        self.out.fns[name] = fn
        if name in self.assigned:
            code = self.assigned[name]
            _check_outcomes(site, unwrap(fn)[0])
            there = self.borrowed
            if there is not None and name + REFERENCE in self.assigned and name not in self.plan.afresh:
                between = unwrap(there.fns[name])[0], there.values[name]
                chosen = coupling.transition_after(unwrap(before)[0], observed, *between, unwrap(fn)[0])
            else:
                chosen = coupling.transition(unwrap(before)[0], observed, unwrap(fn)[0])
            self._weigh(chosen.movedim(-1, 0)[code] if chosen.dim() else chosen)
            return assigned_value(code, site, observed)
        if name in self.uniform:
            return coupling.transport(unwrap(before)[0], observed, unwrap(fn)[0], self.uniform[name])
        return observed

    def _set(self, name: str, action: Intervention, natural: Tensor | None) -> Tensor:
        site = self.sites[name]
        if isinstance(action, Stochastic):
            return self._drawn(name, site, action)
        if isinstance(action, Baseline):
            return self._referred(name)
        read = {}
        if isinstance(action, Function):
            read = {n: natural if n == name and natural is not None else self.value(n) for n in action.reads}
        return set_value(action, site, self.past.units, read)

    def _drawn(self, name: str, site: Site, action: Stochastic) -> Tensor:
        coupling, fn = resolve(action.distribution)
        shape = site.shape(self.past.units)
        if name in self.assigned:
            chosen = fn.log_prob(_support_rows(self.assigned[name], site)).exp()
            self._weigh(chosen.expand(self.past.units))
            return assigned_value(self.assigned[name], site, torch.empty(shape, dtype=site.dtype))
        if name in self.uniform:
            return coupling.push(fn, coupling.fresh(fn, self.uniform[name])).to(site.dtype).expand(shape)
        return torch.zeros(shape, dtype=site.dtype)

    def _referred(self, name: str) -> Tensor:
        """The variable's value in the reference world."""
        return self.reference[name] if name in self.reference else self.past.values[name]

    def _weigh(self, probability: Tensor) -> None:
        self.out.weight = probability if self.out.weight is None else self.out.weight * probability

    def read_by_edges(self, child: str) -> Any:
        """The child's distribution (or deterministic value) when only it sees the edges' values."""
        seen: dict[str, Tensor] = {}
        for parent, action in self.edges[child].items():
            value = self.value(parent)
            if isinstance(action, Stochastic):
                key = f"{parent} -> {child}"
                coupling, fn = resolve(action.distribution)
                if key in self.uniform:
                    value = coupling.push(fn, coupling.fresh(fn, self.uniform[key])).to(value.dtype)
            elif isinstance(action, Baseline):
                value = self._referred(parent)
            else:
                read = {}
                if isinstance(action, Function):
                    read = {n: self.value(n) for n in action.reads}
                value = set_value(action, self.sites[parent], self.past.units, read)
            seen[parent] = value
        return self.seen_by(child, seen)

    def seen_by(self, child: str, seen: Mapping[str, Tensor]) -> Any:
        """The child's distribution (or deterministic value) when it sees these values of some parents."""
        found: list[Any] = []

        def act(msg: Any) -> Tensor:
            name = msg["name"]
            if name == child:
                found.append(msg["value"] if self.sites[child].kind == "deterministic" else msg["fn"])
                raise _Found
            if name in seen:
                return seen[name]
            if name in self.sites:
                return self.value(name)
            return self.parameters[name] if name in self.parameters else msg["value"]

        with self.program.sealed(grad=torch.is_grad_enabled()), suppress(_Found):
            try:
                self.program.execute(act, self.past.units, {**self.covariates, **seen})
            except (IndexError, RuntimeError) as error:
                ours = outside_a_table(self.plan.interventions, child, error)
                if ours is None:
                    raise
                raise ours from error
        return found[0]


def set_value(action: Intervention, site: Site, units: int, read: Mapping[str, Tensor]) -> Tensor:
    """What a constant, per-unit or functional intervention sets the site to, shape ``(*inner, unit, *event)``."""
    shape = site.shape(units)
    if isinstance(action, Constant):
        value = action.value
        if site.inner and value.dim():
            value = value.unsqueeze(len(site.inner))
        elif site.event and value.dim():
            value = value.unsqueeze(0)
    elif isinstance(action, PerUnit):
        value = action.value
        axis = len(site.inner) if value.dim() == len(shape) else 0
        if value.shape[axis] != units:
            raise InterventionError(
                f"do({site.name}=…) gives {value.shape[axis]} values, one a unit, to {units} units.", site=site.name
            )
    else:
        assert isinstance(action, Function)
        try:
            # copies: a function that writes in place must not reach the user's data or another world
            value = action.function(**{name: part.clone() for name, part in read.items()})
        except PCMError:
            raise
        except Exception as error:
            hint = (
                " Write it with torch operations (torch.where instead of if)." if "Boolean value" in str(error) else ""
            )
            raise InterventionError(
                f"the function given to do({site.name}=…) failed: {type(error).__name__}: {error}.{hint}",
                site=site.name,
            ) from error
        try:
            value = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise InterventionError(
                f"the function given to do({site.name}=…) returned {value!r}, which is no number or tensor.",
                site=site.name,
            ) from None
        if not torch._C._functorch.is_batchedtensor(value):  # type: ignore[attr-defined]
            check_support(value, site, None, f"the function given to do({site.name}=…)")
    try:
        return value.to(site.dtype).expand(shape)
    except RuntimeError:
        raise InterventionError(
            f"do({site.name}=…): a value of shape {tuple(value.shape)} does not fit the units {shape}.", site=site.name
        ) from None


def one_hot_code(value: Tensor, site: Site) -> Tensor:
    """Codes of a discrete site's values (one-hot rows become their position)."""
    return value.argmax(-1) if site.one_hot else value


def assigned_value(code: Tensor, site: Site, like: Tensor) -> Tensor:
    """The value with this code, in the dtype and shape of ``like``."""
    if site.one_hot:
        return torch.nn.functional.one_hot(code, site.cardinality or -1).to(like.dtype).expand(like.shape)
    return code.to(like.dtype).expand(like.shape)


def _support_rows(code: Tensor, site: Site) -> Tensor:
    if site.one_hot:
        return torch.nn.functional.one_hot(code, site.cardinality or -1).to(site.dtype)
    return code.to(site.dtype)


def _check_outcomes(site: Site, fn: Any) -> None:
    """Raise where a site's outcomes are others than those that were counted when the program was read."""
    assert site.coupling is not None
    found = site.coupling.cardinality(fn)
    if found != site.cardinality:
        raise CouplingError(
            f"site '{site.name}': {site.family} had {site.cardinality} outcomes when the program was read and has "
            f"{found or 'not one number of them'} in this world. Give its total_count a statement of its own "
            "(pyro.deterministic): then it is seen to change.",
            site=site.name,
            family=site.family,
        )


def _full(value: Any, site: Site, units: int) -> Tensor:
    """A deterministic site's value, one for every unit."""
    if not isinstance(value, Tensor):
        raise ProgramError(f"pyro.deterministic('{site.name}') was given {type(value).__name__}, not a tensor.")
    shape = site.shape(units)
    return value if tuple(value.shape) == shape else value.expand(shape)
