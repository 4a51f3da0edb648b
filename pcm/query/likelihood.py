"""Densities of data under a program: per unit for the user, as one target for inference.

>>> import pyro, pyro.distributions as dist, pcm
>>> def coin():
...     pyro.sample("x", dist.Bernoulli(0.25))
>>> pcm.SCM(coin).log_prob({"x": [1.0, 0.0]}).round(4).tolist()
[-1.3863, -0.2877]
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.arguments import check_count
from pcm.couplings import check_value
from pcm.errors import EvidenceError, FitError, FitWarning, PCMError, SupportError, listed
from pcm.infer import Posterior, Target
from pcm.infer.laplace import starts
from pcm.infer.latent import Marginal, Space
from pcm.infer.optimise import climb
from pcm.infer.seeding import seeded
from pcm.infer.unconstrained import Unconstrained
from pcm.program import is_deterministic
from pcm.query.evidence import Units, check_cells, check_evidence, named_rows, read_units
from pcm.query.exact_fit import Watch
from pcm.query.model import Model
from pcm.worlds import Factual, Run, WorldPlan, align, choose_seed, lane_count, over_lanes

__all__ = ["log_prob", "start_values", "target_of", "told"]


def log_prob(model: Model, data: Any, *, draws: int = 256, seed: int | None = None) -> np.ndarray:
    """Log density of each unit's observed sites, ``[unit]``, or ``[draw, unit]`` under parameter draws.

    Columns of explicit-noise programs are solved for their noise, which the data then need not have.
    """
    check_count(draws, "draws")
    with model.program.sealed():
        found = read_units(model, data, what="data")
        index, units = found.index, len(found.index)
        model = replace(model, interventions=align(model.interventions, index))
        parameters = model.parameters(draws, choose_seed(seed), prior=False)
        first = {name: value[0] for name, value in parameters.items()}
        space = _noise_space(model, found, first)
        if space is None:
            values = read_units(model, data, what="data", partial=False).values
        else:
            values = {**found.values, **space.complete(first, torch.zeros(units, 0), space.configurations[0], {})}
        known = check_evidence(model, values, index, first).values

        def one(lane: dict[str, Tensor]) -> dict[str, Tensor]:
            if space is not None:
                return {"log_prob": _unit_sums(space, lane)}
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


def target_of(model: Model, data: Any) -> tuple[Target, Marginal | None]:
    """What inference needs of a program and data: ``log p(parameters) + log p(data | parameters)``.

    Sites whose distribution depends on no parameter are evaluated once. Missing cells are integrated out, unit by
    unit, by the :class:`~pcm.infer.latent.Marginal` that comes with the target; a site that nothing observed depends
    on drops out.

    Raises
    ------
    FitError
        Where there is nothing to fit, or an edge intervention is in force.
    EvidenceError
        Where a column that nothing observed depends on is absent.
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
    marginal: Marginal | None = None
    with program.sealed(grad=True):
        start = start_values(model)
        first = {**start, **model.given}
        if found.missing:
            marginal, values = _integrated(model, plan, found, first)
        else:
            values = {name: value for name, value in values.items() if name not in found.solved}
        known = check_evidence(model, values, index, first).values
        if marginal is None:
            check_cells(model, found.values, known, found.solved, index)
        leaves = {name: value.clone().requires_grad_() for name, value in start.items()}
        for leaf in trainable.values():
            leaf.requires_grad_(True)
        if marginal is None:
            terms = _Terms(model, known, units, plan, skip=frozenset())
            terms.total(leaves)
            skip = frozenset(name for name, term in terms.found.items() if not term.requires_grad)
            constant = sum((terms.found[name].detach() for name in skip), torch.zeros(()))
            watch = Watch(model, known, units, terms.found)
            _check_steps(model, terms, marginal, leaves)
            terms = _Terms(model, known, units, plan, skip)
        else:  # the units' terms come from the integral over what is missing: here only the parameters' own
            one = {
                name: value.narrow(len(structure.sites[name].inner), 0, min(units, 1))
                for name, value in known.items()
                if structure.sites[name].kind != "deterministic" or name in plan.sets
            }
            terms, constant = _Terms(model, one, 1, plan, skip=frozenset(structure.stochastic)), torch.zeros(())
            watch = Watch(model, known, units, {})
            _check_steps(model, terms, marginal, leaves)

    def log_density(parameters: dict[str, Tensor]) -> Tensor:
        with program.sealed(grad=torch.is_grad_enabled()):
            total = terms.total(parameters) + constant
            watch.look(terms, parameters)
            return total if marginal is None else total + marginal.log_density({**model.given, **parameters})

    def log_densities(parameters: dict[str, Tensor]) -> Tensor:
        assert marginal is not None
        with program.sealed(grad=torch.is_grad_enabled()):
            draws = len(next(iter(parameters.values())))
            given = {name: value.expand(draws, *value.shape) for name, value in model.given.items()}
            try:
                prior = torch.func.vmap(terms.total)(parameters)
            except (RuntimeError, TypeError, ValueError, NotImplementedError):  # a prior that cannot be mapped
                each = [{name: value[draw] for name, value in parameters.items()} for draw in range(draws)]
                prior = torch.stack([terms.total(one) for one in each])
            return prior + marginal.log_densities({**given, **parameters})

    supports = {name: structure.parameters[name].support for name in model.free}
    target = Target(log_density, supports, start, trainable=trainable, units=units, noised=_noised(model, found))
    if marginal is not None:
        target = replace(target, batched=log_densities if start else None, cost=marginal.cost)
        if not marginal.settled:
            target = _settled(target, marginal, model)
    return target, marginal


