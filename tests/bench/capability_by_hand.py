"""Plain Pyro asked what pcm is asked: what it has no word for is written here by hand, and counted.

The counterfactual by hand is a dozen lines: noise pulled off a conditioned trace by ``pull(distribution, value)``, and
pushed through the intervened program by ``push(distribution, noise)``.

>>> ("normal", "Pyro") in CELLS
True
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.inspect import get_model_relations
from pyro.poutine.messenger import Messenger
from scipy import stats

from tests.bench.capability_cells import (
    CELLS,
    DRAWS,
    HOLES,
    JOE,
    LOT,
    MANY,
    MODEL,
    PATIENT,
    SPARSE,
    TRIAL,
    cell,
    clinic,
    confounded,
    facts,
    kept,
    mixing,
    planned,
    plated,
    referral,
    response,
    same,
    skewed,
    sliced,
    slope,
    trial,
)
from tests.bench.capability_rivals import laplace, shares

__all__ = ["CELLS", "frozen", "gumbel_max", "pull_residual", "push_residual", "relations", "rewritten", "unit_chance"]

# -- by hand, in any library ------------------------------------------------------------------------------------------


def pull_residual(fn: Any, value: Any) -> Any:
    return (value - fn.loc) / fn.scale


def push_residual(fn: Any, noise: Any) -> Any:
    return fn.loc + fn.scale * noise


def unit_chance(before: Any, after: Any, y: Any) -> Any:
    p, q = np.asarray(before), np.asarray(after)
    return np.where(np.asarray(y) > 0.5, np.minimum(1, q / p), np.maximum(0, q - p) / (1 - p))


def gumbel_max(before: Any, code: int, after: Any, draws: int = 40_000) -> Any:
    logits, rng = np.log(np.asarray(before)), np.random.default_rng(0)
    top = rng.gumbel(size=draws)
    others = rng.gumbel(size=(draws, len(logits))) + logits
    noise = -np.log(np.exp(-others) + np.exp(-top)[:, None]) - logits
    noise[:, code] = top - logits[code]
    return (np.log(np.asarray(after)) + noise).argmax(-1)


def frozen(fn: Any) -> Any:
    if type(fn).__name__ == "Gamma":
        return stats.gamma(np.asarray(fn.concentration), scale=1 / np.asarray(fn.rate))
    if type(fn).__name__ == "StudentT":
        return stats.t(np.asarray(fn.df), np.asarray(fn.loc), np.asarray(fn.scale))
    return stats.norm(np.asarray(fn.loc), np.asarray(fn.scale))


# -- Pyro --------------------------------------------------------------------------------------------------------------


def replay(program: Any, seen: Any, world: Any, pull: Any, push: Any) -> Any:
    past = poutine.trace(poutine.condition(program, data=seen)).get_trace().nodes
    noise = {name: pull(past[name]["fn"], value) for name, value in seen.items()}

    class Pushed(Messenger):
        def _pyro_sample(self, msg: Any) -> None:
            if not msg["done"] and msg["name"] in noise:
                msg["value"], msg["done"] = torch.as_tensor(push(msg["fn"], noise[msg["name"]])), True

    with Pushed():
        now = poutine.trace(poutine.do(program, data=world)).get_trace().nodes
    return past, now


@cell("normal", "Pyro", replay, pull_residual, push_residual)
def _() -> Any:
    return replay(plated(MODEL, 1), same(JOE, 1), {"H": torch.tensor(2.0)}, pull_residual, push_residual)[1]["Y"][
        "value"
    ]


def both_sides(program: Any, seen: Any, world: Any) -> Any:
    past = poutine.trace(poutine.condition(program, data=seen)).get_trace().nodes
    now = poutine.trace(poutine.do(poutine.condition(program, data=seen), data=world)).get_trace().nodes
    return past, now


@cell("bernoulli", "Pyro", both_sides, unit_chance, counted=True)
def _() -> Any:
    past, now = both_sides(plated(clinic(pyro, dist), 1), same(PATIENT, 1), {"labs": torch.tensor(-0.5)})
    return unit_chance(past["readmit"]["fn"].probs, now["readmit"]["fn"].probs, PATIENT["readmit"])


@cell("categorical", "Pyro", both_sides, gumbel_max, counted=True)
def _() -> Any:
    seen = {"site": torch.zeros(3), "plan": torch.arange(3)}
    past, now = both_sides(plated(referral(pyro, dist), 3), seen, {"site": torch.tensor(1.0)})
    before, after = past["plan"]["fn"].probs, now["plan"]["fn"].probs.expand(3, 3)
    return shares([gumbel_max(before[code], code, after[code]) for code in range(3)])


@cell("skewed", "Pyro", replay, frozen, counted=True)
def _() -> Any:
    world = {"x": torch.tensor([-1.0])}
    pull, push = lambda fn, value: frozen(fn).cdf(value), lambda fn, noise: frozen(fn).ppf(noise)
    return replay(plated(skewed(pyro, dist), 1), same(LOT, 1), world, pull, push)[1]["y"]["value"]


@cell("posterior", "Pyro", laplace, pull_residual, push_residual, counted=True)
def _() -> Any:
    program, found = response(pyro, dist), []
    guide = laplace(poutine.condition(lambda: program(60), {k: torch.tensor(v) for k, v in TRIAL.items()}))
    for _ in range(DRAWS):
        model = poutine.condition(lambda: program(1), {"slope": guide()["slope"].detach()})
        seen, world = {"response": torch.tensor([1.0])}, {"dose": torch.tensor([2.0])}
        past = poutine.condition(model, {"dose": torch.tensor([0.5])})
        noise = pull_residual(poutine.trace(past).get_trace().nodes["response"]["fn"], seen["response"])
        now = poutine.trace(poutine.do(model, data=world)).get_trace().nodes["response"]["fn"]
        found.append(float(push_residual(now, noise)))
    return np.quantile(found, [0.05, 0.95])


@cell("column", "Pyro", laplace, replay, pull_residual, push_residual, counted=True)
def _() -> Any:
    program, seen = plated(confounded(pyro, dist), 3), {name: torch.tensor(value) for name, value in HOLES.items()}
    guide = laplace(poutine.condition(program, seen))
    found = []
    for _ in range(DRAWS):
        whole = {**seen, "E": guide()["E"].detach()}
        found.append(replay(program, whole, {"E": torch.tensor(1.0)}, pull_residual, push_residual)[1]["Y"]["value"])
    found = torch.stack(found)
    return np.stack([found.mean(0), found.std(0)])


@cell("cells", "Pyro", laplace, replay, pull_residual, push_residual, counted=True)
def _() -> Any:
    seen, found = {name: torch.tensor(value) for name, value in SPARSE.items()}, []

    def filled() -> Any:
        def see(name: str, fn: Any) -> Any:
            guess, here = pyro.sample(f"unseen {name}", fn), ~seen[name].isnan()
            with poutine.mask(mask=here):
                pyro.sample(name, fn, obs=seen[name].nan_to_num())
            return torch.where(here, seen[name], guess)

        with pyro.plate("units", 3):
            x = see("X", dist.Normal(0.0, 1.0))
            h = see("H", dist.Normal(0.5 * x, 1.0))
            return {"X": x, "H": h, "Y": see("Y", dist.Normal(0.7 * x + 0.4 * h, 1.0))}

    guide = laplace(filled)
    for _ in range(5 * DRAWS):
        whole = {name: value.detach() for name, value in poutine.condition(filled, guide())().items()}
        now = replay(plated(MODEL, 3), whole, {"H": torch.tensor(2.0)}, pull_residual, push_residual)[1]
        found.append(now["Y"]["value"])
    return torch.stack(found).mean(0)


@cell("interval", "Pyro", replay, pull_residual, push_residual, counted=True)
def _() -> Any:
    law = dist.Normal(0.7 * 0.5 + 0.4, 1.0)
    low, high = law.cdf(torch.tensor(0.0)), law.cdf(torch.tensor(1.0))
    joe = same({"X": 0.5, "H": 1.0}, MANY)
    joe["Y"] = law.icdf(low + torch.rand(MANY) * (high - low))
    return replay(plated(MODEL, MANY), joe, {"H": torch.tensor(2.0)}, pull_residual, push_residual)[1]["Y"][
        "value"
    ].mean()


def outcome(program: Any, world: Any) -> Any:
    return poutine.trace(poutine.do(plated(program, MANY), data=world)).get_trace().nodes["Y"]["value"]


class Policy(Messenger):
    """A variable set by a function of itself and of what came before it."""

    def __init__(self, name: str, rule: Any) -> None:
        super().__init__()
        self.name, self.rule, self.seen = name, rule, {}

    def _pyro_post_sample(self, msg: Any) -> None:
        self.seen[msg["name"]] = msg["value"]
        if msg["name"] == self.name:
            msg["value"] = self.rule(self.seen)


@cell("shift", "Pyro", Policy)
def _() -> Any:
    with Policy("H", lambda seen: seen["H"] - 1):
        return outcome(MODEL, {}).mean()


@cell("policy", "Pyro", Policy)
def _() -> Any:
    with Policy("H", lambda seen: 8.0 * (seen["X"] > 1)):
        return outcome(MODEL, {}).mean()


@cell("per unit", "Pyro")
def _() -> Any:
    return slope(outcome(MODEL, {"H": torch.linspace(-2, 2, MANY)}))


@cell("stochastic", "Pyro", counted=True)
def _() -> Any:
    return outcome(MODEL, {"H": dist.Normal(1.0, 2.0).sample((MANY,))}).var()


def rewritten(ppl: Any, law: Any) -> Any:
    def program() -> None:
        x = ppl.sample("X", law.Normal(0.0, 1.0))
        h = ppl.sample("H", law.Normal(0.5 * x, 1.0))
        ppl.sample("Y", law.Normal(0.7 * 5.0 + 0.4 * h, 1.0))

    return program


@cell("edge", "Pyro", rewritten)
def _() -> Any:
    return outcome(rewritten(pyro, dist), {}).mean()


@cell("misspelt", "Pyro")
def _() -> Any:
    return outcome(MODEL, {"J": torch.tensor(2.0)})


@cell("shape", "Pyro")
def _() -> Any:
    return poutine.do(plated(MODEL, 5), data={"H": torch.zeros(5, 1)})()


@cell("support", "Pyro")
def _() -> Any:
    return outcome(trial, {"T": torch.tensor(2.0)})


@cell("mixing", "Pyro")
def _() -> Any:
    return poutine.trace(plated(mixing, 5)).get_trace().nodes["H"]["value"]


def relations(found: Any) -> set[str]:
    return {f"{a} → {b}" for b, parents in found["sample_sample"].items() for a in parents}


@cell("graph", "ChiRho", note="(by Pyro)")
@cell("graph", "Pyro")
def _() -> Any:
    return relations(get_model_relations(MODEL))


@cell("slices", "ChiRho", note="(by Pyro)")
@cell("slices", "Pyro")
def _() -> Any:
    return relations(get_model_relations(sliced))


@cell("labels", "Pyro", counted=True)
def _() -> Any:
    codes = {"none": 0, "basic": 1, "full": 2}
    return [outcome(planned(pyro, dist), {"plan": torch.tensor(codes[label])}).mean() for label in ("none", "full")]


@cell("store", "ChiRho", note="(Pyro's)")
@cell("store", "Pyro")
def _() -> Any:
    store = pyro.get_param_store()
    store.setdefault("slope", torch.tensor(0.7))
    with tempfile.TemporaryDirectory() as folder:
        store.save(f"{folder}/trial")
        store.clear()
        store.load(f"{folder}/trial")
        return kept(f"{folder}/trial", float(store["slope"]) == 0.7)


@cell("account", "Pyro")
def _() -> Any:
    return facts(outcome(MODEL, {"H": torch.tensor(2.0)}))
