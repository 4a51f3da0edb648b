"""ChiRho and DoWhy gcm asked what pcm is asked, as their own documentation does it.

>>> len([row for row, system in CELLS if system == "ChiRho"]) == len([row for row, system in CELLS if system == "pcm"])
True
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from chirho.counterfactual.handlers import MultiWorldCounterfactual
from chirho.indexed.ops import IndexSet, gather
from chirho.interventional import handlers as chirho_do
from chirho.observational import handlers as chirho_see
from dowhy import gcm
from dowhy.gcm.causal_mechanisms import InvertibleFunctionalCausalModel
from dowhy.gcm.equation_parser import create_causal_model_from_equations
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoLaplaceApproximation
from scipy import stats

from tests.bench.capability_cells import (
    CELLS,
    DRAWS,
    HERE,
    HOLES,
    JOE,
    LOT,
    MANY,
    MODEL,
    PATIENT,
    SAME,
    SPARSE,
    TRIAL,
    cell,
    clinic,
    confounded,
    facts,
    frame,
    look_for,
    mixing,
    planned,
    plated,
    referral,
    response,
    same,
    skewed,
    slope,
    trial,
)

__all__ = ["CELLS", "laplace", "shares"]

# -- ChiRho ------------------------------------------------------------------------------------------------------------


def split(program: Callable[[], Any], actions: dict[Any, Any], seen: dict[str, Any], ask: str, n: int) -> Any:
    """The intervened world's values, as ChiRho's tutorials get them; ``[unit]``."""
    do, condition = chirho_do.do, chirho_see.condition
    with MultiWorldCounterfactual(), do(actions=actions), condition(data=seen), poutine.trace() as traced:
        with pyro.plate("units", n, dim=-1):
            program()
        value = traced.trace.nodes[ask]["value"]
        return gather(value, IndexSet(**{str(name): {1} for name in actions}), event_dim=0).detach().flatten()


@cell("normal", "ChiRho")
def _() -> Any:
    return split(MODEL, {"H": torch.tensor(2.0)}, same(JOE), "Y", SAME)


@cell("normal", "ChiRho", note="as a `TransformedDistribution`")
def _() -> Any:
    def program() -> None:
        x = pyro.sample("X", dist.Normal(0.0, 1.0))
        h = pyro.sample("H", dist.Normal(0.5 * x, 1.0))
        noise, equation = dist.Normal(0.0, 1.0), dist.transforms.AffineTransform(0.7 * x + 0.4 * h, 1.0)
        pyro.sample("Y", dist.TransformedDistribution(noise, [equation]))

    return split(program, {"H": torch.tensor(2.0)}, same(JOE), "Y", SAME)


@cell("bernoulli", "ChiRho")
def _() -> Any:
    return split(clinic(pyro, dist), {"labs": torch.tensor(-0.5)}, same(PATIENT), "readmit", SAME).mean()


@cell("categorical", "ChiRho")
def _() -> Any:
    seen = {"site": torch.zeros(3 * SAME), "plan": torch.arange(3).repeat_interleave(SAME)}
    found = split(referral(pyro, dist), {"site": torch.tensor(1.0)}, seen, "plan", 3 * SAME)
    return shares(found.reshape(3, SAME))


def shares(codes: Any) -> np.ndarray:
    """Share of each code, a row a row."""
    return np.stack([(np.asarray(codes) == code).mean(-1) for code in range(3)], -1)


@cell("skewed", "ChiRho")
def _() -> Any:
    return split(skewed(pyro, dist), {"x": torch.tensor(-1.0)}, same(LOT), "y", SAME)


def laplace(model: Callable[[], Any], steps: int = 400) -> Any:
    """Pyro's own Laplace guide, trained."""
    guide = AutoLaplaceApproximation(model)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    for _ in range(steps):
        svi.step()
    return guide.laplace_approximation()


@cell("posterior", "ChiRho")
def _() -> Any:
    program, unit = response(pyro, dist), {"dose": torch.tensor([0.5]), "response": torch.tensor([1.0])}
    guide = laplace(poutine.condition(lambda: program(60), {k: torch.tensor(v) for k, v in TRIAL.items()}))
    found = []
    for _ in range(DRAWS):
        model = poutine.condition(lambda: program(1), {"slope": guide()["slope"].detach()})
        do, condition = chirho_do.do(actions={"dose": torch.tensor(2.0)}), chirho_see.condition(data=unit)
        with MultiWorldCounterfactual(first_available_dim=-2), do, condition, poutine.trace() as traced:
            model()
            value = traced.trace.nodes["response"]["value"]
            found.append(float(gather(value, IndexSet(dose={1}), event_dim=0)))
    return np.quantile(found, [0.05, 0.95])