def _noised(model: Model, found: Units) -> tuple[str, ...]:
    """Variables of which the data have a private answer; the answer itself where its parent is no variable."""
    structure = model.structure
    answers = [name for name, site in structure.sites.items() if site.mechanism is not None and name in found.values]
    parents = [each for name in answers for each in (list(structure.graph.predecessors(name)) or [name])]
    return tuple(dict.fromkeys(parents))


def _integrated(
    model: Model, plan: WorldPlan, found: Units, first: Mapping[str, Tensor]
) -> tuple[Marginal, dict[str, Tensor]]:
    """The integral over what is missing, and the data with some values in its place, to check the program with."""
    structure, index = model.structure, found.index
    inputs = {
        name: value
        for name, value in found.values.items()
        if structure.sites[name].kind != "deterministic" or name in found.solved
    }
    trials = [dict(first)]
    with torch.no_grad():
        if model.free:
            prior = replace(model, posterior=None).parameters(3, 1, prior=True)
            trials += [{name: value[draw] for name, value in prior.items()} for draw in range(3)]
        try:
            marginal = Marginal(
                model.program,
                plan,
                inputs,
                found.missing,
                len(index),
                trials,
                found.bounds,
                found.solved,
                found.holes,
            )
        except EvidenceError as error:
            raise named_rows(error, index) from None
        except PCMError:
            raise
        except Exception:  # data that the program cannot read: say which, where that is why
            check_evidence(model, found.values, index, first)
            raise
        check_cells(model, found.values, marginal.computed, marginal.links.settled, index)
        absent = [name for name, mask in marginal.barren.items() if bool(mask.all()) and name not in found.bounds]
        if absent:
            raise EvidenceError(
                f"the data lacks the variable{'s' if len(absent) > 1 else ''} {listed(absent)}, and nothing that it "
                "has depends on them: there is nothing to fit their mechanisms to. Give their columns.",
                column=absent[0],
                missing=absent,
            )
        return marginal, {**found.values, **marginal.filled(first)}


def _settled(target: Target, marginal: Marginal, model: Model) -> Target:
    """The target with rules and draws chosen near its mode, where the search will start."""
    with model.program.sealed():
        marginal.settle({**model.given, **target.initial})
    if target.trainable or not target.initial:
        return replace(target, cost=marginal.cost)
    space = Unconstrained(target, method="fit")
    with seeded(0):
        point = next(iter(starts(space)))
    values = dict(target.initial)
    for _ in range(2):
        point = climb(space.value_and_gradient, point, tolerance=1e-2, iterations=60).point
        values = {name: value.detach() for name, value in space.values(point).items()}
        with model.program.sealed():
            marginal.settle({**model.given, **values})
    return replace(target, initial=values, cost=marginal.cost)


def told(posterior: Posterior, marginal: Marginal, model: Model) -> Posterior:
    """The posterior with how the missing values were integrated out; warns where that is not accurate there."""
    some = posterior.thin(8).draws
    count = lane_count(some)
    given = {name: value.expand(count, *value.shape) for name, value in model.given.items()}
    with model.program.sealed():
        problems = marginal.problems({**given, **some})
    for problem in problems:
        warnings.warn(f"the integral over the missing values is not accurate: {problem}.", FitWarning, stacklevel=3)
    words = {"missing": list(marginal.account), "missing_problems": problems}
    return replace(posterior, diagnostics={**posterior.diagnostics, **words})


def _check_steps(model: Model, terms: _Terms, marginal: Marginal | None, leaves: dict[str, Tensor]) -> None:
    """Raise where a parameter moves the likelihood without a gradient: every method would take it for irrelevant."""

    def likelihood(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if marginal is not None:
            return {"the data": marginal.log_density({**model.given, **values})}
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


def _noise_space(model: Model, found: Units, parameters: Mapping[str, Tensor]) -> Space | None:
    """What is missing, where that is the explicit noise of columns that are there, in every unit, and no more."""
    graph, plan, units = model.structure.graph, WorldPlan(model.structure, model.interventions), len(found.index)
    noise_alone = all(
        bool(mask.all()) and not graph.in_degree(name) and set(graph.successors(name)) <= found.solved.keys()
        for name, mask in found.missing.items()
    ) and all(bool(mask.all()) for mask in found.solved.values())
    if not found.missing or not noise_alone:
        return None
    try:
        space = Space(
            model.program,
            plan,
            found.values,
            found.missing,
            units,
            bounds=found.bounds,
            solved=found.solved,
            holes=found.holes,
            parameters=parameters,
        )
    except EvidenceError as error:
        raise named_rows(error, found.index) from None
    if space.width:
        return None
    check_cells(model, found.values, space.typical[0] if space.links.settled else {}, space.links.settled, found.index)
    return space


def _unit_sums(space: Space, parameters: Mapping[str, Tensor]) -> Tensor:
    """``log Σ_configurations p(observed, configuration | parameters)``, ``(unit,)``."""
    empty = torch.zeros(space.units, 0)
    each = [space.log_joint(parameters, empty, codes) for codes in space.configurations]
    if len(each) == 1:
        return each[0]
    counted = torch.where(space.counted, 0.0, -torch.inf)
    return (torch.stack(each) + counted).logsumexp(0)


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


def start_values(model: Model) -> dict[str, Tensor]:
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
    with seeded(0):
        model.program.execute(act, 1, blank)
    return found
