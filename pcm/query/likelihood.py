"""Densities of data under a program: per unit for the user, as one target for inference.

>>> import pyro, pyro.distributions as dist, pcm
>>> def coin():
...     pyro.sample("x", dist.Bernoulli(0.25))
>>> pcm.SCM(coin).log_prob({"x": [1.0, 0.0]}).round(4).tolist()
[-1.3863, -0.2877]
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.couplings import check_value
from pcm.errors import EvidenceError, FitError, SupportError, listed
from pcm.infer import Target
from pcm.infer.latent import Space
from pcm.program import is_deterministic
from pcm.query.evidence import check_evidence, read_units
from pcm.query.exact_fit import Watch
from pcm.query.model import Model, check_draws
from pcm.worlds import Factual, Run, WorldPlan, align, choose_seed, over_lanes

__all__ = ["log_prob", "target_of"]


def log_prob(model: Model, data: Any, *, draws: int = 256, seed: int | None = None) -> np.ndarray:
    """Log density of each unit's observed sites, ``[unit]``, or ``[draw, unit]`` under parameter draws."""
    check_draws(draws)
    with model.program.sealed():
        found = read_units(model, data, what="data", partial=False)
        values, index = found.values, found.index
        model = replace(model, interventions=align(model.interventions, index))
        parameters = model.parameters(draws, choose_seed(seed), prior=False)
        first = {name: value[0] for name, value in parameters.items()}
        known = check_evidence(model, values, index, first).values
        units = len(index)

        def one(lane: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"log_prob": _unit_terms(model, known, lane, units)}

        if not model.free or model.posterior is None:
            return one(first)["log_prob"].numpy()
        count = len(next(iter(parameters.values())))
        out, _ = over_lanes(one, lambda part: {n: v[part] for n, v in parameters.items()}, count, size=units)
    return out["log_prob"].numpy()


def _unit_terms(model: Model, known: Mapping[str, Tensor], parameters: Mapping[str, Tensor], units: int) -> Tensor:
    total = torch.zeros(units)
    plan, sites = WorldPlan(model.structure, model.interventions), model.structure.sites
    run = Run(model.program, plan, Factual(dict(known), {}, units), parameters, {}, {})

    def act(msg: Any) -> Tensor:
        nonlocal total
        name = msg["name"]
        if name in parameters:
            return parameters[name]
        if name not in sites or (is_deterministic(msg) and name not in plan.sets):
            return msg["value"]
        if name not in plan.sets:
            fn = run.read_by_edges(name) if name in plan.edges else msg["fn"]
            total = total + _term(msg, fn, known[name]).reshape(-1, units).sum(0)
        return known[name]

    model.program.execute(act, units, known)
    return total


def _term(msg: Any, fn: Any, value: Tensor) -> Tensor:
    """A site's log density, with the program's own mask and scale."""
    term = fn.log_prob(value)
    if msg["mask"] is not None:
        term = term * msg["mask"]
    return term if msg["scale"] is None or isinstance(msg["scale"], float) else term * msg["scale"]


def target_of(model: Model, data: Any) -> tuple[Target, dict[str, Tensor]]:
    """What inference needs of a program and data: ``log p(parameters) + log p(data | parameters)``.

    Sites whose distribution depends on no parameter are evaluated once. Missing cells are integrated out, unit by
    unit: a site that nothing observed depends on drops out, finite discrete ones are summed over.

    Raises
    ------
    FitError
        Where there is nothing to fit, or an edge intervention is in force.
    EvidenceError
        Where a continuous site is missing above observed ones, or a column that nothing observed depends on is absent.
    """
    program, structure = model.program, model.structure
    trainable = program.trainable
    if not model.free and not trainable:
        raise FitError(
            f"program {program.name} has no parameters to fit: sample sites outside the plate named 'units', "
            "pyro.param and PyroModule weights are its parameters."
        )
    plan = WorldPlan(structure, model.interventions)
    if plan.edges:
        raise FitError("fit() under an edge intervention is not supported: fit the program as it is, then intervene.")
    found = read_units(model, data, what="data")
    values, index = found.values, found.index
    model = replace(model, interventions=align(model.interventions, index))
    plan, units = WorldPlan(structure, model.interventions), len(index)
    with program.sealed(grad=True):
        start = _start(model)
        first = {**start, **model.given}
        space = Space(program, plan, values, found.missing, units) if found.missing else None
        if space is not None:
            values = {**values, **_filled(space, first, index)}
        known = check_evidence(model, values, index, first).values
        leaves = {name: value.clone().requires_grad_() for name, value in start.items()}
        for leaf in trainable.values():
            leaf.requires_grad_(True)
        fixed = _Terms(model, known, units, plan, skip=frozenset())
        fixed.total(leaves)
        skip = frozenset(name for name, term in fixed.found.items() if not term.requires_grad)
        if space is not None:  # the units' terms come from the sum over what is missing
            skip = frozenset(structure.stochastic)
        constant = sum((fixed.found[name].detach() for name in skip if space is None), torch.zeros(()))
        watch = Watch(model, known, units, fixed.found if space is None else {})
        _check_steps(model, fixed, space, leaves)
    terms = _Terms(model, known, units, plan, skip)

    def log_density(parameters: dict[str, Tensor]) -> Tensor:
        with program.sealed(grad=torch.is_grad_enabled()):
            total = terms.total(parameters) + constant
            watch.look(terms, parameters)
            return total if space is None else total + _summed(space, {**model.given, **parameters})

    supports = {name: structure.parameters[name].support for name in model.free}
    dims: dict[str, tuple[str, ...]] = {}
    target = Target(log_density, supports, start, trainable=trainable, dims=dims, units=units)
    return target, values


