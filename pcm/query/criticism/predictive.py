"""Posterior predictive checks: statistics of the data beside those of data sets that the model makes.

Each replicate is a data set of as many units under one draw of the parameters: *given parents*, every variable drawn
from its mechanism at its observed parents; *marginal*, every variable from the model run forward. The Bayesian p-value
is twice the smaller share of replicates on either side of the observed statistic (ties count half); being no smaller
than one over the number of replicates, it is complemented, for the verdict over many checks, by the tail of the
t law with the replicates' mean and spread (of a share, also of the negative binomial law with its count).

References
----------
Gelman, Meng & Stern (1996), *Statistica Sinica* 6.

>>> import numpy as np
>>> bayesian_p(np.arange(99.0), 98.5), bayesian_p(np.arange(99.0), 49.0)
(0.0, 1.0)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats
from torch import Tensor

from pcm.couplings import unwrap
from pcm.program import Site
from pcm.query.criticism.mechanisms import Check
from pcm.query.criticism.residuals import as_columns, own_coupling, unordered
from pcm.query.model import Model
from pcm.worlds import WorldPlan, factual, forward, lane_count, over_lanes, world_noise

__all__ = ["bayesian_p", "compare", "kind_of", "replicates"]

_MOST_CATEGORIES = 12
_MOST_COLUMNS = 6


def replicates(
    model: Model,
    plan: WorldPlan,
    values: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    names: Sequence[str],
    rows: np.ndarray,
    seed: int,
    draws: int,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Data sets given the observed parents, and run forward; each ``(draw, *inner, unit, *event)`` by name."""
    sites, units = model.structure.sites, len(rows)
    lanes = lane_count(parameters)
    count = lanes if lanes > 1 else draws
    needed = frozenset(names)
    covariates = {name: values[name] for name in model.structure.covariates}

    def inputs(part: slice) -> dict[str, dict[str, Tensor]]:
        size = part.stop - part.start
        drawn = {
            n: value[part] if lanes > 1 else value.expand(size, *value.shape[1:]) for n, value in parameters.items()
        }
        return {"parameters": drawn, "uniform": world_noise(plan, seed, rows, range(part.start, part.stop))}

    def one(lane: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        run = factual(model.program, values, lane["parameters"], units, needed, plan)
        for name in names:
            site, fn = sites[name], unwrap(run.fns[name])[0]
            coupling = site.coupling
            assert coupling is not None
            made = coupling.push(fn, coupling.fresh(fn, lane["uniform"][name]))
            out[f"given {name}"] = made.to(site.dtype).expand(site.shape(units))
        made = forward(model.program, plan, lane["parameters"], lane["uniform"], units, covariates)
        out.update({f"forward {name}": made.values[name] for name in names})
        return out

    out, _ = over_lanes(one, inputs, count, size=units)
    return {name: out[f"given {name}"] for name in names}, {name: out[f"forward {name}"] for name in names}


def bayesian_p(replicated: np.ndarray, observed: float) -> float:
    """Two-sided tail share of the observed statistic among replicates."""
    below = float(np.mean(replicated < observed) + 0.5 * np.mean(replicated == observed))
    return min(1.0, 2.0 * min(below, 1.0 - below))


def compare(
    site: Site, observed: Tensor, replicated: Tensor, kind: str, labels: Sequence[Any] | None, discrete: str
) -> list[Check]:
    """Every statistic of one variable, in the data and in replicates.

    Parameters
    ----------
    observed : Tensor, shape ``(*inner, unit, *event)``
    replicated : Tensor, shape ``(draw, *inner, unit, *event)``
    kind : str
        ``"given parents"`` or ``"marginal"``.
    labels : sequence, optional
        Names of the codes.
    discrete : {"", "counts", "codes"}
        What its values are.
    """
    if site.one_hot:
        observed, replicated = observed.argmax(-1), replicated.argmax(-1)
        site = Site(site.name, site.kind, inner=site.inner, cardinality=site.cardinality)
    seen, made = as_columns(observed, site), as_columns(replicated, site, lead=1)
    columns = min(seen.shape[1], _MOST_COLUMNS)
    checks = []
    for column in range(columns):
        name = site.name if seen.shape[1] == 1 else f"{site.name}[{column}]"
        for statistic, (of, share) in _statistics(discrete, site.cardinality, labels).items():
            with np.errstate(all="ignore"):
                value, many = float(of(seen[None, :, column])[0]), of(made[..., column])
            checks.append(_compared(site.name, name, kind, statistic, value, many, share * len(seen)))
    return checks


def _statistics(
    discrete: str, cardinality: int | None, labels: Sequence[Any] | None
) -> dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]]:
    """Statistics along the last axis, and whether each is a share of units."""
    if discrete == "codes":
        count = cardinality or 2
        codes = [1] if count == 2 else list(range(min(count, _MOST_CATEGORIES)))
        names = labels if labels is not None else range(count)
        return {f"share of {names[code]}": (lambda x, code=code: (x == code).mean(-1), 1) for code in codes}
    plain: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
        "mean": (lambda x: x.mean(-1), 0),
        "sd": (lambda x: x.std(-1), 0),
    }
    if discrete == "counts":
        return {**plain, "share of zeros": (lambda x: (x == 0).mean(-1), 1)}
    return {
        **plain,
        "skewness": (_skewness, 0),
        "5 % quantile": (lambda x: _quantile(x, 0.05), 0),
        "median": (lambda x: _quantile(x, 0.5), 0),
        "95 % quantile": (lambda x: _quantile(x, 0.95), 0),
    }


