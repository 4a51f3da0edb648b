r"""The likelihood of noisy sums over a table, when nothing else was released.

With :math:`f` the terms of one unit, ``s = Σ f + noise`` has the mean ``n E[f]`` and the covariance ``n Cov[f] + Λ``
under the program's parameters; ``n`` units are many, so that it is normal by the central limit theorem, whatever the
noisy sums look like (negative counts, second moments that are not positive definite). ``E`` and ``Cov`` are sums over
every joint value of the finite sites, exactly, and over a fixed Sobol set of the continuous ones' noise.

>>> import pcm, pyro, pyro.distributions as dist
>>> from pcm import private
>>> def coin(n):
...     p = pyro.sample("p", dist.Beta(1.0, 1.0))
...     with pyro.plate("units", n):
...         pyro.sample("x", dist.Bernoulli(p))
>>> counts = private.Aggregate([703.0, 296.0], private.CrossTable({"x": [0, 1]}, epsilon=1.0), rows=1000)
>>> fitted = pcm.SCM(coin).fit(counts, seed=0, progress=False)
>>> round(float(fitted.posterior["p"].mean()), 2)
0.3
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.errors import EvidenceError, FitError, UnknownNameError, listed
from pcm.infer import Target
from pcm.private.cross_table import CrossTable
from pcm.private.statistic import Aggregate
from pcm.program import is_deterministic
from pcm.query.likelihood import start_values
from pcm.query.model import Model

__all__ = ["aggregates_of", "target_of_aggregates"]

#: Rows below which sums are not taken for normal.
FEWEST = 100
#: Joint values of finite sites, places in the continuous ones' noise, and both together.
MOST_CODES, PLACES, MOST = 4096, 4096, 2**18


def aggregates_of(data: Any) -> tuple[Aggregate, ...]:
    """The aggregates that data consist of; none where they are something else."""
    if isinstance(data, Aggregate):
        return (data,)
    if isinstance(data, list | tuple) and data and all(isinstance(each, Aggregate) for each in data):
        return tuple(data)
    if isinstance(data, list | tuple) and any(isinstance(each, Aggregate) for each in data):
        raise EvidenceError("a list of evidence holds noisy sums (Aggregate) of one whole table, and nothing else.")
    return ()


def target_of_aggregates(model: Model, aggregates: Sequence[Aggregate]) -> tuple[Target, str]:
    """What inference needs, and how the evidence was read, in words.

    Raises
    ------
    EvidenceError
        Fewer than 100 rows, aggregates of different tables, labels or variables that are not the program's.
    FitError
        A program for which the moments are not computed: covariates, vectors, counts without end, interventions.
    """
    program = model.program
    if model.interventions:
        raise FitError("fit() from aggregates under an intervention is not supported: fit the program as it is.")
    if not model.free and not program.trainable:
        raise FitError(f"program {program.name} has no parameters to fit.")
    again = [b for place, b in enumerate(aggregates) if any(_same(a, b) for a in aggregates[:place])]
    if again:
        raise EvidenceError(f"the aggregate '{again[0].name}' is there twice: its noise is one draw, and tells once.")
    rows = {each.rows for each in aggregates}
    if len(rows) > 1:
        raise EvidenceError(f"the aggregates are of {sorted(rows)} rows: they must be of one table.")
    (count,) = rows
    if count < FEWEST:
        raise EvidenceError(
            f"aggregates of {count} rows: their sums are taken for normal, which needs {FEWEST} rows or more."
        )
    _check(model, aggregates)
    with program.sealed(grad=True):
        places = _places(model, aggregates)
        for leaf in program.trainable.values():
            leaf.requires_grad_(True)
        initial = start_values(model)
        dtype = program.dtype
        sums = torch.cat([torch.tensor(each.values, dtype=dtype) for each in aggregates]) / count
        noise = torch.cat([torch.full((len(each.values),), each.statistic.variance) for each in aggregates])
        noise = noise.to(dtype) / count**2

    def log_density(parameters: dict[str, Tensor]) -> Tensor:
        with program.sealed(grad=torch.is_grad_enabled()):
            prior, values, log_weights = _run(model, places, parameters)
            terms = torch.cat([each.statistic.features(values) for each in aggregates], -1)
            weights = log_weights.exp() / places.each
            mean = weights @ terms
            apart = terms - mean
            covariance = (apart * weights[:, None]).mT @ apart / count + torch.diag(noise)
            root = torch.linalg.cholesky(covariance)
            scaled = torch.linalg.solve_triangular(root, (sums - mean)[:, None], upper=False)
            return prior - 0.5 * scaled.square().sum() - root.diagonal().log().sum()

    supports = {name: model.structure.parameters[name].support for name in model.free}
    target = Target(
        log_density,
        supports,
        initial,
        trainable=program.trainable,
        units=count,
        cost=max(1, places.units),
        noised=tuple(dict.fromkeys(name for each in aggregates for name in each.statistic.variables)),
    )
    words = f"{len(sums)} noisy sums over {count} rows, taken for normal (central limit theorem); moments of a unit "
    words += f"by enumeration of {len(places.codes)} joint values" if places.discrete else "without finite sites"
    words += f" and {places.each} quasi-random places of {len(places.continuous)} sites' noise" * bool(
        places.continuous
    )
    return target, words


# -- private -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Places:
    """Joint codes ``(code, site)`` of finite sites, uniforms ``(place, site)`` of continuous ones; their product."""

    discrete: tuple[str, ...]
    continuous: tuple[str, ...]
    codes: Tensor
    uniforms: Tensor

    @property
    def each(self) -> int:
        return len(self.uniforms)

    @property
    def units(self) -> int:
        return len(self.codes) * self.each


def _same(one: Aggregate, other: Aggregate) -> bool:
    return one.statistic == other.statistic and np.array_equal(one.values, other.values)


def _check(model: Model, aggregates: Sequence[Aggregate]) -> None:
    sites = model.structure.sites
    for each in aggregates:
        for name in each.statistic.variables:
            if name not in sites:
                raise UnknownNameError(name, known=list(sites))
        if not isinstance(each.statistic, CrossTable):
            continue
        for name, labels in each.statistic.categories:
            own = model.categories.get(name) or tuple(range(sites[name].cardinality or 0))
            if not sites[name].discrete or tuple(own) != labels:
                raise EvidenceError(
                    f"the cross-table counts '{name}' by {labels}, and the program's values are "
                    f"{tuple(own) if own else 'not finite'}: they must be the same, in the same order.",
                    column=name,
                )


def _places(model: Model, aggregates: Sequence[Aggregate]) -> _Places:
    structure = model.structure
    asked = {name for each in aggregates for name in each.statistic.variables}
    wanted = asked.union(*(nx.ancestors(structure.graph, name) for name in asked))
    sites = {name: site for name, site in structure.sites.items() if name in wanted and site.kind != "deterministic"}
    odd = [name for name, site in sites.items() if site.kind == "covariate"]
    if odd:
        raise FitError(f"fit() from aggregates: the covariates {listed(odd)} have no distribution to average over.")
    odd = [name for name, site in sites.items() if not site.scalar or (site.discrete and site.cardinality is None)]
    if odd:
        raise FitError(
            f"fit() from aggregates needs one number a unit of a continuous or finite law; {listed(odd)} "
            f"{'has' if len(odd) == 1 else 'have'} another form."
        )
    discrete = tuple(name for name, site in sites.items() if site.discrete)
    continuous = tuple(name for name, site in sites.items() if not site.discrete)
    joint = math.prod(sites[name].cardinality or 1 for name in discrete)
    if joint > MOST_CODES:
        raise FitError(f"fit() from aggregates: {listed(discrete)} have {joint:,} joint values, above {MOST_CODES:,}.")
    codes = list(itertools.product(*(range(sites[name].cardinality or 1) for name in discrete)))
    uniforms = torch.zeros(1, 0)
    if continuous:
        number = min(PLACES, 2 ** int(math.log2(MOST // joint)))
        engine = torch.quasirandom.SobolEngine(len(continuous), scramble=True, seed=0)
        uniforms = engine.draw(number, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    return _Places(discrete, continuous, torch.tensor(codes, dtype=torch.int64).reshape(joint, -1), uniforms)


def _run(model: Model, places: _Places, parameters: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Log prior, values ``(unit,)`` of the variables at every place, and log weights ``(unit,)`` of the places."""
    sites, given, units = model.structure.sites, model.given, places.units
    prior: list[Tensor] = []
    weights: list[Tensor] = []
    values: dict[str, Tensor] = {}

    def act(msg: Any) -> Tensor:
        name, fn = msg["name"], msg["fn"]
        if name in given:
            return given[name]
        if name in parameters:
            prior.append(fn.log_prob(parameters[name]).sum())
            return parameters[name]
        if name not in sites:
            return msg["value"]
        if is_deterministic(msg):
            values[name] = msg["value"]
            return msg["value"]
        site = sites[name]
        if name in places.discrete:
            code = places.codes[:, places.discrete.index(name)].repeat_interleave(places.each)
            value = code.to(site.dtype)
            weights.append(fn.log_prob(value).expand(units))
        elif site.discrete:  # nobody asked for it, nor for what depends on it
            return torch.zeros(site.shape(units), dtype=site.dtype)
        else:
            uniform = torch.full((*site.inner, units, *site.noise), 0.5)
            if name in places.continuous:
                column = places.uniforms[:, places.continuous.index(name)]
                uniform = column.repeat(len(places.codes)).reshape(uniform.shape)
            bare = unwrap(fn)[0]
            assert site.coupling is not None
            value = site.coupling.push(bare, site.coupling.fresh(bare, uniform)).expand(site.shape(units))
        values[name] = value
        return value

    model.program.execute(act, units)
    zero = torch.zeros(())
    return sum(prior, zero), values, sum(weights, zero.expand(units))
