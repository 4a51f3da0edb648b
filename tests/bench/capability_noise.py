"""Noise written out, logic, and a series: what evidence on an equation, a fact or some visits says of the rest.

An equation ``x = eᵖ u`` seen at x = 2 has u = 2 e⁻ᵖ, and p the density of both times ``e⁻ᵖ``, the Jacobian. Of Pearl's
firing squad it is known only that the prisoner is dead. In the series nobody sees the state x of a patient, readings y
come at every visit but one, doses d follow the readings, and the plan is no dose from visit 3 on.

>>> f"{PRESSURE:.2f}, {FORGOTTEN:.2f} without the Jacobian; {ALIVE:.3f}"
'0.67, 1.01 without the Jacobian; 0.143'
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as law
import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from chirho.counterfactual.handlers import MultiWorldCounterfactual
from chirho.indexed.ops import IndexSet, gather
from chirho.interventional import handlers as chirho_do
from chirho.observational import handlers as chirho_see
from chirho.observational.handlers.soft_conditioning import AutoSoftConditioning
from dowhy import gcm
from dowhy.gcm.equation_parser import create_causal_model_from_equations
from numpyro import handlers
from pyro import poutine

import pcm
from pcm_models import firing_squad
from tests.bench.capability_by_hand import pull_residual, push_residual, replay
from tests.bench.capability_cells import CELLS, DRAWS, MANY, cell, plated
from tests.bench.capability_numpyro import laplace_jax, replay_jax
from tests.bench.capability_rivals import laplace, split

__all__ = ["ALIVE", "CELLS", "COURSE", "COURSE_AFRESH", "FORGOTTEN", "PRESSURE"]

# -- truths ------------------------------------------------------------------------------------------------------------

_grid = np.linspace(-8, 8, 20_001)
_joint = np.exp(-0.5 * _grid**2 - 0.5 * (2 * np.exp(-_grid)) ** 2)
PRESSURE = np.average(_grid, weights=_joint * np.exp(-_grid))
"""E[p] given x = 2, by quadrature."""
FORGOTTEN = np.average(_grid, weights=_joint)
"""The same without the Jacobian."""

ALIVE = firing_squad.truth["P(not D had A held his fire | D)"][0]
"""Chance that the prisoner lives had A held his fire, given that he is dead."""

VISITS, PLAN, MISSED = 6, 3, 4
KEEP, DRUG, DRIFT, READ, FOLLOW, WHIM = 0.9, -0.5, 0.4, 0.3, 0.6, 0.3


def _patients(count: int) -> dict[str, np.ndarray]:
    """Readings and doses; the reading of the missed visit is empty."""
    rng, seen = np.random.default_rng(5), {}
    x = rng.normal(size=count)
    for t in range(VISITS + 1):
        seen[f"y_{t}"] = x + READ * rng.normal(size=count)
        if t < VISITS:
            seen[f"d_{t}"] = FOLLOW * seen[f"y_{t}"] + WHIM * rng.normal(size=count)
            x = KEEP * x + DRUG * seen[f"d_{t}"] + DRIFT * rng.normal(size=count)
    return {**seen, f"y_{MISSED}": np.full(count, np.nan)}


PATIENTS = _patients(3)
STOPPED = {f"d_{t}": 0.0 for t in range(PLAN, VISITS)}
ASKED = (f"x_{MISSED}", f"x_{VISITS}")
KNOWN = {name: value for name, value in PATIENTS.items() if name != f"y_{MISSED}"}
HIDDEN = tuple(f"x_{t}" for t in range(VISITS + 1))


def _smooth() -> tuple[np.ndarray, np.ndarray]:
    """Kalman filter and Rauch–Tung–Striebel smoother of the state: mean ``[visit, unit]``, variance ``[visit, 1]``."""
    steps = VISITS + 1
    mean, var, ahead = np.zeros((steps, 3)), np.zeros((steps, 1)), np.ones((steps, 1))
    forecast = np.zeros((steps, 3))
    for t in range(steps):
        if t:
            forecast[t] = KEEP * mean[t - 1] + DRUG * PATIENTS[f"d_{t - 1}"]
            ahead[t] = KEEP**2 * var[t - 1] + DRIFT**2
        reading, noise = PATIENTS[f"y_{t}"], READ**2
        if t == MISSED:  # the dose that followed the lost reading tells of it
            reading, noise = PATIENTS[f"d_{t}"] / FOLLOW, READ**2 + (WHIM / FOLLOW) ** 2
        gain = ahead[t] / (ahead[t] + noise)
        mean[t], var[t] = forecast[t] + gain * (reading - forecast[t]), (1 - gain) * ahead[t]
    for t in range(steps - 2, -1, -1):
        back = KEEP * var[t] / ahead[t + 1]
        mean[t] += back * (mean[t + 1] - forecast[t + 1])
        var[t] += back**2 * (var[t + 1] - ahead[t + 1])
    return mean, var


def _course(afresh: bool) -> np.ndarray:
    """Mean and sd of the state at the missed and the last visit under the plan: ``[asked, 2, unit]``."""
    mean, var = _smooth()
    found = []
    for t in (MISSED, VISITS):
        lag = t - PLAN
        if afresh:
            centre = KEEP**lag * mean[PLAN]
            spread = KEEP ** (2 * lag) * var[PLAN] + DRIFT**2 * sum(KEEP ** (2 * k) for k in range(lag))
        else:
            centre = mean[t] - DRUG * sum(KEEP ** (t - 1 - s) * PATIENTS[f"d_{s}"] for s in range(PLAN, t))
            spread = var[t]
        found.append(np.stack([centre, np.full(3, spread[0] ** 0.5)]))
    return np.stack(found)


COURSE, COURSE_AFRESH = _course(False), _course(True)

# -- programs ----------------------------------------------------------------------------------------------------------


def scaled() -> None:
    p = pyro.sample("p", dist.Normal(0.0, 1.0))
    pyro.deterministic("x", torch.exp(p) * pyro.sample("u", dist.Normal(0.0, 1.0)), event_dim=0)


def squad(ppl: Any, law: Any, maximum: Any, **event: int) -> Callable[[], Any]:
    """Pearl's firing squad; ``event_dim=0`` tells Pyro's plates that an equation's values are one a unit."""

    def program() -> None:
        order = ppl.sample("U", law.Bernoulli(firing_squad.ORDER))
        nervous = ppl.sample("W", law.Bernoulli(firing_squad.NERVOUS))
        captain = ppl.deterministic("C", order, **event)
        a = ppl.deterministic("A", maximum(captain, nervous), **event)
        b = ppl.deterministic("B", captain, **event)
        ppl.deterministic("D", maximum(a, b), **event)

    return program