@cell("column", "ChiRho")
def _() -> Any:
    program, seen = confounded(pyro, dist), {name: torch.tensor(value) for name, value in HOLES.items()}
    guide = laplace(poutine.condition(plated(program, 3), seen))
    drawn = [poutine.condition(program, {"E": guide()["E"].detach()}) for _ in range(DRAWS)]
    found = torch.stack([split(model, {"E": torch.tensor(1.0)}, seen, "Y", 3) for model in drawn])
    return np.stack([found.mean(0), found.std(0)])


@cell("cells", "ChiRho")
def _() -> Any:
    return split(MODEL, {"H": torch.tensor(2.0)}, {k: torch.tensor(v) for k, v in SPARSE.items()}, "Y", 3)


@cell("interval", "ChiRho")
def _() -> Any:
    look_for("chirho", r"(?i)^(interval|censor|truncat)")


@cell("shift", "ChiRho")
def _() -> Any:
    return split(MODEL, {"H": lambda h: h - 1}, {}, "Y", MANY).mean()


@cell("policy", "ChiRho")
def _() -> Any:
    return split(MODEL, {"H": lambda x: 8.0 * (x > 1)}, {}, "Y", MANY).mean()


@cell("per unit", "ChiRho")
def _() -> Any:
    return slope(split(MODEL, {"H": torch.linspace(-2, 2, MANY)}, {}, "Y", MANY))


@cell("stochastic", "ChiRho")
def _() -> Any:
    return split(MODEL, {"H": lambda h: dist.Normal(1.0, 2.0).sample(h.shape)}, {}, "Y", MANY).var()


@cell("edge", "ChiRho")
def _() -> Any:
    with chirho_do.do(actions={("X", "Y"): torch.tensor(5.0)}):  # type: ignore[arg-type]
        return torch.as_tensor(poutine.trace(plated(MODEL, MANY)).get_trace().nodes["Y"]["value"]).mean()


@cell("misspelt", "ChiRho")
def _() -> Any:
    with chirho_do.do(actions={"J": torch.tensor(2.0)}):
        return plated(MODEL, 5)()


@cell("shape", "ChiRho")
def _() -> Any:
    with chirho_do.do(actions={"H": torch.zeros(5, 1)}):
        return plated(MODEL, 5)()


@cell("support", "ChiRho")
def _() -> Any:
    with chirho_do.do(actions={"T": torch.tensor(2.0)}):
        return plated(trial, 5)()


@cell("mixing", "ChiRho")
def _() -> Any:
    return split(mixing, {"X": torch.tensor(2.0)}, {}, "H", 5)


@cell("labels", "ChiRho")
def _() -> Any:
    return [split(planned(pyro, dist), {"plan": label}, {}, "Y", MANY).mean() for label in ("none", "full")]


@cell("account", "ChiRho")
def _() -> Any:
    return facts(split(MODEL, {"H": torch.tensor(2.0)}, same(JOE), "Y", SAME))


# -- DoWhy gcm ---------------------------------------------------------------------------------------------------------


def equations() -> Any:
    """Pearl's three equations in DoWhy's own notation."""
    text = """
        X = norm(loc=0, scale=1)
        H = 0.5 * X + norm(loc=0, scale=1)
        Y = 0.7 * X + 0.4 * H + norm(loc=0, scale=1)
    """
    return gcm.InvertibleStructuralCausalModel(create_causal_model_from_equations(text).graph)


def do_gcm(actions: dict[Any, Any]) -> Any:
    return gcm.interventional_samples(equations(), actions, num_samples_to_draw=MANY)["Y"]


@cell("normal", "DoWhy gcm")
def _() -> Any:
    return gcm.counterfactual_samples(equations(), {"H": lambda _: 2.0}, observed_data=frame(JOE))["Y"]


