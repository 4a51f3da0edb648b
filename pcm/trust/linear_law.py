"""A program whose mechanisms are linear, as matrices: ``x = B x + c + u`` with independent noises ``u``.

Each mechanism is run at the origin, one step along every parent, and at far-out places: if the means there are where
linearity says and the spread is the same, the coefficients are exact (differences of a linear function are its
derivatives). A fitted model gives one law a posterior draw.

>>> import pyro, pyro.distributions as dist, pcm
>>> def pair():
...     x = pyro.sample("x", dist.Normal(1.0, 1.0))
...     pyro.sample("y", dist.Normal(2 * x, 0.5))
>>> law = linear_law(pcm.SCM(pair))
>>> law.slopes[0, 1, 0].item(), law.variances[0].tolist()
(2.0, [1.0, 0.25])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.errors import ArgumentError
from pcm.query.model import Model
from pcm.scm import SCM
from pcm.worlds import Constant, PerUnit, Stochastic, Target, WorldPlan, forward, lane_count, over_lanes, world_noise

__all__ = ["LinearLaw", "generic_law", "linear_law", "mechanism_at"]

_SLACK = 1e-9


@dataclass(frozen=True)
class LinearLaw:
    """Linear structural equations; arrays start with the draw dim.

    Attributes
    ----------
    names : tuple of str
        Variables in causal order.
    slopes : numpy.ndarray (draw, child, parent)
    constants, variances : numpy.ndarray (draw, variable)
        Of each equation: intercept, and variance of the noise.
    gaussian : frozenset of str
        Variables whose noise is Gaussian (or none at all).
    labels : dict of name to tuple of labels
        Of variables whose codes have names.
    """

    names: tuple[str, ...]
    slopes: np.ndarray
    constants: np.ndarray
    variances: np.ndarray
    gaussian: frozenset[str]
    labels: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def draws(self) -> int:
        """How many laws there are, one a posterior draw."""
        return len(self.slopes)

    @cached_property
    def place(self) -> dict[str, int]:
        """Place of each variable."""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def values(self) -> np.ndarray:
        """Each variable as an affine function of the noises, ``(draw, variable, noise + 1)``; the last is constant."""
        size = len(self.names)
        total = np.linalg.inv(np.eye(size) - self.slopes)
        return np.concatenate([total, total @ self.constants[..., None]], -1)

    def roots(self) -> frozenset[str]:
        """Variables that read none."""
        return frozenset(n for i, n in enumerate(self.names) if not self.slopes[:, i].any())

    def at(self, draw: int) -> LinearLaw:
        """One draw's law."""
        part = slice(draw, draw + 1)
        return replace(self, slopes=self.slopes[part], constants=self.constants[part], variances=self.variances[part])

    def averaged(self) -> LinearLaw:
        """The law at the posterior mean of the coefficients."""
        return replace(
            self,
            slopes=self.slopes.mean(0, keepdims=True),
            constants=self.constants.mean(0, keepdims=True),
            variances=self.variances.mean(0, keepdims=True),
        )


def generic_law(graph: nx.DiGraph, seed: int = 0) -> LinearLaw:
    """A linear Gaussian law on a graph with generic (random) coefficients: no effects cancel but by chance zero.

    Examples
    --------
    >>> generic_law(nx.DiGraph([("a", "b")])).names
    ('a', 'b')
    """
    rng = np.random.default_rng(seed)
    names = tuple(nx.lexicographical_topological_sort(graph, key=str))
    place = {name: i for i, name in enumerate(names)}
    slopes = np.zeros((1, len(names), len(names)))
    for parent, child in sorted(graph.edges, key=str):
        slopes[0, place[child], place[parent]] = rng.uniform(0.4, 1.6) * rng.choice([-1.0, 1.0])
    return LinearLaw(names, slopes, np.zeros((1, len(names))), rng.uniform(0.5, 2.0, (1, len(names))), frozenset(names))