SQUAD = squad(pyro, dist, torch.maximum, event_dim=0)


def course(ppl: Any, law: Any) -> Callable[[], Any]:
    def program() -> None:
        x = ppl.sample("x_0", law.Normal(0.0, 1.0))
        for t in range(VISITS + 1):
            y = ppl.sample(f"y_{t}", law.Normal(x, READ))
            if t < VISITS:
                d = ppl.sample(f"d_{t}", law.Normal(FOLLOW * y, WHIM))
                x = ppl.sample(f"x_{t + 1}", law.Normal(KEEP * x + DRUG * d, DRIFT))

    return program


def summary(found: Any) -> np.ndarray:
    """Mean and sd ``[asked, 2, unit]`` of each asked variable's draws, flat, the units of a draw together."""
    drawn = np.stack([np.asarray(values).reshape(-1, 3) for values in found])
    return np.stack([drawn.mean(1), drawn.std(1)], 1)


# -- pcm ---------------------------------------------------------------------------------------------------------------


@cell("written", "pcm")
def _() -> Any:
    return pcm.SCM(scaled).counterfactual({"x": [2.0]}, do={"p": 0.0}).mean("p", "factual")


@cell("logic", "pcm")
def _() -> Any:
    return 1 - pcm.SCM(SQUAD).counterfactual({"D": [1]}, do={"A": 0}).mean("D")


@cell("series", "pcm")
def _() -> Any:
    cf = pcm.SCM(course(pyro, dist)).counterfactual(PATIENTS, do=STOPPED, seed=0)
    return np.stack([np.stack([cf.mean(name), cf.sd(name)]) for name in ASKED])


# -- ChiRho: its kernels for evidence on equations, weighted draws of the prior ----------------------------------------


