"""Rows on private noise: what follows from noised answers, what a release's law is, who keeps the budget.

Randomised response at ε = 1 on a confounder: the cells of a table of 4,000 answers are their expectations, so the
effect that they speak for is the true one. Laplace noise on a covariate: of one unit it is known that x was told as 2.
OpenDP has a column here.

>>> f"{EFFECT:.3f} ({NAIVE:.3f} where answers are taken for the truth); {HAD:.2f} ({TOLD:.2f})"
'0.298 (0.348 where answers are taken for the truth); 1.33 (0.60)'
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as law
import opendp.prelude as dp
import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from chirho.interventional import handlers as chirho_do
from dowhy import CausalModel
from numpyro.distributions import constraints
from pyro import poutine
from scipy.special import expit

import pcm
from pcm import private
from tests.bench.capability_by_hand import pull_residual, push_residual, replay
from tests.bench.capability_cells import CELLS, MANY, MODEL, SAME, cell, look_for, plated, same
from tests.bench.capability_noise import asked_gcm
from tests.bench.capability_numpyro import laplace_jax, replay_jax
from tests.bench.capability_rivals import laplace, split

__all__ = ["CELLS", "EFFECT", "HAD", "MASSES", "NAIVE", "TOLD"]

# -- truths ------------------------------------------------------------------------------------------------------------

KEEP = np.e / (1 + np.e)
AT = {"z0": -0.4, "t0": -0.6, "tz": 1.2, "y0": -1.0, "yt": 1.3, "yz": 1.0}


def _joint() -> np.ndarray:
    """P(answer about z, t, y), ``[2, 2, 2]``."""
    found = np.zeros((2, 2, 2))
    for z, told, t, y in itertools.product((0, 1), repeat=4):
        chances = expit(AT["z0"]), expit(AT["t0"] + AT["tz"] * z), expit(AT["y0"] + AT["yt"] * t + AT["yz"] * z)
        weight = np.prod([chance if value else 1 - chance for chance, value in zip(chances, (z, t, y), strict=True)])
        found[told, t, y] += weight * (KEEP if told == z else 1 - KEEP)
    return found


def _effect() -> float:
    rises = [expit(AT["y0"] + AT["yt"] + AT["yz"] * z) - expit(AT["y0"] + AT["yz"] * z) for z in (0, 1)]
    return float(np.average(rises, weights=[1 - expit(AT["z0"]), expit(AT["z0"])]))


def _adjusted(joint: np.ndarray) -> float:
    """The effect, had the answers been the confounder."""
    chance = joint[..., 1] / joint.sum(-1)
    return float(np.average(chance[:, 1] - chance[:, 0], weights=joint.sum((1, 2))))


EFFECT, NAIVE = _effect(), _adjusted(_joint())
_cells = pd.DataFrame(list(itertools.product((0, 1), repeat=3)), columns=["Z", "T", "Y"])
ANSWERS = _cells.loc[np.repeat(np.arange(8), np.rint(4_000 * _joint().ravel()).astype(int))].reset_index(drop=True)
"""Answers about z beside t and y, a row a unit."""

UNIT = {"H": 1.0, "Y": 1.5}
_grid = np.linspace(-8, 8, 20_001)
_weight = -0.5 * _grid**2 - 0.5 * (1 - 0.5 * _grid) ** 2 - 0.5 * (1.1 - 0.7 * _grid) ** 2 - np.abs(2 - _grid)
HAD = 1.5 + 0.9 * (1 - np.average(_grid, weights=np.exp(_weight)))
"""E[Y had X been 1 | X told as 2, H, Y], by quadrature."""
TOLD = 1.5 + 0.9 * (1 - 2.0)
"""The same, had X been what was told."""

_whole = np.arange(-60, 61)
MASSES = np.exp(-(np.arange(-2, 3) ** 2) / (2 * 0.7**2)) / np.exp(-(_whole**2) / (2 * 0.7**2)).sum()
"""Of discrete Gaussian noise of scale .7, at -2 … 2."""

# -- programs ----------------------------------------------------------------------------------------------------------


def survey(ppl: Any, law: Any) -> Callable[..., Any]:
    def program(n: int) -> None:
        at = {name: ppl.sample(name, law.Normal(0.0, 2.0)) for name in AT}
        with ppl.plate("units", n):
            z = ppl.sample("Z", law.Bernoulli(logits=at["z0"]))
            t = ppl.sample("T", law.Bernoulli(logits=at["t0"] + at["tz"] * z))
            ppl.sample("Y", law.Bernoulli(logits=at["y0"] + at["yt"] * t + at["yz"] * z))

    return program


def told(ppl: Any, law: Any) -> Callable[[], Any]:
    """The program of the other rows, and what is told of X."""

    def program() -> None:
        x = ppl.sample("X", law.Normal(0.0, 1.0))
        ppl.sample("told", law.Laplace(x, 1.0))
        h = ppl.sample("H", law.Normal(0.5 * x, 1.0))
        ppl.sample("Y", law.Normal(0.7 * x + 0.4 * h, 1.0))

    return program


# -- pcm ---------------------------------------------------------------------------------------------------------------


@cell("answers", "pcm")
def _() -> Any:
    rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
    data = {**ANSWERS, "Z": private.Release(ANSWERS["Z"], rr)}
    return float(pcm.ate(pcm.SCM(survey(pyro, dist)).fit(data, seed=0, progress=False), "T", "Y", seed=0))


@cell("noised", "pcm")
def _() -> Any:
    data = {"X": private.Release([2.0], private.Laplace(scale=1.0, bounds=(-5, 5))), **UNIT}
    return pcm.SCM(MODEL).counterfactual(data, do={"X": 1.0}, draws=4_000, seed=0).mean("Y")


@cell("masses", "pcm")
def _() -> Any:
    site = private.DiscreteGaussian(scale=0.7, bounds=(0, 1)).site(torch.zeros(5))
    return site.log_prob(torch.arange(-2.0, 3.0)).exp()


@cell("budget", "pcm")
def _() -> Any:
    rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
    with tempfile.TemporaryDirectory() as folder:
        rr.release(ANSWERS["Z"], private.Ledger(f"{folder}/budget.sqlite", epsilon=1.5))
        ledger = private.Ledger(f"{folder}/budget.sqlite", epsilon=1.5)  # as another process has it
        found = {"remembered on disk"} if abs(ledger.spent - 1.0) < 1e-9 else set()
        found |= {"says on what"} if "Z" in str(ledger) else set()
        try:
            rr.release(ANSWERS["T"], ledger)
        except pcm.errors.BudgetError:
            found.add("refuses")
        return found


# -- OpenDP ------------------------------------------------------------------------------------------------------------


@cell("answers", "OpenDP")
def _() -> Any:
    look_for("opendp", "posterior|likelihood|bayes|effect")


@cell("noised", "OpenDP")
def _() -> Any:
    look_for("opendp", "posterior|likelihood|bayes|counterfactual")


@cell("masses", "OpenDP", note="(frequencies)")
def _() -> Any:
    dp.enable_features("contrib")
    measurement = dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float), scale=0.7)
    drawn = np.asarray(measurement([0] * MANY))
    return [(drawn == value).mean() for value in range(-2, 3)]


@cell("budget", "OpenDP")
def _() -> Any:
    dp.enable_features("contrib")
    context = dp.Context.compositor(
        data=ANSWERS["Z"].tolist(), privacy_unit=dp.unit_of(contributions=1), privacy_loss=dp.loss_of(epsilon=1.5),
        domain=dp.vector_domain(dp.atom_domain(T="i32")), split_evenly_over=1,
    )  # fmt: skip
    context.query().clamp((0, 1)).sum().laplace().release()
    try:
        context.query().clamp((0, 1)).sum().laplace().release()
    except (dp.OpenDPException, ValueError):
        return {"refuses"}
    return set()


# -- ChiRho ------------------------------------------------------------------------------------------------------------


@cell("answers", "ChiRho")
def _() -> Any:
    program, data = survey(pyro, dist), {name: torch.tensor(ANSWERS[name].to_numpy(float)) for name in ANSWERS}
    guide = laplace(poutine.condition(lambda: program(len(ANSWERS)), data))
    found = []
    for _ in range(100):
        fitted = poutine.condition(program, {name: guide()[name].detach() for name in AT})
        for treated in (1.0, 0.0):
            with chirho_do.do(actions={"T": torch.tensor(treated)}), poutine.trace() as traced:
                fitted(SAME)
            found.append((2 * treated - 1) * traced.trace.nodes["Y"]["value"].mean())
    return torch.stack(found).sum() / 100


@cell("noised", "ChiRho")
def _() -> Any:
    return split(told(pyro, dist), {"X": torch.tensor(1.0)}, same({"told": 2.0, **UNIT}), "Y", SAME)


# -- DoWhy -------------------------------------------------------------------------------------------------------------


@cell("answers", "DoWhy gcm", note="(`CausalModel`)")
def _() -> Any:
    model = CausalModel(ANSWERS, "T", "Y", graph="digraph { Z -> T; Z -> Y; T -> Y }")
    found = model.estimate_effect(model.identify_effect(), method_name="backdoor.linear_regression")
    return found.value


@cell("noised", "DoWhy gcm")
def _() -> Any:
    text = """
        X = norm(loc=0, scale=1)
        H = 0.5 * X + norm(loc=0, scale=1)
        Y = 0.7 * X + 0.4 * H + norm(loc=0, scale=1)
    """
    return asked_gcm(text, {"X": 1.0}, {"X": [2.0], "H": [1.0], "Y": [1.5]})["Y"]


# -- by hand: Pyro -----------------------------------------------------------------------------------------------------


def summed(n: int) -> None:
    at = {name: pyro.sample(name, dist.Normal(0.0, 2.0)) for name in AT}
    said, t, y = (torch.tensor(ANSWERS[name].to_numpy(float)) for name in "ZTY")
    terms = []
    for z in (0.0, 1.0):
        share = dist.Bernoulli(logits=at["z0"]).log_prob(torch.tensor(z))
        answer = torch.where(said == z, float(np.log(KEEP)), float(np.log(1 - KEEP)))
        treated = dist.Bernoulli(logits=at["t0"] + at["tz"] * z).log_prob(t)
        outcome = dist.Bernoulli(logits=at["y0"] + at["yt"] * t + at["yz"] * z).log_prob(y)
        terms.append(share + answer + treated + outcome)
    pyro.factor("rows", torch.logsumexp(torch.stack(terms), 0).sum())


def standardised(at: Any) -> Any:
    at, share = {name: np.asarray(value) for name, value in at.items()}, expit(np.asarray(at["z0"]))
    rises = [expit(at["y0"] + at["yt"] + at["yz"] * z) - expit(at["y0"] + at["yz"] * z) for z in (0, 1)]
    return ((1 - share) * rises[0] + share * rises[1]).mean()


@cell("answers", "Pyro", summed, standardised, counted=True)
def _() -> Any:
    guide = laplace(lambda: summed(len(ANSWERS)))
    drawn = [{name: value.detach().numpy() for name, value in guide().items()} for _ in range(400)]
    return standardised({name: np.array([each[name] for each in drawn]) for name in AT})


@cell("noised", "Pyro", told, replay, pull_residual, push_residual, counted=True)
def _() -> Any:
    seen = same({"told": 2.0, **UNIT}, MANY)
    past = poutine.trace(poutine.condition(plated(told(pyro, dist), MANY), seen)).get_trace()
    past.compute_log_prob()
    weight = sum(past.nodes[name]["log_prob"] for name in seen).softmax(0)
    whole = {"X": past.nodes["X"]["value"], **same(UNIT, MANY)}
    now = replay(plated(MODEL, MANY), whole, {"X": torch.ones(MANY)}, pull_residual, push_residual)[1]
    return (weight * now["Y"]["value"]).sum()


class DiscreteGaussian(dist.TorchDistribution):
    """Whole numbers in proportion to exp(−k² / 2σ²)."""

    arg_constraints = {"loc": dist.constraints.real}  # noqa: RUF012
    support = dist.constraints.integer

    def __init__(self, loc: Any, scale: float) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape)

    def log_prob(self, value: Any) -> Any:
        reach = torch.arange(-int(40 * self.scale) - 2, int(40 * self.scale) + 3)
        norm = torch.logsumexp(-(reach**2) / (2 * self.scale**2), 0)
        return -((value - self.loc) ** 2) / (2 * self.scale**2) - norm


@cell("masses", "Pyro", DiscreteGaussian, counted=True)
def _() -> Any:
    return DiscreteGaussian(torch.zeros(5), 0.7).log_prob(torch.arange(-2.0, 3.0)).exp()


# -- by hand: NumPyro --------------------------------------------------------------------------------------------------


def summed_jax() -> None:
    at = {name: numpyro.sample(name, law.Normal(0.0, 2.0)) for name in AT}
    said, t, y = (jnp.asarray(ANSWERS[name].to_numpy(float)) for name in "ZTY")
    terms = []
    for z in (0.0, 1.0):
        share = law.Bernoulli(logits=at["z0"]).log_prob(z)
        answer = jnp.where(said == z, np.log(KEEP), np.log(1 - KEEP))
        treated = law.Bernoulli(logits=at["t0"] + at["tz"] * z).log_prob(t)
        outcome = law.Bernoulli(logits=at["y0"] + at["yt"] * t + at["yz"] * z).log_prob(y)
        terms.append(share + answer + treated + outcome)
    numpyro.factor("rows", jax.nn.logsumexp(jnp.stack(terms), 0).sum())


@cell("answers", "NumPyro", summed_jax, standardised, counted=True)
def _() -> Any:
    return standardised(laplace_jax(summed_jax, steps=600))


@cell("noised", "NumPyro", told, replay_jax, pull_residual, push_residual, counted=True)
def _() -> Any:
    program = told(numpyro, law)

    def answer(x: Any) -> Any:
        past, now = replay_jax(program, {"X": x, "told": 2.0, **UNIT}, {"X": 1.0}, pull_residual, push_residual)
        return now["Y"]["value"], sum(past[name]["fn"].log_prob(past[name]["value"]) for name in ("told", *UNIT))

    had, weight = jax.vmap(answer)(jax.random.normal(jax.random.PRNGKey(0), (MANY,)))
    return (jax.nn.softmax(weight) * had).sum()


class DiscreteGaussianJax(law.Distribution):
    """The same."""

    support = constraints.real

    def __init__(self, loc: Any, scale: float) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(batch_shape=jnp.shape(loc))

    def log_prob(self, value: Any) -> Any:
        reach = jnp.arange(-int(40 * self.scale) - 2, int(40 * self.scale) + 3)
        norm = jax.nn.logsumexp(-(reach**2) / (2 * self.scale**2))
        return -((value - self.loc) ** 2) / (2 * self.scale**2) - norm


@cell("masses", "NumPyro", DiscreteGaussianJax, counted=True)
def _() -> Any:
    return jnp.exp(DiscreteGaussianJax(jnp.zeros(5), 0.7).log_prob(jnp.arange(-2.0, 3.0)))


# -- no call for it ----------------------------------------------------------------------------------------------------


def _nothing(row: str, system: str, package: str, pattern: str) -> None:
    @cell(row, system)
    def _() -> Any:
        look_for(package, pattern)


_nothing("masses", "ChiRho", "chirho", "DiscreteGaussian|Mechanism")
_nothing("masses", "DoWhy gcm", "dowhy", "DiscreteGaussian|DiscreteLaplace")
for _system, _package in {"ChiRho": "chirho", "DoWhy gcm": "dowhy", "Pyro": "pyro", "NumPyro": "numpyro"}.items():
    _nothing("budget", _system, _package, "[Ll]edger|privacy|PrivacyBudget")
