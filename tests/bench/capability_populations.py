"""Rows on averages and on what the data lack: mediation, empty cells, a count never recorded, nobody to compare with.

>>> round(SLOPE, 2) != round(DROPPED, 2)
True
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import networkx as nx
import numpy as np
import numpyro
import numpyro.distributions as law
import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from chirho.interventional import handlers as chirho_do
from dowhy import CausalModel, gcm
from dowhy.gcm.equation_parser import create_causal_model_from_equations
from jax import random
from numpyro import handlers
from pyro import poutine
from scipy import stats

import pcm
from tests.bench.capability_cells import CELLS, MANY, SAME, cell, plated
from tests.bench.capability_effects import MEDIATED, fitted, jax_means_of, means_of, mediation
from tests.bench.capability_rivals import laplace, split

__all__ = ["ALONE", "CELLS", "DROPPED", "FILLED", "RAISED", "RAISED_AFRESH", "SLOPE"]

# -- natural indirect and controlled direct effect: [E Y(0, M(1)) - E Y(0, M(0)), E Y(1, m) - E Y(0, m) at m = 1] ------


@cell("mediated", "pcm")
def _() -> Any:
    scm = pcm.SCM(mediation(pyro, dist))
    return [float(pcm.nie(scm, "T", "Y")), float(pcm.cde(scm, "T", "Y", mediators={"M": 1}))]


def mediated(ask: Callable[[dict[str, Any]], dict[str, Any]], zero: Any, one: Any) -> Any:
    control, treated = ask({"T": zero}), ask({"T": one})
    crossed = ask({"T": zero, "M": treated["M"]})
    held = [ask({"T": value, "M": one}) for value in (zero, one)]
    return [(crossed["Y"] - control["Y"]).mean(), (held[1]["Y"] - held[0]["Y"]).mean()]


@cell("mediated", "Pyro", means_of, mediated)
def _() -> Any:
    program = mediation(pyro, dist)
    return mediated(lambda sets: means_of(program, sets, lambda s: poutine.do(data=s)), torch.zeros(()), torch.ones(()))


@cell("mediated", "ChiRho", means_of, mediated)
def _() -> Any:
    program = mediation(pyro, dist)
    ask = lambda sets: means_of(program, sets, lambda s: chirho_do.do(actions=s))  # noqa: E731
    return mediated(ask, torch.zeros(()), torch.ones(()))


@cell("mediated", "NumPyro", jax_means_of, mediated)
def _() -> Any:
    program, seeds = mediation(numpyro, law), iter(range(9))
    return mediated(lambda sets: jax_means_of(program, sets, next(seeds)), 0.0, 1.0)


def sampled(model: Any, sets: dict[str, Any]) -> Any:
    values = {name: iter(np.broadcast_to(value, MANY).astype(int).astype(str)) for name, value in sets.items()}
    actions = {name: lambda _, turn=turn: next(turn) for name, turn in values.items()}
    return gcm.interventional_samples(model, actions, num_samples_to_draw=MANY).astype(float)


@cell("mediated", "DoWhy gcm", sampled, mediated)
def _() -> Any:
    model, _ = fitted(mediation(pyro, dist), MEDIATED)
    return mediated(lambda sets: sampled(model, sets), 0, 1)


# -- empty cells under a fit: y = slope x + u, some x never recorded ---------------------------------------------------

_rng = np.random.default_rng(1)
_x = 1 + _rng.normal(size=16)
GAPS = {"x": np.where(np.arange(16) % 4 == 0, _x, np.nan), "y": 0.9 * _x + 0.5 * _rng.normal(size=16)}
"""Four of sixteen x are known."""


def _posterior_mean(x: np.ndarray, y: np.ndarray) -> float:
    """Mean of the slope, ``N(0, 1)`` before; a unit without x has ``y ~ N(slope, slope² + 1/4)``."""
    slope = np.linspace(-4, 4, 8_001)[:, None]
    gap = np.isnan(x)
    centre, spread = np.where(gap, slope, slope * x), np.where(gap, np.hypot(slope, 0.5), 0.5)
    logs = stats.norm.logpdf(slope[:, 0]) + stats.norm.logpdf(y, centre, spread).sum(1)
    return float(np.average(slope[:, 0], weights=np.exp(logs - logs.max())))


_known = ~np.isnan(GAPS["x"])
SLOPE = _posterior_mean(GAPS["x"], GAPS["y"])
DROPPED = _posterior_mean(GAPS["x"][_known], GAPS["y"][_known])
FILLED = _posterior_mean(np.where(_known, GAPS["x"], np.nanmean(GAPS["x"])), GAPS["y"])


def gaps(ppl: Any, law: Any) -> Callable[[int], Any]:
    def program(n: int) -> None:
        slope = ppl.sample("slope", law.Normal(0.0, 1.0))
        with ppl.plate("units", n):
            x = ppl.sample("x", law.Normal(1.0, 1.0))
            ppl.sample("y", law.Normal(slope * x, 0.5))

    return program


@cell("gaps", "pcm")
def _() -> Any:
    fit = pcm.SCM(gaps(pyro, dist)).fit(GAPS, draws=4_000, seed=0, progress=False)
    return fit.posterior["slope"].mean()


@cell("gaps", "ChiRho")
def _() -> Any:
    seen = {name: torch.tensor(value) for name, value in GAPS.items()}
    program = gaps(pyro, dist)
    return laplace(poutine.condition(lambda: program(16), seen))()["slope"]


@cell("gaps", "DoWhy gcm")
def _() -> Any:
    model = gcm.InvertibleStructuralCausalModel(nx.DiGraph([("x", "y")]))
    model.set_causal_mechanism("x", gcm.EmpiricalDistribution())
    linear = gcm.ml.create_linear_regressor(fit_intercept=False)
    model.set_causal_mechanism("y", gcm.AdditiveNoiseModel(linear))
    gcm.fit(model, pd.DataFrame(GAPS))
    return linear.sklearn_model.coef_


def marginal(slope: Any, normal: Any, where: Any) -> Any:
    x, y, gap = np.nan_to_num(GAPS["x"]), GAPS["y"], np.isnan(GAPS["x"])
    slope = slope[:, None]
    x, y, gap = (0 * slope + each for each in (x, y, 1.0 * gap))
    logs = normal(where(gap > 0, slope, slope * x), where(gap > 0, (slope**2 + 0.25) ** 0.5, 0.5)).log_prob(y).sum(-1)
    weight = np.exp(np.asarray(logs - logs.max()))
    return np.average(np.asarray(slope)[:, 0], weights=weight)


@cell("gaps", "Pyro", marginal, counted=True)
def _() -> Any:
    return marginal(dist.Normal(0.0, 1.0).sample((100_000,)), dist.Normal, torch.where)


@cell("gaps", "NumPyro", marginal, counted=True)
def _() -> Any:
    return marginal(law.Normal(0.0, 1.0).sample(random.PRNGKey(0), (100_000,)), law.Normal, jnp.where)


# -- a count never recorded: what had been spent at a price of 3, visits unknown --------------------------------------

SPENT = {"price": [2.0, 2.0, 2.0], "spend": [2.0, 12.0, 40.0]}
_visits = np.arange(200)[:, None]
_spent = np.array(SPENT["spend"])
_mass = stats.poisson.pmf(_visits, 3.0) * stats.norm.pdf(_spent, 2.0 * _visits, 1.5)
_EXPECTED = (_visits * _mass).sum(0) / _mass.sum(0)
RAISED = _spent + _EXPECTED
RAISED_AFRESH = 3.0 * _EXPECTED
"""What it would be with the noise of spending drawn afresh."""


def shop(ppl: Any, law: Any) -> Callable[[], Any]:
    def program() -> None:
        visits = ppl.sample("visits", law.Poisson(3.0))
        price = ppl.sample("price", law.Normal(2.0, 0.5))
        ppl.sample("spend", law.Normal(price * visits, 1.5))

    return program


@cell("count", "pcm")
def _() -> Any:
    return pcm.SCM(shop(pyro, dist)).counterfactual(SPENT, do={"price": 3.0}, seed=0).mean("spend")


def over_counts(trace: Any, array: Any) -> Any:
    count = array(np.broadcast_to(_visits.astype(np.float32), (200, 3)))
    past = trace({"visits": count, **{name: array(value) for name, value in SPENT.items()}})
    logs = sum(past[name]["fn"].log_prob(past[name]["value"]) for name in ("visits", "spend"))
    weight = np.exp(np.asarray(logs, dtype=float))
    return count, past, weight / weight.sum(0)


def kept(trace: Any, array: Any) -> Any:
    count, past, weight = over_counts(trace, array)
    now = trace({"visits": count, "price": array(3.0), "spend": past["spend"]["value"]})["spend"]["fn"]
    noise = (past["spend"]["value"] - past["spend"]["fn"].loc) / past["spend"]["fn"].scale
    return (weight * np.asarray(now.loc + now.scale * noise)).sum(0)


@cell("count", "Pyro", over_counts, kept)
def _() -> Any:
    program = shop(pyro, dist)
    return kept(lambda data: poutine.trace(poutine.condition(program, data=data)).get_trace().nodes, torch.tensor)


@cell("count", "NumPyro", over_counts, kept)
def _() -> Any:
    program = shop(numpyro, law)
    return kept(lambda data: handlers.trace(handlers.substitute(program, data=data)).get_trace(), jnp.asarray)


@cell("count", "ChiRho", over_counts)
def _() -> Any:
    program = shop(pyro, dist)
    trace = lambda data: poutine.trace(poutine.condition(program, data=data)).get_trace().nodes  # noqa: E731
    weight = over_counts(trace, torch.tensor)[2]
    drawn = dist.Categorical(torch.tensor(weight.T)).sample((SAME,)).flatten().to(torch.get_default_dtype())
    seen = {"visits": drawn, **{name: torch.tensor(value).repeat(SAME) for name, value in SPENT.items()}}
    return split(program, {"price": torch.tensor(3.0)}, seen, "spend", len(drawn)).reshape(SAME, 3).mean(0)


@cell("count", "DoWhy gcm")
def _() -> Any:
    text = """
        visits = poisson(mu=3)
        price = norm(loc=2, scale=0.5)
        spend = price * visits + norm(loc=0, scale=1.5)
    """
    model = gcm.InvertibleStructuralCausalModel(create_causal_model_from_equations(text).graph)
    return gcm.counterfactual_samples(model, {"price": lambda _: 3.0}, observed_data=pd.DataFrame(SPENT))["spend"]


# -- overlap: whom the program hardly ever treats, or hardly ever leaves untreated -------------------------------------

CASES = {"X": [-2.5, 0.0, 0.5, 2.5], "T": [0.0, 1.0, 0.0, 1.0], "Y": [0.0, 1.0, 0.0, 1.0]}
ALONE = {"unit 0", "unit 3"}
"""P(T = 1 | X) = 1 / (1 + e^-3X) is .0006, .5, .82, .9994; the limit is .05."""


def rationed(ppl: Any, law: Any) -> Callable[[], Any]:
    def program() -> None:
        x = ppl.sample("X", law.Normal(0.0, 1.0))
        t = ppl.sample("T", law.Bernoulli(logits=3 * x))
        ppl.sample("Y", law.Normal(t + x, 1.0))

    return program


def outside(chance: Any) -> set[str]:
    p = np.asarray(chance)
    return {f"unit {unit}" for unit in np.flatnonzero(np.minimum(p, 1 - p) < 0.05)}


@cell("overlap", "pcm")
def _() -> Any:
    return {f"unit {unit}" for unit in pcm.overlap(pcm.SCM(rationed(pyro, dist)), "T", CASES).flagged}


def propensity(program: Any, x: Any) -> Any:
    return poutine.trace(poutine.condition(program, data={"X": x})).get_trace().nodes["T"]["fn"].probs


@cell("overlap", "ChiRho", propensity, outside)
@cell("overlap", "Pyro", propensity, outside)
def _() -> Any:
    return outside(propensity(rationed(pyro, dist), torch.tensor(CASES["X"])))


def propensity_jax(program: Any, x: Any) -> Any:
    seeded = handlers.seed(handlers.substitute(program, data={"X": x}), 0)
    return handlers.trace(seeded).get_trace()["T"]["fn"].probs


@cell("overlap", "NumPyro", propensity_jax, outside)
def _() -> Any:
    return outside(propensity_jax(rationed(numpyro, law), jnp.asarray(CASES["X"])))


@cell("overlap", "DoWhy gcm", note="(`CausalModel`)")
def _() -> Any:
    nodes: Any = poutine.trace(plated(rationed(pyro, dist), 2_000)).get_trace().nodes
    data = pd.DataFrame({name: nodes[name]["value"].numpy() for name in "XTY"})
    model = CausalModel(data, "T", "Y", graph=nx.DiGraph([("X", "T"), ("X", "Y"), ("T", "Y")]))
    estimand = model.identify_effect()
    estimate = model.estimate_effect(estimand, method_name="backdoor.linear_regression")
    rules = model.refute_estimate(estimand, estimate, method_name="assess_overlap", overlap_only=True, overlap_eps=0.05)
    inside = np.asarray(rules.predict_overlap_support(pd.DataFrame(CASES))).ravel()
    return {f"unit {unit}" for unit in np.flatnonzero(inside < 0.5)}
