"""Plain Pyro and NumPyro asked what pcm is asked: what they have no word for is written here by hand, and counted.

The counterfactual by hand is a dozen lines: noise pulled off a conditioned trace by ``pull(distribution, value)``, and
pushed through the intervened program by ``push(distribution, noise)``.

>>> sorted({system for _, system in CELLS if system.endswith("Pyro")})
['NumPyro', 'Pyro']
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as law
import pyro
import pyro.distributions as dist
import torch
from numpyro import handlers
from numpyro.infer import inspect as numpyro_inspect
from numpyro.infer.autoguide import AutoLaplaceApproximation
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
    encouragement,
    facts,
    kept,
    look_for,
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

__all__ = ["CELLS"]

jax.config.update("jax_enable_x64", True)
jnp = jax.numpy


# -- by hand, for both -------------------------------------------------------------------------------------------------


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


# -- NumPyro -----------------------------------------------------------------------------------------------------------

TWIN = encouragement(numpyro, law)


def replay_jax(program: Any, seen: Any, world: Any, pull: Any, push: Any) -> Any:
    past = handlers.trace(handlers.seed(handlers.substitute(program, data=seen), 0)).get_trace()
    noise = {name: pull(past[name]["fn"], value) for name, value in seen.items()}

    def answer(site: Any) -> Any:
        return push(site["fn"], noise[site["name"]]) if site["name"] in noise else None

    acted = handlers.substitute(handlers.do(program, data=world), substitute_fn=answer)
    return past, handlers.trace(handlers.seed(acted, 0)).get_trace()


def sides_jax(program: Any, seen: Any, world: Any) -> Any:
    past = handlers.trace(handlers.substitute(program, data=seen)).get_trace()
    return past, handlers.trace(handlers.substitute(handlers.do(program, data=world), data=seen)).get_trace()


def laplace_jax(program: Any, steps: int = 2_000) -> Any:
    guide = AutoLaplaceApproximation(program)
    svi = numpyro.infer.SVI(program, guide, numpyro.optim.Adam(0.05), numpyro.infer.Trace_ELBO())
    found = svi.run(jax.random.PRNGKey(0), steps, progress_bar=False)
    return guide.sample_posterior(jax.random.PRNGKey(1), found.params, sample_shape=(5 * DRAWS,))


def arrays(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: jnp.atleast_1d(jnp.asarray(value)) for name, value in columns.items()}


def outcome_jax(program: Any, world: Any) -> Any:
    with numpyro.plate("units", MANY):
        return handlers.trace(handlers.seed(handlers.do(program, data=world), 0)).get_trace()["Y"]["value"]


@cell("normal", "NumPyro", replay_jax, pull_residual, push_residual)
def _() -> Any:
    return replay_jax(TWIN, arrays(JOE), {"H": 2.0}, pull_residual, push_residual)[1]["Y"]["value"]


@cell("bernoulli", "NumPyro", sides_jax, unit_chance, counted=True)
def _() -> Any:
    past, now = sides_jax(clinic(numpyro, law), arrays(PATIENT), {"labs": -0.5})
    return unit_chance(past["readmit"]["fn"].probs, now["readmit"]["fn"].probs, PATIENT["readmit"])


@cell("categorical", "NumPyro", sides_jax, gumbel_max, counted=True)
def _() -> Any:
    program = referral(numpyro, law, jnp.array, jnp.where)
    past, now = sides_jax(program, {"site": jnp.zeros(3), "plan": jnp.arange(3)}, {"site": jnp.ones(3)})
    before, after = past["plan"]["fn"].probs, now["plan"]["fn"].probs
    return shares([gumbel_max(before[code], code, after[code]) for code in range(3)])


@cell("skewed", "NumPyro", replay_jax, frozen, counted=True)
def _() -> Any:
    pull, push = lambda fn, value: frozen(fn).cdf(value), lambda fn, noise: jnp.asarray(frozen(fn).ppf(noise))
    return replay_jax(skewed(numpyro, law, jnp.exp), arrays(LOT), {"x": jnp.array([-1.0])}, pull, push)[1]["y"]["value"]


@cell("posterior", "NumPyro", laplace_jax, pull_residual, push_residual, counted=True)
def _() -> Any:
    program = response(numpyro, law)
    drawn = laplace_jax(handlers.condition(lambda: program(60), arrays(TRIAL)))["slope"]

    def answer(value: Any) -> Any:
        model = handlers.substitute(lambda: program(1), {"slope": value, "response": jnp.ones(1)})
        past = handlers.trace(handlers.substitute(model, {"dose": jnp.array([0.5])})).get_trace()["response"]
        acted = handlers.seed(handlers.do(model, {"dose": jnp.array([2.0])}), 0)
        now = handlers.trace(acted).get_trace()["response"]
        return push_residual(now["fn"], pull_residual(past["fn"], past["value"]))

    return np.quantile(jax.vmap(answer)(drawn), [0.05, 0.95])


@cell("column", "NumPyro", laplace_jax, replay_jax, pull_residual, push_residual, counted=True)
def _() -> Any:
    model, seen = confounded(numpyro, law), arrays(HOLES)

    def program() -> None:
        with numpyro.plate("units", 3):
            model()

    drawn = laplace_jax(handlers.condition(program, seen))["E"]

    def answer(value: Any) -> Any:
        whole, world = {**seen, "E": value}, {"E": jnp.ones(3)}
        return replay_jax(model, whole, world, pull_residual, push_residual)[1]["Y"]["value"]

    found = jax.vmap(answer)(drawn)
    return np.stack([found.mean(0), found.std(0)])


@cell("cells", "NumPyro", laplace_jax, replay_jax, pull_residual, push_residual, counted=True)
def _() -> Any:
    seen = arrays(SPARSE)

    def filled() -> Any:
        def see(name: str, fn: Any) -> Any:
            return numpyro.sample(name, fn, obs=jnp.nan_to_num(seen[name]), obs_mask=~jnp.isnan(seen[name]))

        with numpyro.plate("units", 3):
            x = see("X", law.Normal(0.0, 1.0))
            h = see("H", law.Normal(0.5 * x, 1.0))
            return {"X": x, "H": h, "Y": see("Y", law.Normal(0.7 * x + 0.4 * h, 1.0))}

    def answer(unseen: Any) -> Any:
        whole = handlers.substitute(filled, unseen)()
        return replay_jax(TWIN, whole, {"H": 2.0}, pull_residual, push_residual)[1]["Y"]["value"]

    return jax.vmap(answer)(laplace_jax(filled)).mean(0)


class PolicyJax(numpyro.primitives.Messenger):
    """A variable set by a function of itself and of what came before it."""

    def __init__(self, name: str, rule: Any) -> None:
        super().__init__()
        self.name, self.rule, self.seen = name, rule, {}

    def postprocess_message(self, msg: Any) -> None:
        self.seen[msg["name"]] = msg["value"]
        if msg["name"] == self.name:
            msg["value"] = self.rule(self.seen)


@cell("shift", "NumPyro", PolicyJax)
def _() -> Any:
    with PolicyJax("H", lambda seen: seen["H"] - 1):
        return outcome_jax(TWIN, {}).mean()


@cell("policy", "NumPyro", PolicyJax)
def _() -> Any:
    with PolicyJax("H", lambda seen: 8.0 * (seen["X"] > 1)):
        return outcome_jax(TWIN, {}).mean()


@cell("per unit", "NumPyro")
def _() -> Any:
    return slope(outcome_jax(TWIN, {"H": jnp.linspace(-2, 2, MANY)}))


@cell("stochastic", "NumPyro", counted=True)
def _() -> Any:
    return outcome_jax(TWIN, {"H": law.Normal(1.0, 2.0).sample(jax.random.PRNGKey(0), (MANY,))}).var()


@cell("edge", "NumPyro", rewritten)
def _() -> Any:
    return outcome_jax(rewritten(numpyro, law), {}).mean()


@cell("misspelt", "NumPyro")
def _() -> Any:
    return outcome_jax(TWIN, {"J": 2.0})


@cell("shape", "NumPyro")
def _() -> Any:
    with numpyro.plate("units", 5):
        return handlers.seed(handlers.do(TWIN, data={"H": jnp.zeros((5, 1))}), 0)()


@cell("support", "NumPyro")
def _() -> Any:
    def program() -> None:
        t = numpyro.sample("T", law.Bernoulli(0.5))
        numpyro.sample("Y", law.Normal(t, 1.0))

    return outcome_jax(program, {"T": 2.0})


@cell("mixing", "NumPyro")
def _() -> Any:
    def program() -> None:
        with numpyro.plate("units", 5):
            x = numpyro.sample("X", law.Normal(0.0, 1.0))
            numpyro.sample("H", law.Normal(x - x.mean(), 1.0))

    return handlers.trace(handlers.seed(program, 0)).get_trace()["H"]["value"]


@cell("graph", "NumPyro")
def _() -> Any:
    return relations(numpyro_inspect.get_model_relations(TWIN))


@cell("slices", "NumPyro")
def _() -> Any:
    def program() -> None:
        x = numpyro.sample("X", law.Normal(0.0, 1.0))
        h = numpyro.sample("H", law.Normal(0.5 * x, 1.0))
        parts = jnp.zeros((*h.shape, 2)).at[..., 0].set(0.7 * x).at[..., 1].set(0.4 * h)
        numpyro.sample("Y", law.Normal(parts.sum(-1), 1.0))

    return relations(numpyro_inspect.get_model_relations(program))


@cell("labels", "NumPyro", counted=True)
def _() -> Any:
    codes = {"none": 0, "basic": 1, "full": 2}
    return [outcome_jax(planned(numpyro, law, jnp.array), {"plan": codes[label]}).mean() for label in ("none", "full")]


@cell("store", "NumPyro")
def _() -> Any:
    look_for("numpyro", r"^(save|load|store|dump)(?!_dataset)")


@cell("account", "NumPyro")
def _() -> Any:
    return facts(outcome_jax(TWIN, {"H": 2.0}))