def _check_steps(model: Model, terms: _Terms, space: Space | None, leaves: dict[str, Tensor]) -> None:
    """Raise where a parameter moves the likelihood without a gradient: every method would take it for irrelevant."""

    def likelihood(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if space is not None:
            return {"the data": _summed(space, {**model.given, **values})}
        terms.total(values)
        return {name: term for name, term in terms.found.items() if name in model.structure.sites}

    if not leaves:
        return
    smooth = [term for term in likelihood(leaves).values() if term.requires_grad]
    slopes: Any = [None] * len(leaves)
    if smooth:
        slopes = torch.autograd.grad(sum(smooth, torch.zeros(())), list(leaves.values()), allow_unused=True)
    unseen = [name for name, slope in zip(leaves, slopes, strict=True) if slope is None]
    if not unseen:
        return
    with torch.no_grad():
        prior = replace(model, posterior=None).parameters(8, 1, prior=True)
        for name, draw in itertools.product(unseen, range(4)):
            here = {other: value[draw] for other, value in prior.items() if other in leaves}
            base, moved = likelihood(here), likelihood({**here, name: prior[name][draw + 4]})
            for site, term in moved.items():
                if not torch.equal(torch.nan_to_num(term), torch.nan_to_num(base[site])):
                    raise FitError(
                        f"parameter '{name}' enters '{site}' without a gradient (a comparison, rounding or Python if): "
                        f"no method here can find it. Fix it with given({name}=…), or write the step smoothly "
                        "(torch.sigmoid).",
                        site=site,
                        parameter=name,
                    )


def _filled(space: Space, parameters: Mapping[str, Tensor], index: pd.Index) -> dict[str, Tensor]:
    """Some values of what is missing, to check the program with."""
    if space.width:
        name = next(iter(space.slots))
        count = int(space.inferred[name].sum())
        rows = space.inferred[name].nonzero().flatten().tolist()
        raise EvidenceError(
            f"'{name}' is missing for {count} of {space.units} units that have values below it (first: "
            f"{listed([index[row] for row in rows[:5]])}); a fit cannot integrate a continuous site out. Drop these "
            "rows, or make it a finite variable.",
            column=name,
            rows=[index[row] for row in rows[:5]],
        )
    absent = [name for name, mask in space.barren.items() if bool(mask.all())]
    if absent:
        raise EvidenceError(
            f"the data lacks the variable{'s' if len(absent) > 1 else ''} {listed(absent)}, and nothing that it has "
            "depends on them: there is nothing to fit their mechanisms to. Give their columns.",
            column=absent[0],
            missing=absent,
        )
    sites = space.sites
    uniform = {n: torch.full((*sites[n].inner, space.units, *sites[n].noise), 0.5) for n in space.barren}
    return space.complete(parameters, torch.zeros(space.units, 0), space.configurations[0], uniform)


def _summed(space: Space, parameters: Mapping[str, Tensor]) -> Tensor:
    """``Σ_units log Σ_configurations p(observed, configuration | parameters)``."""
    empty = torch.zeros(space.units, 0)
    each = [space.log_joint(parameters, empty, codes) for codes in space.configurations]
    if len(each) == 1:
        return each[0].sum()
    counted = torch.where(space.counted, 0.0, -torch.inf)
    return (torch.stack(each) + counted).logsumexp(0).sum()


class _Terms:
    """The log density as a sum over sites."""

    def __init__(
        self, model: Model, known: Mapping[str, Tensor], units: int, plan: WorldPlan, skip: frozenset[str]
    ) -> None:
        self.model, self.known, self.units, self.plan, self.skip = model, known, units, plan, skip
        self.found: dict[str, Tensor] = {}

    def total(self, parameters: Mapping[str, Tensor]) -> Tensor:
        sites, given, found = self.model.structure.sites, self.model.given, {}

        def act(msg: Any) -> Tensor:
            name = msg["name"]
            if name in given:
                return given[name]
            if name in parameters:
                found[name] = msg["fn"].log_prob(parameters[name]).sum()
                return parameters[name]
            if name not in sites:
                return msg["value"]
            if is_deterministic(msg):
                return msg["value"] if name not in self.plan.sets else self.known[name]
            if name not in self.skip and name not in self.plan.sets:
                found[name] = _term(msg, msg["fn"], self.known[name]).sum()
            return self.known[name]

        self.model.program.execute(act, self.units, self.known)
        self.found = found
        return sum(found.values(), torch.zeros(()))


def _start(model: Model) -> dict[str, Tensor]:
    """A value of every free parameter well inside its support: the prior mean where there is one."""
    found: dict[str, Tensor] = {}
    structure = model.structure

    def act(msg: Any) -> Tensor:
        name, fn = msg["name"], msg["fn"]
        if name in model.given:
            return model.given[name]
        if name in structure.parameters:
            try:
                value = fn.mean.expand(fn.shape()).clone()
            except (NotImplementedError, AttributeError, RuntimeError):
                value = fn.sample()
            try:
                check_value(fn, value, name)
            except SupportError:
                value = fn.sample()
            found[name] = value
            return value
        if name in structure.sites:
            site = structure.sites[name]
            return msg["value"] if site.kind == "deterministic" else torch.zeros(site.shape(1), dtype=site.dtype)
        return msg["value"]

    blank = {name: torch.zeros(1, dtype=structure.sites[name].dtype) for name in structure.covariates}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.program.execute(act, 1, blank)
    return found