def linear_law(scm: SCM, *, draws: int = 500, seed: int = 0) -> LinearLaw | str:
    """The program's linear equations, or the reason why it has none, in words."""
    model = scm._model
    sites, graph = model.structure.sites, scm.graph
    for name, site in sites.items():
        if not site.scalar:
            return f"'{name}' has several values a unit"
        if site.kind == "covariate" and name not in model.interventions:
            return f"'{name}' is a covariate, which has no distribution"
        if not site.ordered and site.cardinality != 2:
            return f"'{name}' is categorical"
    for target, action in model.interventions.items():
        if isinstance(target, tuple) and isinstance(action, Stochastic):
            return f"the edge {target[0]} → {target[1]} is set at random"
        if not isinstance(action, Constant | Stochastic):
            return f"'{target}' is set to what differs between units"
    names = tuple(sites)
    probes = _probes(model, names)
    parameters = model.parameters(draws, seed, prior=True)
    lanes = lane_count(parameters)
    count = len(next(iter(probes.values())))

    def one(lane: dict[str, Tensor]) -> dict[str, Tensor]:
        out = {}
        for name in names:
            mean, variance = mechanism_at(model, name, probes, lane, count)
            out[f"mean {name}"], out[f"variance {name}"] = mean, variance
        return out

    with model.program.sealed():
        try:
            if parameters:
                out, _ = over_lanes(one, lambda part: {n: v[part] for n, v in parameters.items()}, lanes, size=count)
            else:
                out = {key: value[None] for key, value in one({}).items()}
        except _NoMoments as error:
            return str(error)
    size = len(names)
    points = np.stack([probes[name].numpy().astype(float) for name in names], -1)
    slopes, constants, variances = np.zeros((lanes, size, size)), np.zeros((lanes, size)), np.zeros((lanes, size))
    for i, name in enumerate(names):
        mean, variance = out[f"mean {name}"].numpy(), out[f"variance {name}"].numpy()
        if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
            return f"'{name}' has no finite variance"
        constants[:, i], variances[:, i] = mean[:, 0], variance[:, 0]
        slopes[:, i] = mean[:, 1 : size + 1] - mean[:, :1]
        slopes[:, i, [j for j, other in enumerate(names) if not graph.has_edge(other, name)]] = 0.0
        line = constants[:, i, None] + slopes[:, i] @ points.T
        scale = 1 + np.abs(mean).max()
        if np.abs(mean - line).max() > _SLACK * scale:
            return f"the mean of '{name}' is not linear in its parents"
        if np.abs(variance - variances[:, i, None]).max() > _SLACK * (1 + variances[:, i].max()):
            return f"the spread of '{name}' depends on its parents"
    gaussian = frozenset(n for i, n in enumerate(names) if _is_gaussian(model, n) or not variances[:, i].any())
    return LinearLaw(names, slopes, constants, variances, gaussian, model.categories)


def mechanism_at(
    model: Model, name: str, values: Mapping[str, Tensor], parameters: Mapping[str, Tensor], units: int
) -> tuple[Tensor, Tensor]:
    """Mean and variance ``(unit)`` of a mechanism with every other variable at the given values.

    Values outside a variable's support are put in as they are.
    """
    action = model.interventions.get(name)
    if isinstance(action, Stochastic):
        fn = action.distribution
        return _moments(fn, name, units)
    others: dict[Target, Any] = {n: PerUnit(values[n]) for n in model.structure.sites if n != name and n in values}
    others |= {t: a for t, a in model.interventions.items() if t == name or (isinstance(t, tuple) and t[1] == name)}
    plan = WorldPlan(model.structure, others)
    drawn = [n for n in model.structure.stochastic if n not in values or n == name]
    uniform = {
        key: value[0] for key, value in world_noise(plan, 0, np.zeros(units, np.uint64), range(1), drawn).items()
    }
    covariates = {n: values[n] for n in model.structure.covariates}
    made = forward(model.program, plan, parameters, uniform, units, covariates)
    if name in made.fns:
        return _moments(unwrap(made.fns[name])[0], name, units)
    value = made.values[name].to(torch.get_default_dtype()).expand(units)
    return value, torch.zeros_like(value)


# -- private ---------------------------------------------------------------------------------------------------------


class _NoMoments(ArgumentError):
    """A distribution without a mean or a variance."""


def _moments(fn: Any, name: str, units: int) -> tuple[Tensor, Tensor]:
    try:
        mean, variance = fn.mean, fn.variance
    except (NotImplementedError, AttributeError):
        raise _NoMoments(f"'{name}' has no mean and variance in closed form") from None
    if isinstance(fn, torch.distributions.Categorical):
        codes = torch.arange(fn.probs.shape[-1], dtype=fn.probs.dtype)
        mean = fn.probs @ codes
        variance = fn.probs @ codes**2 - mean**2
    return mean.expand(units), variance.expand(units)


def _probes(model: Model, names: Sequence[str]) -> dict[str, Tensor]:
    """The origin, one step along each variable, and places further out (whole numbers for discrete variables)."""
    rng = np.random.default_rng(1)
    far = 12
    points = np.zeros((1 + len(names) + far, len(names)))
    points[1 : len(names) + 1] = np.eye(len(names))
    for i, name in enumerate(names):
        site = model.structure.sites[name]
        if site.discrete or not site.dtype.is_floating_point:
            points[-far:, i] = rng.integers(0, site.cardinality or 10, far)
        else:
            points[-far:, i] = rng.uniform(0.1, 4.0, far) * (rng.choice([-1.0, 1.0], far))
    return {name: torch.as_tensor(points[:, i]).to(model.structure.sites[name].dtype) for i, name in enumerate(names)}


def _is_gaussian(model: Model, name: str) -> bool:
    action = model.interventions.get(name)
    if isinstance(action, Constant):
        return True
    if isinstance(action, Stochastic):
        return isinstance(unwrap(action.distribution)[0], torch.distributions.Normal)
    site = model.structure.sites[name]
    return site.kind == "deterministic" or site.family == "Normal"
