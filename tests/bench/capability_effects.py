"""Rows on effects (along paths, of causes, bounded, identified) and on models doubted: every system.

>>> ("natural", "pcm") in CELLS
True
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from typing import Any

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
from jax import random
from numpyro import handlers
from pyro import poutine
from pyro.poutine.messenger import Messenger
from scipy.optimize import linprog

import pcm
from tests.bench.capability_cells import CELLS, MANY, cell, look_for, plated
from tests.bench.capability_rivals import split

__all__ = ["CELLS", "CURVE", "LIPID", "STUDY"]

_rng = np.random.default_rng(3)
_x = _rng.normal(size=500)
CURVE = {"x": _x, "y": np.tanh(2 * _x) + 0.5 * _rng.normal(size=500)}
"""A curve, where a line is fitted."""

_w = _rng.normal(size=500)
_d = 0.5 * _w + _rng.normal(size=500)
STUDY = {"W": _w, "D": _d, "Y": 0.4 * _d + _w + _rng.normal(size=500)}
"""A treatment D, an outcome Y, one observed confounder."""

LIPID = np.array([[[0.4595, 0.0405], [0.0, 0.0]], [[0.1575, 0.0365], [0.0695, 0.2365]]])
"""P(z, x, y) of a trial with imperfect compliance (Balke & Pearl 1997)."""

# -- programs ----------------------------------------------------------------------------------------------------------


def mediation(ppl: Any, law: Any) -> Callable[[], Any]:
    def program() -> None:
        t = ppl.sample("T", law.Bernoulli(0.5))
        m = ppl.sample("M", law.Bernoulli(0.2 + 0.5 * t))
        ppl.sample("Y", law.Bernoulli(0.1 + 0.3 * m + 0.2 * t + 0.3 * m * t))

    return program


def career(ppl: Any, law: Any) -> Callable[[], Any]:
    def program() -> None:
        t = ppl.sample("T", law.Bernoulli(0.5))
        w = ppl.sample("W", law.Bernoulli(0.2 + 0.5 * t))
        m = ppl.sample("M", law.Bernoulli(0.1 + 0.6 * w))
        ppl.sample("Y", law.Bernoulli(0.1 + 0.1 * w + 0.1 * m + 0.6 * w * m))

    return program


def trial(ppl: Any, law: Any) -> Callable[[], Any]:
    def program() -> None:
        t = ppl.sample("T", law.Bernoulli(0.5))
        ppl.sample("Y", law.Bernoulli(0.2 + 0.5 * t))

    return program


def line(n: int) -> None:
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(3.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(weight[0] + weight[1] * x, spread))


def study(n: int) -> None:
    weight = pyro.sample("weight", dist.Normal(torch.zeros(3), 10.0).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(10.0))
    with pyro.plate("units", n):
        w = pyro.sample("W", dist.Normal(0.0, 1.0))
        d = pyro.sample("D", dist.Normal(weight[0] * w, 1.0))
        pyro.sample("Y", dist.Normal(weight[1] * d + weight[2] * w, spread))


FRONT = nx.DiGraph([("U", "X"), ("U", "Y"), ("X", "M"), ("M", "Y")])
BOW = nx.DiGraph([("U", "X"), ("U", "Y"), ("X", "Y")])

# -- pcm ---------------------------------------------------------------------------------------------------------------

PATH = ["T -> W -> Y"]


@cell("natural", "pcm")
def _() -> Any:
    return pcm.nde(pcm.SCM(mediation(pyro, dist)), "T", "Y")


@cell("path", "pcm")
def _() -> Any:
    return pcm.path_effect(pcm.SCM(career(pyro, dist)), "T", "Y", paths=PATH)


@cell("witness", "pcm")
def _() -> Any:
    said = pcm.path_effect(pcm.SCM(career(pyro, dist)), "T", "Y", paths=PATH).account.identification
    return {name for name in "TWMY" if f"recanting witness {name} " in said}


@cell("causation", "pcm")
def _() -> Any:
    return pcm.probability_of_necessity_and_sufficiency(pcm.SCM(trial(pyro, dist)), "T", "Y")


@cell("bounds", "pcm")
def _() -> Any:
    rows = [(*place, chance) for place, chance in np.ndenumerate(LIPID)]
    table = pd.DataFrame(rows, columns=["z", "x", "y", "probability"])
    return list(pcm.bounds(table, "ATE(x, y)", graph="z -> x -> y; x <-> y"))


@cell("identified", "pcm")
def _() -> Any:
    front, bow = (pcm.identify(graph, "X", "Y", latent=["U"]) for graph in (FRONT, BOW))
    found = {"front door through M"} if front.strategy == "front-door" and front.mediators == {"M"} else set()
    return found | ({"proof that the bow is not"} if not bow and bow.witness else set())


@cell("criticised", "pcm")
def _() -> Any:
    fitted = pcm.SCM(line).fit(CURVE, seed=0, progress=False)
    found = pcm.criticise(fitted, CURVE, seed=0)
    return {check.variable for check in found.checks if check.fails}


@cell("sensitive", "pcm")
def _() -> Any:
    fitted = pcm.SCM(study).fit(STUDY, seed=0, progress=False)
    return pcm.sensitivity(fitted, "D", "Y", data=STUDY, seed=0).robustness_value


# -- by hand: Pyro, ChiRho ---------------------------------------------------------------------------------------------


def means_of(program: Callable[[], Any], sets: dict[str, Any], do: Any) -> dict[str, Any]:
    with do(sets), poutine.trace() as traced:
        plated(program, MANY)()
    return {name: node["value"] for name, node in traced.trace.nodes.items() if node["type"] == "sample"}


def natural(do: Any) -> Any:
    program, zero, one = mediation(pyro, dist), torch.zeros(()), torch.ones(())
    control = means_of(program, {"T": zero}, do)
    crossed = means_of(program, {"T": one, "M": control["M"]}, do)
    return (crossed["Y"] - control["Y"]).mean()


@cell("natural", "Pyro", means_of, natural)
def _() -> Any:
    return natural(lambda sets: poutine.do(data=sets))


@cell("natural", "ChiRho", means_of, natural)
def _() -> Any:
    return natural(lambda sets: chirho_do.do(actions=sets))


class Quantiles(Messenger):
    """Every Bernoulli by the quantile of a uniform of its own, the same in every world."""

    def __init__(self, noise: dict[str, Any]) -> None:
        super().__init__()
        self.noise = noise

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] != "units" and not msg["is_observed"]:
            noise = self.noise.setdefault(msg["name"], torch.rand(MANY))
            msg["value"], msg["done"] = (noise > 1 - msg["fn"].probs).double(), True


def twin(program: Callable[[], Any], noise: dict[str, Any], sets: dict[str, Any]) -> dict[str, Any]:
    with Quantiles(noise), poutine.trace() as traced:
        poutine.do(plated(program, MANY), data=sets)()
    nodes = traced.trace.nodes.items()
    return {name: sets.get(name, node["value"]) for name, node in nodes if node["type"] == "sample"}


def along(twin: Callable[..., Any], program: Any, zero: Any, one: Any) -> Any:
    noise: dict[str, Any] = {}
    off, on = twin(program, noise, {"T": zero}), twin(program, noise, {"T": one})
    crossed = twin(program, noise, {"T": zero, "W": on["W"], "M": off["M"]})
    return (crossed["Y"] - off["Y"]).mean()


def both(twin: Callable[..., Any], program: Any, zero: Any, one: Any) -> Any:
    noise: dict[str, Any] = {}
    off, on = twin(program, noise, {"T": zero}), twin(program, noise, {"T": one})
    return (on["Y"] * (1 - off["Y"])).mean()


@cell("path", "Pyro", Quantiles, twin, along)
def _() -> Any:
    return along(twin, career(pyro, dist), torch.zeros(()), torch.ones(()))


@cell("causation", "Pyro", Quantiles, twin, both)
def _() -> Any:
    return both(twin, trial(pyro, dist), torch.zeros(()), torch.ones(()))


@cell("path", "ChiRho", means_of, counted=True)
def _() -> Any:
    program, zero, one = career(pyro, dist), torch.zeros(()), torch.ones(())
    off, on = (means_of(program, {"T": value}, lambda sets: chirho_do.do(actions=sets)) for value in (zero, one))
    sets = {"T": zero, "W": on["W"], "M": off["M"]}
    crossed = means_of(program, sets, lambda sets: chirho_do.do(actions=sets))
    return (crossed["Y"] - off["Y"]).mean()


@cell("causation", "ChiRho")
def _() -> Any:
    on = split(trial(pyro, dist), {"T": torch.tensor(1.0)}, {"T": torch.zeros(MANY)}, "Y", MANY)
    off = split(trial(pyro, dist), {"T": torch.tensor(0.0)}, {"T": torch.zeros(MANY)}, "Y", MANY)
    return (on * (1 - off)).mean()


# -- by hand: NumPyro --------------------------------------------------------------------------------------------------


def jax_means_of(program: Callable[[], Any], sets: dict[str, Any], seed: int) -> dict[str, Any]:
    def run() -> None:
        with numpyro.plate("units", MANY):
            program()

    done = handlers.trace(handlers.do(handlers.seed(run, seed), data=sets)).get_trace()
    return {name: site["value"] for name, site in done.items()}


@cell("natural", "NumPyro", jax_means_of, counted=True)
def _() -> Any:
    program = mediation(numpyro, law)
    control = jax_means_of(program, {"T": 0.0}, 0)
    crossed = jax_means_of(program, {"T": 1.0, "M": control["M"]}, 1)
    return (crossed["Y"] - control["Y"]).mean()


def jax_twin(program: Callable[[], Any], noise: dict[str, Any], sets: dict[str, Any]) -> dict[str, Any]:
    def quantile(site: dict[str, Any]) -> Any:
        if site["type"] != "sample" or site["name"] in sets:
            return sets.get(site["name"])
        key = random.PRNGKey(len(noise))
        return noise.setdefault(site["name"], random.uniform(key, (MANY,))) > 1 - site["fn"].probs

    done = handlers.trace(handlers.substitute(program, substitute_fn=quantile)).get_trace()
    return {name: 1.0 * site["value"] for name, site in done.items()}


@cell("path", "NumPyro", jax_twin, along)
def _() -> Any:
    return along(jax_twin, career(numpyro, law), 0.0, 1.0)


@cell("causation", "NumPyro", jax_twin, both)
def _() -> Any:
    return both(jax_twin, trial(numpyro, law), 0.0, 1.0)


# -- DoWhy -------------------------------------------------------------------------------------------------------------


def fitted(program: Callable[[], Any], edges: list[tuple[str, str]]) -> tuple[Any, pd.DataFrame]:
    """Its own classifiers, learnt from units of the program."""
    with poutine.trace() as traced:
        plated(program, MANY)()
    names = dict.fromkeys(name for edge in edges for name in edge)
    data = pd.DataFrame({name: traced.trace.nodes[name]["value"].int().numpy().astype(str) for name in names})
    model = gcm.InvertibleStructuralCausalModel(nx.DiGraph(edges))
    for name in names:
        root = not list(model.graph.predecessors(name))
        model.set_causal_mechanism(name, gcm.EmpiricalDistribution() if root else gcm.ClassifierFCM())
    gcm.config.disable_progress_bars()
    gcm.fit(model, data)
    return model, data


MEDIATED = [("T", "M"), ("T", "Y"), ("M", "Y")]


@cell("natural", "DoWhy gcm", counted=True)
def _() -> Any:
    model, _ = fitted(mediation(pyro, dist), MEDIATED)
    control = gcm.interventional_samples(model, {"T": lambda t: "0"}, num_samples_to_draw=MANY)
    chosen = iter(control["M"])
    crossed = gcm.interventional_samples(
        model, {"T": lambda t: "1", "M": lambda m: next(chosen)}, num_samples_to_draw=MANY
    )
    return (crossed["Y"] == "1").mean() - (control["Y"] == "1").mean()


@cell("path", "DoWhy gcm")
def _() -> Any:
    model, data = fitted(career(pyro, dist), [("T", "W"), ("W", "M"), ("W", "Y"), ("M", "Y")])
    return gcm.counterfactual_samples(model, {"T": lambda t: "1"}, observed_data=data)


@cell("causation", "DoWhy gcm")
def _() -> Any:
    model, data = fitted(trial(pyro, dist), [("T", "Y")])
    return gcm.counterfactual_samples(model, {"T": lambda t: "0"}, observed_data=data)


@cell("identified", "DoWhy gcm", note="(`CausalModel`)")
def _() -> Any:
    data, found = pd.DataFrame({name: [0.0, 1.0] for name in "XMY"}), set()
    for graph, fact in ((FRONT, "front door through M"), (BOW, "proof that the bow is not")):
        model = CausalModel(data, "X", "Y", graph=graph)
        estimand = model.identify_effect(proceed_when_unidentifiable=True)
        if fact.startswith("front") and estimand.get_frontdoor_variables() == ["M"]:
            found.add(fact)
        if not fact.startswith("front") and "hedge" in str(estimand).lower():
            found.add(fact)
    return found


@cell("criticised", "DoWhy gcm")
def _() -> Any:
    model = gcm.InvertibleStructuralCausalModel(nx.DiGraph([("x", "y")]))
    model.set_causal_mechanism("x", gcm.EmpiricalDistribution())
    model.set_causal_mechanism("y", gcm.AdditiveNoiseModel(gcm.ml.create_linear_regressor()))
    data = pd.DataFrame(CURVE)
    gcm.fit(model, data)
    found = gcm.evaluate_causal_model(model, data, evaluate_causal_structure=False)
    return {name for name, (p, *_) in (found.pnl_assumptions or {}).items() if p < 0.05}


@cell("sensitive", "DoWhy gcm", note="(`CausalModel`)")
def _() -> Any:
    model = CausalModel(pd.DataFrame(STUDY), "D", "Y", graph=nx.DiGraph([("W", "D"), ("W", "Y"), ("D", "Y")]))
    estimand = model.identify_effect()
    estimate = model.estimate_effect(estimand, method_name="backdoor.linear_regression")
    options = {
        "simulation_method": "linear-partial-R2",
        "benchmark_common_causes": ["W"],
        "effect_fraction_on_treatment": [1, 2, 3],
        "plot_estimate": False,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        found = model.refute_estimate(estimand, estimate, "add_unobserved_common_cause", **options)
    return found.stats["robustness_value"]


# -- nothing to call, and by hand in any library -----------------------------------------------------------------------


def balke_pearl() -> Any:
    given_z = LIPID / LIPID.sum((1, 2), keepdims=True)
    types = [(x, y) for x in np.ndindex(2, 2) for y in np.ndindex(2, 2)]  # x of each z, y of each x
    cells = list(np.ndindex(2, 2, 2))
    rows = [[float(kind[z] == x and answer[x] == y) for kind, answer in types] for z, x, y in cells]
    effect = np.array([answer[1] - answer[0] for _, answer in types])
    law = [given_z[place] for place in cells]
    return [sign * linprog(sign * effect, A_eq=rows, b_eq=law).fun for sign in (1, -1)]


def robustness() -> Any:
    w = np.stack([np.ones(500), STUDY["W"]], 1)
    d, y = (STUDY[name] - w @ np.linalg.lstsq(w, STUDY[name], rcond=None)[0] for name in "DY")
    slope = d @ y / (d @ d)
    f2 = slope**2 * (d @ d) / ((y - slope * d) ** 2).sum()
    return ((f2**2 + 4 * f2) ** 0.5 - f2) / 2


for _system in ("Pyro", "NumPyro"):
    cell("bounds", _system, counted=True)(balke_pearl)
    cell("sensitive", _system, counted=True)(robustness)

SOUGHT = {
    "witness": r"(?i)recant",
    "bounds": r"(?i)balke|partial_ident",
    "identified": r"(?i)identify_effect|front_?door|back_?door",
    "criticised": r"(?i)critic|falsif|posterior_predictive_check",
    "sensitive": r"(?i)sensitivity|robustness",
}


def _sought(package: str, pattern: str) -> Callable[[], Any]:
    def run() -> Any:
        importlib.import_module(package)
        return look_for(package, pattern)

    return run


for _system, _package in (("ChiRho", "chirho"), ("DoWhy gcm", "dowhy"), ("Pyro", "pyro"), ("NumPyro", "numpyro")):
    for _row, _pattern in SOUGHT.items():
        if (_row, _system) not in CELLS:
            cell(_row, _system)(_sought(_package, _pattern))
