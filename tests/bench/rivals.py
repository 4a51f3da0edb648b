"""The ways to answer the bench's question: by hand, with pcm, and with what else there is.

A *rival* is prepared for some units and answers the question when called, with x3, x4, x5 and the probability of
y = 1 (fewer where it cannot say more, and a note says so). Packages are imported when a rival is prepared.

>>> sorted(RIVALS)[:3]
['chirho', 'dowhy', 'frame to arrays by hand']
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pyro
import torch
from torch import Tensor

from tests.bench import five_sites
from tests.bench.five_sites import ASKED, SETTING, SITES, in_place, residuals, shifts, tensors

__all__ = ["FRAME_FLOOR", "NOTES", "RIVALS", "TENSOR_FLOOR", "prepare"]

Answer = Callable[[], Any]

TENSOR_FLOOR = "torch by hand"
FRAME_FLOOR = "frame to arrays by hand"


def by_hand(units: int) -> Answer:
    seen = five_sites.evidence(units)
    return lambda: residuals(seen)


def by_hand_in_place(units: int) -> Answer:
    seen = five_sites.evidence(units)
    return lambda: in_place(seen)


def by_shifts(units: int) -> Answer:
    seen = five_sites.evidence(units)
    return lambda: shifts(seen)


def by_hand_from_frame(units: int) -> Answer:
    table = five_sites.frame(units)
    return lambda: residuals(tensors(table))


def pcm_tensors(units: int) -> Answer:
    scm, seen = _scm(), five_sites.evidence(units)
    return lambda: _read(scm.counterfactual(seen, do={"x2": SETTING}))


def pcm_frame(units: int) -> Answer:
    scm, table = _scm(), five_sites.frame(units)
    return lambda: scm.counterfactual(table, do={"x2": SETTING})


def pcm_frame_answers(units: int) -> Answer:
    scm, table = _scm(), five_sites.frame(units)
    return lambda: _read(scm.counterfactual(table, do={"x2": SETTING}))


def _scm() -> Any:
    import pcm

    return pcm.SCM(five_sites.program)


def _read(found: Any) -> tuple[Any, ...]:
    return (*(found.mean(name) for name in ASKED[:3]), found.probability("y", 1))


def plain_pyro(units: int) -> Answer:
    """What a user writes without pcm: residuals off a conditioned trace, pushed through the intervened program."""
    seen = five_sites.evidence(units)
    world: dict[str, Any] = {"x2": torch.tensor(SETTING, dtype=torch.float64)}

    def plated() -> None:
        with pyro.plate("units", units):
            five_sites.program()

    def answer() -> tuple[Tensor, ...]:
        past: Any = pyro.poutine.trace(pyro.poutine.condition(plated, data=seen)).get_trace().nodes
        noise = {k: (seen[k] - past[k]["fn"].loc) / past[k]["fn"].scale for k in SITES[:5]}

        def push(msg: Any) -> Tensor | None:
            name = msg["name"]
            return msg["fn"].loc + msg["fn"].scale * noise[name] if name in noise else seen.get(name)

        with _answered(push):
            now: Any = pyro.poutine.trace(pyro.poutine.do(plated, data=world)).get_trace().nodes
        p, q = past["y"]["fn"].probs, now["y"]["fn"].probs
        chance = torch.where(seen["y"] > 0.5, (q / p).clamp(max=1.0), (q - p).clamp(min=0.0) / (1.0 - p))
        return now["x3"]["value"], now["x4"]["value"], now["x5"]["value"], chance

    return answer


def _answered(value_of: Callable[[Any], Any]) -> Any:
    from pyro.poutine.messenger import Messenger

    class Answered(Messenger):
        def _pyro_sample(self, msg: Any) -> None:
            value = None if msg["done"] or msg["name"] == "units" else value_of(msg)
            if value is not None:
                msg["value"], msg["done"] = value, True

    return Answered()


def numpyro_jit(units: int) -> Answer:
    """The same in NumPyro: handlers inside one jitted function, so that only array code is left."""
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    import jax
    import numpyro
    import numpyro.distributions as law
    from numpyro.handlers import do, substitute, trace

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def model() -> None:
        x1 = numpyro.sample("x1", law.Normal(0.3, 1.0))
        x2 = numpyro.sample("x2", law.Normal(0.8 * x1, 0.7))
        x3 = numpyro.sample("x3", law.Normal(-0.3 * x1 + 0.5 * x2, 0.9))
        x4 = numpyro.sample("x4", law.Normal(0.6 * x3, 0.5))
        x5 = numpyro.sample("x5", law.Normal(0.4 * x2 - 0.2 * x3 + 0.7 * x4, 1.1))
        numpyro.sample("y", law.Bernoulli(logits=0.9 * x5 - 0.4 * x3))

    @jax.jit
    def answer(seen: dict[str, Any]) -> tuple[Any, ...]:
        past = trace(substitute(model, data=seen)).get_trace()
        noise = {k: (seen[k] - past[k]["fn"].loc) / past[k]["fn"].scale for k in SITES[:5]}

        def push(site: dict[str, Any]) -> Any:
            name = site["name"]
            return site["fn"].loc + site["fn"].scale * noise[name] if name in noise else seen.get(name)

        now = trace(substitute(do(model, data={"x2": SETTING}), substitute_fn=push)).get_trace()
        p, q = past["y"]["fn"].probs, now["y"]["fn"].probs
        chance = jnp.where(seen["y"] > 0.5, jnp.minimum(q / p, 1.0), jnp.maximum(q - p, 0.0) / (1.0 - p))
        return now["x3"]["value"], now["x4"]["value"], now["x5"]["value"], chance

    arrays = {name: jnp.asarray(value.numpy()) for name, value in five_sites.evidence(units).items()}
    return lambda: jax.block_until_ready(answer(arrays))


def dowhy_gcm(units: int) -> Answer:
    """``gcm.counterfactual_samples`` with the mechanisms assigned, not fitted; it has no Bernoulli for one unit."""
    from dowhy import gcm
    from dowhy.gcm.equation_parser import create_causal_model_from_equations

    assigned = create_causal_model_from_equations(
        """
        x1 = norm(loc=0.3, scale=1.0)
        x2 = 0.8 * x1 + norm(loc=0.0, scale=0.7)
        x3 = -0.3 * x1 + 0.5 * x2 + norm(loc=0.0, scale=0.9)
        x4 = 0.6 * x3 + norm(loc=0.0, scale=0.5)
        x5 = 0.4 * x2 - 0.2 * x3 + 0.7 * x4 + norm(loc=0.0, scale=1.1)
        """
    )
    model = gcm.InvertibleStructuralCausalModel(assigned.graph)
    table = five_sites.frame(units).drop(columns="y")

    def answer() -> tuple[Any, ...]:
        found = gcm.counterfactual_samples(model, {"x2": lambda _: SETTING}, observed_data=table)
        return tuple(found[name].to_numpy() for name in ASKED[:3])

    return answer


def chirho(units: int) -> Answer:
    """``MultiWorldCounterfactual``, ``do`` and ``condition``, as its tutorials have it."""
    from chirho.counterfactual.handlers import MultiWorldCounterfactual
    from chirho.indexed.ops import IndexSet, gather
    from chirho.interventional import handlers as intervene
    from chirho.observational import handlers as observe

    do: Any = intervene.do
    condition: Any = observe.condition
    seen = five_sites.evidence(units)
    world = {"x2": torch.tensor(SETTING, dtype=torch.float64)}

    def answer() -> tuple[Any, ...]:
        with MultiWorldCounterfactual(), do(actions=world), condition(data=seen), pyro.poutine.trace() as kept:
            with pyro.plate("units", units, dim=-1):
                five_sites.program()
            nodes: Any = kept.trace.nodes
            return tuple(gather(nodes[name]["value"], IndexSet(x2={1}), event_dim=0).flatten() for name in ASKED)

    return answer


RIVALS: dict[str, Callable[[int], Answer]] = {
    TENSOR_FLOOR: by_hand,
    "torch by hand, in place": by_hand_in_place,
    "torch by hand, shifts only": by_shifts,
    "pcm": pcm_tensors,
    "pyro by hand": plain_pyro,
    "numpyro jit": numpyro_jit,
    "chirho": chirho,
    FRAME_FLOOR: by_hand_from_frame,
    "pcm, frame to result": pcm_frame,
    "pcm, frame to answers": pcm_frame_answers,
    "dowhy": dowhy_gcm,
}
"""What prepares a rival for a number of units."""

NOTES = {
    "torch by hand, in place": "the same with passes and buffers counted",
    "torch by hand, shifts only": "needs every mechanism to be linear",
    "numpyro jit": "compilation not counted",
    "chirho": "fresh noise at observed sites, y' drawn: another question's answer",
    "pcm, frame to result": "answers not read out",
    "dowhy": "no y: nothing discrete for a unit; x2 on, five sites alone",
}


def prepare(name: str, units: int) -> Answer:
    """A rival made ready: calling it answers the question."""
    return RIVALS[name](units)
