"""The noise that data imply of each mechanism, on the scale of the uniform law.

If a mechanism is right, the distribution function of its value given its parents, ``u = F(x | parents)``, is uniform
and independent of everything that came before (Rosenblatt 1952). A continuous coupling's noise is a function of ``u``;
a count's or an ordered outcome's ``u`` is drawn between ``F(x - 1)`` and ``F(x)`` (Dunn & Smyth 1996). An outcome
without order has no ``u``: its residuals are its indicators less their probabilities, whose covariance is known.

References
----------
Rosenblatt (1952), *Annals of Mathematical Statistics* 23. Dunn & Smyth (1996), *Journal of Computational and Graphical
Statistics* 5.

>>> import torch
>>> from torch.distributions import Normal
>>> from pcm.couplings import resolve
>>> coupling, fn = resolve(Normal(1.0, 2.0))
>>> [round(u, 4) for u in as_uniform(coupling, fn, torch.tensor([0.0, 1.959964])).tolist()]
[0.5, 0.975]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.couplings import Coupling, couplings_of, tail, unwrap
from pcm.couplings.finite import log_table
from pcm.couplings.independent import Independent
from pcm.program import Site
from pcm.query.criticism.features import FEW_UNITS, MOST_LEVELS, legendre
from pcm.query.model import Model
from pcm.worlds import Factual, WorldPlan, factual, lane_count, over_lanes, uniforms

__all__ = ["Noise", "as_columns", "as_uniform", "noises", "own_coupling", "unordered"]

_UNORDERED = (
    torch.distributions.Bernoulli,
    torch.distributions.Categorical,
    torch.distributions.OneHotCategorical,
)
_INSIDE = 1e-12
_SPAN = torch.special.expit(torch.linspace(-34.0, 34.0, 8193, dtype=torch.float64))


@dataclass
class Noise:
    """What one mechanism's residuals are.

    Attributes
    ----------
    name, family : str
    uniform : numpy.ndarray, shape (lane, unit, column), or None
        Noise on the uniform scale, under each draw of the parameters.
    residual : numpy.ndarray, shape (lane, unit, score), or None
        Indicators less probabilities, where there is no ``uniform``.
    covariance : numpy.ndarray, shape (unit, score, score), or None
        Of the residuals.
    prediction : numpy.ndarray, shape (unit, column)
        The mechanism's own centre or probabilities, averaged over draws.
    """

    name: str
    family: str
    uniform: np.ndarray | None = None
    residual: np.ndarray | None = None
    covariance: np.ndarray | None = None
    prediction: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    def location(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Scores that see a shift of the value, and their covariance."""
        if self.uniform is None:
            assert self.residual is not None
            return self.residual, self.covariance
        return self.scores(1)[..., 0], None

    def scores(self, degree: int) -> np.ndarray:
        """``psi_1 … psi_degree`` of the noise, ``(lane, unit, column, degree)``."""
        assert self.uniform is not None
        return legendre(self.uniform, degree)


def unordered(fn: Any) -> bool:
    """Whether a bare distribution's outcomes are treated one by one."""
    return isinstance(fn, _UNORDERED)


def own_coupling(site: Site, fn: Any) -> Coupling:
    """The coupling that reads the noise off the value: never ``independent``, of counts the monotone one."""
    coupling = site.coupling
    assert coupling is not None
    if isinstance(coupling, Independent):
        coupling = coupling.inner
    if coupling.discrete and coupling.name != "monotone":
        coupling = couplings_of(type(fn)).get("monotone", coupling)
    return coupling


def as_columns(value: Tensor | np.ndarray, site: Site, lead: int = 0) -> np.ndarray:
    """``(…lead, *inner, unit, *event)`` as ``(…lead, unit, column)``, float64."""
    array = np.asarray(value.detach() if isinstance(value, Tensor) else value, dtype=np.float64)
    array = np.moveaxis(array, lead + len(site.inner), lead)
    return array.reshape(*array.shape[: lead + 1], -1)


def as_uniform(coupling: Coupling, fn: Any, noise: Tensor) -> Tensor:
    """A coupling's noise on the uniform scale, strictly inside (0, 1); same shape.

    The law of the noise is read off ``coupling.fresh``, which is its quantile function: the usual ones are known, any
    other is interpolated.
    """
    noise = noise.to(torch.float64)
    probe = torch.tensor([0.003, 0.2, 0.4, 0.8, 0.997], dtype=torch.float64)
    seen = coupling.fresh(fn, probe)
    if torch.equal(seen, tail.from_uniform(probe)):
        found = tail.to_cdf(noise)
    elif torch.equal(seen, probe):
        found = noise
    elif torch.equal(seen, torch.special.ndtri(probe)):
        found = torch.special.ndtr(noise)
    else:
        grid = coupling.fresh(fn, _SPAN).to(torch.float64).numpy()
        u = _SPAN.numpy() if grid[-1] > grid[0] else _SPAN.numpy()[::-1]
        grid = grid if grid[-1] > grid[0] else grid[::-1]
        kept = np.isfinite(grid)
        found = torch.as_tensor(np.interp(noise.numpy(), grid[kept], u[kept]))
    return found.clamp(_INSIDE, 1.0 - _INSIDE)