def soft(program: Callable[[], Any], actions: dict[str, Any], seen: dict[str, Any], ask: str, scale: float) -> Any:
    """Mean over draws weighted by the kernels: of the intervened world's values, if there is one."""
    condition, kernels = chirho_see.condition(data=seen), AutoSoftConditioning(scale=scale)
    worlds, do = MultiWorldCounterfactual(), chirho_do.do(actions=actions)
    with worlds, do, poutine.trace() as traced, poutine.reparam(config=kernels), condition:
        plated(program, MANY)()
        traced.trace.compute_log_prob()
        nodes = traced.trace.nodes
        logs = sum(node["log_prob"] for name, node in nodes.items() if name.endswith("_approx_log_prob"))
        weight = gather(logs, IndexSet(**{name: {0} for name in actions}), event_dim=0).flatten().softmax(0)
        value = gather(nodes[ask]["value"], IndexSet(**{name: {1} for name in actions}), event_dim=0).flatten()
        return (weight * value).sum()


@cell("written", "ChiRho", note="(kernels, weighted draws)")
def _() -> Any:
    return soft(scaled, {}, {"x": torch.full((MANY,), 2.0)}, "p", 0.1)


@cell("logic", "ChiRho", note="(kernels, weighted draws)")
def _() -> Any:
    return 1 - soft(SQUAD, {"A": torch.tensor(0.0)}, {"D": torch.ones(MANY)}, "D", 0.1)


def split_course(program: Callable[[], Any]) -> Any:
    seen = {name: torch.tensor(value) for name, value in KNOWN.items()}
    whole = repeated(seen, laplace(poutine.condition(plated(program, 3), seen)))
    actions = {name: torch.tensor(value) for name, value in STOPPED.items()}
    return summary([split(program, actions, whole, name, 3 * DRAWS) for name in ASKED])


def repeated(seen: dict[str, Any], guide: Any) -> dict[str, Any]:
    drawn = [guide() for _ in range(DRAWS)]
    unseen = {name: torch.cat([one[name] for one in drawn]).detach() for name in drawn[0]}
    return {**{name: value.repeat(DRAWS) for name, value in seen.items()}, **unseen}


@cell("series", "ChiRho")
def _() -> Any:
    return split_course(course(pyro, dist))


@cell("series", "ChiRho", note="as `TransformedDistribution`s")
def _() -> Any:
    def normal(loc: Any, scale: float) -> Any:
        return dist.TransformedDistribution(dist.Normal(0.0, 1.0), [dist.transforms.AffineTransform(loc, scale)])

    return split_course(course(pyro, SimpleNamespace(Normal=normal)))


# -- DoWhy gcm ---------------------------------------------------------------------------------------------------------


def asked_gcm(text: str, sets: dict[str, float], seen: dict[str, Any]) -> Any:
    model = gcm.InvertibleStructuralCausalModel(create_causal_model_from_equations(text).graph)
    actions = {name: lambda _, value=value: value for name, value in sets.items()}
    return gcm.counterfactual_samples(model, actions, observed_data=pd.DataFrame(seen))


@cell("written", "DoWhy gcm")
def _() -> Any:
    text = "p = norm(loc=0, scale=1)\nu = norm(loc=0, scale=1)\nx = exp(p) * u"
    return asked_gcm(text, {"p": 0.0}, {"x": [2.0]})["p"]


@cell("logic", "DoWhy gcm")
def _() -> Any:
    text = f"""
        U = bernoulli(p={firing_squad.ORDER})
        W = bernoulli(p={firing_squad.NERVOUS})
        C = U
        A = maximum(C, W)
        B = C
        D = maximum(A, B)
    """
    return 1 - asked_gcm(text, {"A": 0.0}, {"D": [1.0]})["D"]


@cell("series", "DoWhy gcm")
def _() -> Any:
    lines = ["x_0 = norm(loc=0, scale=1)"]
    for t in range(VISITS + 1):
        lines.append(f"y_{t} = x_{t} + norm(loc=0, scale={READ})")
        if t < VISITS:
            lines.append(f"d_{t} = {FOLLOW} * y_{t} + norm(loc=0, scale={WHIM})")
            lines.append(f"x_{t + 1} = {KEEP} * x_{t} + {DRUG} * d_{t} + norm(loc=0, scale={DRIFT})")
    found = asked_gcm("\n".join(lines), STOPPED, PATIENTS)
    return np.stack([np.stack([found[name], np.zeros(3)]) for name in ASKED])


