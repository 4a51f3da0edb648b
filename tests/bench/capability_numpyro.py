"""NumPyro asked what pcm is asked, by hand where it has no word for it; see :mod:`tests.bench.capability_by_hand`.

>>> ("normal", "NumPyro") in CELLS
True
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as law
from numpyro import handlers
from numpyro.infer import inspect as numpyro_inspect
from numpyro.infer.autoguide import AutoLaplaceApproximation

from tests.bench.capability_by_hand import (
    frozen,
    gumbel_max,
    pull_residual,
    push_residual,
    relations,
    rewritten,
    unit_chance,
)
from tests.bench.capability_cells import (
    CELLS,
    DRAWS,
    HOLES,
    JOE,
    LOT,
    MANY,
    PATIENT,
    SPARSE,
    TRIAL,
    cell,
    clinic,
    confounded,
    encouragement,
    facts,
    look_for,
    planned,
    referral,
    response,
    skewed,
    slope,
)
from tests.bench.capability_rivals import shares

__all__ = ["CELLS"]

jax.config.update("jax_enable_x64", True)
jnp = jax.numpy


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


@cell("interval", "NumPyro", replay_jax, pull_residual, push_residual, counted=True)
def _() -> Any:
    law_y = law.TruncatedNormal(0.7 * 0.5 + 0.4, 1.0, low=0.0, high=1.0)
    joe = {"X": jnp.full(MANY, 0.5), "H": jnp.ones(MANY), "Y": law_y.sample(jax.random.PRNGKey(0), (MANY,))}
    return replay_jax(TWIN, joe, {"H": 2.0}, pull_residual, push_residual)[1]["Y"]["value"].mean()


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