def discrete(program: Callable[[], Any], parent: str, child: str, parents: dict[str, Any], value: float) -> Any:
    """DoWhy's classifier as the mechanism, fitted to the program's own data, asked for a unit."""
    nodes: Any = poutine.trace(plated(program, 2_000)).get_trace().nodes
    table = pd.DataFrame({parent: nodes[parent]["value"].numpy(), child: nodes[child]["value"].numpy().astype(str)})
    model = gcm.InvertibleStructuralCausalModel(nx.DiGraph([(parent, child)]))
    model.set_causal_mechanism(parent, gcm.EmpiricalDistribution())
    model.set_causal_mechanism(child, gcm.ClassifierFCM(gcm.ml.create_logistic_regression_classifier()))
    gcm.fit(model, table)
    unit = pd.DataFrame(parents)
    return gcm.counterfactual_samples(model, {parent: lambda _: value}, observed_data=unit)[child]


@cell("bernoulli", "DoWhy gcm")
def _() -> Any:
    return discrete(clinic(pyro, dist), "labs", "readmit", {"labs": [0.5], "readmit": ["1.0"]}, -0.5)


@cell("categorical", "DoWhy gcm")
def _() -> Any:
    return discrete(referral(pyro, dist), "site", "plan", {"site": [0.0] * 3, "plan": ["0", "1", "2"]}, 1.0)


class Quantiles(InvertibleFunctionalCausalModel):
    """A mechanism for DoWhy whose noise is the quantile of a scipy distribution."""

    def __init__(self, law_of: Any) -> None:
        self.law_of = law_of

    def fit(self, X: Any, Y: Any) -> None: ...

    def clone(self) -> Any:
        return Quantiles(self.law_of)

    def draw_noise_samples(self, num_samples: int) -> Any:
        return np.random.uniform(size=num_samples)  # noqa: NPY002

    def evaluate(self, parent_samples: Any, noise_samples: Any) -> Any:
        return self.law_of(parent_samples[:, 0]).ppf(noise_samples)

    def estimate_noise(self, target_samples: Any, parent_samples: Any) -> Any:
        return self.law_of(parent_samples[:, 0]).cdf(target_samples)


@cell("skewed", "DoWhy gcm", Quantiles)
def _() -> Any:
    model = gcm.InvertibleStructuralCausalModel(nx.DiGraph([("x", "g"), ("g", "y")]))
    model.set_causal_mechanism("x", gcm.ScipyDistribution(stats.norm))
    model.set_causal_mechanism("g", Quantiles(lambda x: stats.gamma(np.exp(0.5 * x))))
    model.set_causal_mechanism("y", Quantiles(lambda g: stats.t(3, g, 1 + g)))
    gcm.fit(model, frame(LOT))  # nothing to learn, but DoWhy refuses a model that was not fitted
    return gcm.counterfactual_samples(model, {"x": lambda _: -1.0}, observed_data=frame(LOT))["y"]


@cell("posterior", "DoWhy gcm", note="(refits to subsets)")
def _() -> Any:
    model = gcm.InvertibleStructuralCausalModel(nx.DiGraph([("dose", "response")]))
    model.set_causal_mechanism("dose", gcm.EmpiricalDistribution())
    linear = gcm.ml.create_linear_regressor(fit_intercept=False)
    model.set_causal_mechanism("response", gcm.AdditiveNoiseModel(linear))
    unit = frame({"dose": 0.5, "response": 1.0})
    ask = gcm.fit_and_compute(
        lambda made, **given: {"response": gcm.counterfactual_samples(made, **given)["response"].iloc[0]},
        model,
        bootstrap_training_data=pd.DataFrame(TRIAL),
        interventions={"dose": lambda _: 2.0},
        observed_data=unit,
    )
    # subsets without replacement, and 'confidence 0.9' from the 10th to the 90th percentile
    _, found = gcm.confidence_intervals(ask, confidence_level=0.9, num_bootstrap_resamples=400, n_jobs=1)
    return np.ravel(found["response"])


@cell("column", "DoWhy gcm")
def _() -> Any:
    text = """
        A = norm(loc=0, scale=1)
        E = norm(loc=0, scale=1)
        X = 0.8 * A + 0.5 * E + norm(loc=0, scale=0.5)
        Z = -0.7 * A + norm(loc=0, scale=0.4)
        Y = 1.2 * X + 0.9 * Z + 0.3 * A + 0.6 * E + norm(loc=0, scale=0.7)
    """
    model = gcm.InvertibleStructuralCausalModel(create_causal_model_from_equations(text).graph)
    return gcm.counterfactual_samples(model, {"E": lambda _: 1.0}, observed_data=pd.DataFrame(HOLES))["Y"]