def noises(
    model: Model,
    plan: WorldPlan,
    past: Factual,
    parameters: Mapping[str, Tensor],
    names: Sequence[str],
    rows: np.ndarray,
    seed: int,
) -> tuple[dict[str, Noise], bool]:
    """Noise of the named mechanisms under every draw of the parameters, and whether draws were run one by one.

    Parameters
    ----------
    past : Factual
        The checked run under the first draw, with its distributions.
    parameters : dict of name to tensor ``(draw, *event)``
    rows : numpy.ndarray of uint64, shape (unit,)
        Row ids, from which the noise within an ordered outcome is drawn.
    """
    sites, units = model.structure.sites, past.units
    bare = {name: unwrap(past.fns[name])[0] for name in names}
    ways = {name: own_coupling(sites[name], bare[name]) for name in names if not unordered(bare[name])}
    within = {
        name: uniforms(seed, f"residual({name})", rows, range(1), sites[name].inner, sites[name].event)[0]
        for name, way in ways.items()
        if way.discrete
    }
    needed = frozenset(names)

    def one(lane: dict[str, Tensor]) -> dict[str, Tensor]:
        run = factual(model.program, past.values, lane, units, needed, plan)
        out: dict[str, Tensor] = {}
        for name in names:
            fn, value, site = unwrap(run.fns[name])[0], run.values[name], sites[name]
            if name not in ways:
                table = torch.exp(log_table(fn)).to(torch.float64)
                batch = value.shape[: value.dim() - int(site.one_hot)]
                out[f"chances {name}"] = table.expand(*batch, table.shape[-1])
                continue
            noise = ways[name].abduct(fn, value, within.get(name))
            out[f"noise {name}"] = noise.to(torch.float64).expand(value.shape)
            out[f"centre {name}"] = _centre(ways[name], fn).to(torch.float64).expand(value.shape)
        return out

    count = lane_count(parameters)
    if count == 1:
        made = {key: value[None] for key, value in one({name: value[0] for name, value in parameters.items()}).items()}
        looped = False
    else:
        made, looped = over_lanes(one, lambda part: {n: v[part] for n, v in parameters.items()}, count, size=units)
    found = {}
    for name in names:
        site = sites[name]
        if name in ways:
            uniform = as_uniform(ways[name], bare[name], made[f"noise {name}"])
            found[name] = Noise(
                name,
                site.family,
                as_columns(uniform, site, lead=1),
                prediction=as_columns(made[f"centre {name}"].mean(0), site),
            )
        else:
            found[name] = _indicators(name, site, past.values[name], made[f"chances {name}"])
    return found, looped


def _centre(way: Coupling, fn: Any) -> Tensor:
    """What a mechanism predicts: a count's mean, else the value at the noise's median."""
    if way.discrete:
        try:
            return fn.mean.to(torch.float64)
        except (NotImplementedError, AttributeError):
            return -fn.predictor if hasattr(fn, "predictor") else torch.zeros(())
    shape = (*fn.batch_shape, *way.noise_event(fn))
    return way.push(fn, way.fresh(fn, torch.full(shape, 0.5, dtype=torch.float64)))


def _indicators(name: str, site: Site, value: Tensor, chances: Tensor) -> Noise:
    """Residuals of outcomes without order: the frequent ones but the most frequent, each with its own column."""
    code = value.argmax(-1) if site.one_hot else value.long()
    lanes, kinds = len(chances), chances.shape[-1]
    table = chances.movedim(1 + len(site.inner), 1).reshape(lanes, len(code.movedim(len(site.inner), 0)), -1, kinds)
    hot = torch.nn.functional.one_hot(code.movedim(len(site.inner), 0).reshape(table.shape[1], -1), kinds)
    average = table.mean(0)
    expected = average.sum((0, 1))
    order = expected.argsort(descending=True)[1:MOST_LEVELS]
    kept = order[expected[order] >= FEW_UNITS].sort().values if kinds > 2 else torch.tensor([1])
    residual = (hot - table)[..., kept].flatten(2)
    chosen = average[..., kept].numpy()  # (unit, column, kind)
    units, columns, count = chosen.shape
    covariance = np.zeros((units, columns, count, columns, count))
    block = -chosen[..., :, None] * chosen[..., None, :]
    block[..., np.arange(count), np.arange(count)] += chosen
    for column in range(columns):
        covariance[:, column, :, column, :] = block[:, column]
    size = columns * count
    return Noise(
        name,
        site.family,
        residual=residual.numpy(),
        covariance=covariance.reshape(units, size, size),
        prediction=chosen.reshape(units, size),
    )