def _skewness(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    square = centred * centred
    return (square * centred).mean(-1) / square.mean(-1) ** 1.5


def _quantile(x: np.ndarray, level: float) -> np.ndarray:
    place = level * (x.shape[-1] - 1)
    low = int(place)
    part = np.partition(x, [low, min(low + 1, x.shape[-1] - 1)], axis=-1)
    return part[..., low] + (place - low) * (part[..., min(low + 1, x.shape[-1] - 1)] - part[..., low])


def _compared(variable: str, name: str, kind: str, statistic: str, value: float, many: np.ndarray, units: int) -> Check:
    many = many[np.isfinite(many)]
    if len(many) < 10 or not np.isfinite(value):
        return Check(kind, variable, statistic, observed=value)
    mean, sd = float(many.mean()), float(many.std(ddof=1))
    low, high = np.quantile(many, [0.025, 0.975])
    share = bayesian_p(many, value)
    distance = (value - mean) / sd if sd > 0 else np.inf * np.sign(value - mean) if value != mean else 0.0
    tail = float(2 * stats.t.sf(abs(distance) / (1 + 1 / len(many)) ** 0.5, len(many) - 1))
    if units:
        count, counts = value * units, many * units
        tail = max(tail, _count_tail(count, counts), _count_tail(units - count, units - counts))
    # inside the replicates their own share speaks, beyond them the smooth tail
    p = max(share, tail) if share > 0 else tail
    side = "more" if value > mean else "less"
    words = (
        f"{name}: its {statistic} {'given its parents ' if kind == 'given parents' else ''}is {value:.3g}, "
        f"{side} than the {low:.3g} to {high:.3g} that the model makes"
    )
    about = statistic if name == variable else f"{statistic} of {name}"
    return Check(
        kind,
        variable,
        about,
        float(distance),
        0,
        p,
        words=words,
        observed=value,
        predicted=mean,
        low=float(low),
        high=float(high),
    )


def _count_tail(count: float, replicated: np.ndarray) -> float:
    """Two-sided tail of a count under the negative binomial law that predicts it from replicated counts."""
    size, chance = replicated.sum() + 0.5, len(replicated) / (len(replicated) + 1.0)
    count = round(count)
    upper, lower = stats.nbinom.sf(count - 1, size, chance), stats.nbinom.cdf(count, size, chance)
    return float(min(1.0, 2 * min(upper, lower)))


def kind_of(site: Site, fn: Any) -> str:
    """What a variable's values are: ``""``, ``"counts"`` or ``"codes"``."""
    bare = unwrap(fn)[0]
    if unordered(bare) or (site.cardinality is not None and site.cardinality <= _MOST_CATEGORIES):
        return "codes"
    return "counts" if own_coupling(site, bare).discrete or not site.dtype.is_floating_point else ""