@cell("cells", "DoWhy gcm")
def _() -> Any:
    return gcm.counterfactual_samples(equations(), {"H": lambda _: 2.0}, observed_data=pd.DataFrame(SPARSE))["Y"]


@cell("interval", "DoWhy gcm")
def _() -> Any:
    joe = pd.DataFrame({"X": [0.5], "H": [1.0], "Y": [pd.Interval(0.0, 1.0)]})
    return gcm.counterfactual_samples(equations(), {"H": lambda _: 2.0}, observed_data=joe)["Y"].astype(float)


@cell("shift", "DoWhy gcm")
def _() -> Any:
    return do_gcm({"H": lambda h: h - 1}).mean()


@cell("policy", "DoWhy gcm")
def _() -> Any:
    return do_gcm({"H": lambda x: 8.0 * (x > 1)}).mean()


@cell("per unit", "DoWhy gcm", counted=True)
def _() -> Any:
    values = iter(np.linspace(-2, 2, MANY))
    return slope(do_gcm({"H": lambda _: next(values)}))


@cell("stochastic", "DoWhy gcm")
def _() -> Any:
    return do_gcm({"H": lambda _: np.random.normal(1.0, 2.0)}).var()  # noqa: NPY002


@cell("edge", "DoWhy gcm")
def _() -> Any:
    return do_gcm({("X", "Y"): lambda _: 5.0}).mean()


@cell("misspelt", "DoWhy gcm")
def _() -> Any:
    return do_gcm({"J": lambda _: 2.0})


@cell("shape", "DoWhy gcm")
def _() -> Any:
    return do_gcm({"H": lambda _: np.zeros((5, 1))})


@cell("support", "DoWhy gcm")
def _() -> Any:
    table = pd.DataFrame({"T": ["0", "1"] * 50, "Y": np.arange(100.0)})
    return do_gcm_labels(table, "T", "Y", "2")


@cell("mixing", "DoWhy gcm")
def _() -> Any:
    text = "X = norm(loc=0, scale=1)\nH = X - mean(X) + norm(loc=0, scale=1)"
    return gcm.draw_samples(create_causal_model_from_equations(text), num_samples=5)


@cell("graph", "DoWhy gcm")
def _() -> Any:
    return {f"{a} → {b}" for a, b in equations().graph.edges}


@cell("slices", "DoWhy gcm")
def _() -> Any:
    text = "X = norm(loc=0, scale=1)\nY = stack([X, 0 * X], -1)[0] + norm(loc=0, scale=1)"
    return {f"{a} → {b}" for a, b in create_causal_model_from_equations(text).graph.edges}


def do_gcm_labels(table: pd.DataFrame, parent: str, child: str, label: str) -> Any:
    """Mean of the child had the parent been a label; mechanisms fitted to the table."""
    model = gcm.StructuralCausalModel(nx.DiGraph([(parent, child)]))
    model.set_causal_mechanism(parent, gcm.EmpiricalDistribution())
    model.set_causal_mechanism(child, gcm.AdditiveNoiseModel(gcm.ml.create_linear_regressor()))
    gcm.fit(model, table)
    return gcm.interventional_samples(model, {parent: lambda _: label}, num_samples_to_draw=2_000)[child].mean()


@cell("labels", "DoWhy gcm")
def _() -> Any:
    rng = np.random.default_rng(0)
    plan = rng.choice(["none", "basic", "full"], 4_000, p=HERE)
    y = 1.0 + pd.Series(plan).map({"none": 0, "basic": 1, "full": 2}) + rng.standard_normal(4_000)
    return [do_gcm_labels(pd.DataFrame({"plan": plan, "y": y}), "plan", "y", label) for label in ("none", "full")]


@cell("store", "DoWhy gcm")
def _() -> Any:
    look_for("dowhy.gcm", r"^(save|load|store|dump)")


@cell("account", "DoWhy gcm")
def _() -> Any:
    return facts(gcm.counterfactual_samples(equations(), {"H": lambda _: 2.0}, observed_data=frame(JOE)))