# -- by hand: Pyro -----------------------------------------------------------------------------------------------------


def solved() -> None:
    p = pyro.sample("p", dist.Normal(0.0, 1.0))
    equation = dist.transforms.AffineTransform(0.0, p.exp())
    pyro.sample("x", dist.TransformedDistribution(dist.Normal(0.0, 1.0), [equation]), obs=torch.full_like(p, 2.0))


@cell("written", "Pyro", solved, counted=True)
def _() -> Any:
    found = poutine.trace(plated(solved, MANY)).get_trace()
    found.compute_log_prob()
    return (found.nodes["x"]["log_prob"].softmax(0) * found.nodes["p"]["value"]).sum()


@cell("logic", "Pyro", counted=True)
def _() -> Any:
    program = plated(SQUAD, MANY)
    past = poutine.trace(program).get_trace().nodes
    noise = {name: past[name]["value"] for name in "UW"}
    acted = poutine.do(poutine.condition(program, data=noise), data={"A": torch.zeros(MANY)})
    return 1 - poutine.trace(acted).get_trace().nodes["D"]["value"][past["D"]["value"] == 1].mean()


@cell("series", "Pyro", laplace, repeated, replay, pull_residual, push_residual, counted=True)
def _() -> Any:
    program, seen = course(pyro, dist), {name: torch.tensor(value) for name, value in KNOWN.items()}
    whole = repeated(seen, laplace(poutine.condition(plated(program, 3), seen)))
    world = {name: torch.tensor(value) for name, value in STOPPED.items()}
    now = replay(plated(program, 3 * DRAWS), whole, world, pull_residual, push_residual)[1]
    return summary([now[name]["value"] for name in ASKED])


# -- by hand: NumPyro --------------------------------------------------------------------------------------------------


def solved_jax() -> None:
    p = numpyro.sample("p", law.Normal(0.0, 1.0))
    equation = law.transforms.AffineTransform(0.0, jnp.exp(p))
    numpyro.sample("x", law.TransformedDistribution(law.Normal(0.0, 1.0), equation), obs=2.0)


@cell("written", "NumPyro", solved_jax, counted=True)
def _() -> Any:
    with numpyro.plate("units", MANY):
        found = handlers.trace(handlers.seed(solved_jax, 0)).get_trace()
    return (jax.nn.softmax(found["x"]["fn"].log_prob(2.0)) * found["p"]["value"]).sum()


class Forced(numpyro.primitives.Messenger):
    """Equations set to values: ``handlers.do`` takes sampled sites alone."""

    def __init__(self, sets: dict[str, Any]) -> None:
        super().__init__()
        self.sets = sets

    def process_message(self, msg: Any) -> None:
        if msg["name"] in self.sets:
            msg["value"] = self.sets[msg["name"]]


@cell("logic", "NumPyro", Forced, counted=True)
def _() -> Any:
    program = squad(numpyro, law, jnp.maximum)
    with numpyro.plate("units", MANY):
        past = handlers.trace(handlers.seed(program, 0)).get_trace()
        with Forced({"A": jnp.zeros(MANY, int)}):
            noise = {name: past[name]["value"] for name in "UW"}
            now = handlers.trace(handlers.substitute(program, data=noise)).get_trace()
    return 1 - now["D"]["value"][past["D"]["value"] == 1].mean()


@cell("series", "NumPyro", laplace_jax, replay_jax, pull_residual, push_residual, counted=True)
def _() -> Any:
    model, seen = course(numpyro, law), {name: jnp.asarray(value) for name, value in KNOWN.items()}

    def program() -> None:
        with numpyro.plate("units", 3):
            model()

    drawn = laplace_jax(handlers.condition(program, seen))

    def answer(unseen: Any) -> Any:
        now = replay_jax(model, {**seen, **unseen}, STOPPED, pull_residual, push_residual)[1]
        return [now[name]["value"] for name in ASKED]

    return summary(jax.vmap(answer)({name: drawn[name] for name in (*HIDDEN, f"y_{MISSED}")}))
