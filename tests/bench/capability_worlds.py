"""A thousand scenarios of 2,000 units asked at once: right, and within a limit of memory.

The truth of unit i had H been h is Y + .4 (h − H). What a system takes is how far resident memory rises over what it
held before, after a small call that fills its caches; Linux alone lets that peak be reset.

>>> ("thousand", "pcm") in CELLS
True
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as law
import pyro
import pyro.distributions as dist
import torch
from chirho.counterfactual.handlers import MultiWorldCounterfactual
from chirho.indexed.ops import IndexSet, gather
from chirho.interventional import handlers as chirho_do
from chirho.observational import handlers as chirho_see
from dowhy import gcm
from pyro import poutine

import pcm
from tests.bench.capability_by_hand import pull_residual, push_residual, replay
from tests.bench.capability_cells import CELLS, MODEL, Nothing, cell, encouragement, frame, plated
from tests.bench.capability_numpyro import replay_jax
from tests.bench.capability_rivals import equations

__all__ = ["CELLS", "FRESH", "LIMIT", "SCENARIOS"]

LIMIT = 48
"""MiB; the answers alone are 15."""

_rng = np.random.default_rng(11)
_x = _rng.normal(size=2_000)
_h = 0.5 * _x + _rng.normal(size=2_000)
CROWD = {"X": _x, "H": _h, "Y": 0.7 * _x + 0.4 * _h + _rng.normal(size=2_000)}
VALUES = np.linspace(-2.0, 2.0, 1_000)

SCENARIOS = CROWD["Y"] + 0.4 * (VALUES[:, None] - CROWD["H"])
"""The truth, ``[world, unit]``."""
FRESH = 0.7 * CROWD["X"] + 0.4 * VALUES[:, None]
"""Its expectation with noise drawn afresh."""


def within(ask: Callable[[np.ndarray], Any]) -> np.ndarray:
    """The answers ``[world, unit]``, or :class:`Nothing` where they took more memory than the limit."""
    ask(VALUES[:4])
    gc.collect()
    ctypes.CDLL(ctypes.util.find_library("c")).malloc_trim(0)  # freed memory used again would not be counted
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = _peak()
    answer = ask(VALUES)
    if _peak() - before > LIMIT:
        raise Nothing("over the memory limit")
    return np.asarray(answer)


def _peak() -> float:
    """Highest resident memory in MiB since it was reset (Linux)."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10


# -- pcm ---------------------------------------------------------------------------------------------------------------


@cell("thousand", "pcm")
def _() -> Any:
    def ask(values: np.ndarray) -> Any:
        worlds = {f"H = {h:.4f}": {"H": h} for h in values}
        cf = pcm.SCM(MODEL).counterfactual(CROWD, worlds=worlds, outcome="Y", memory_limit=f"{LIMIT}MB")
        return cf.means("Y").values[1:]

    return within(ask)


# -- ChiRho: a tuple of values is as many worlds -----------------------------------------------------------------------


def tensors() -> dict[str, Any]:
    return {name: torch.tensor(value) for name, value in CROWD.items()}


def split_many(program: Callable[[], Any], values: np.ndarray) -> Any:
    do = chirho_do.do(actions={"H": tuple(torch.tensor(values))})
    with MultiWorldCounterfactual(), do, chirho_see.condition(data=tensors()), poutine.trace() as traced:
        plated(program, len(_x))()
        value = traced.trace.nodes["Y"]["value"]
        return gather(value, IndexSet(H=set(range(1, len(values) + 1))), event_dim=0).reshape(len(values), -1)


@cell("thousand", "ChiRho")
def _() -> Any:
    return split_many(MODEL, VALUES)  # whatever it takes: another answer


@cell("thousand", "ChiRho", note="as a `TransformedDistribution`")
def _() -> Any:
    def program() -> None:
        x = pyro.sample("X", dist.Normal(0.0, 1.0))
        h = pyro.sample("H", dist.Normal(0.5 * x, 1.0))
        equation = dist.transforms.AffineTransform(0.7 * x + 0.4 * h, 1.0)
        pyro.sample("Y", dist.TransformedDistribution(dist.Normal(0.0, 1.0), [equation]))

    return within(lambda values: split_many(program, values))


# -- a loop over scenarios ---------------------------------------------------------------------------------------------


def looped_gcm(values: np.ndarray) -> Any:
    made = np.empty((len(values), len(_x)))
    for place, h in enumerate(values):
        answer = gcm.counterfactual_samples(equations(), {"H": lambda _, h=h: h}, observed_data=frame(CROWD))
        made[place] = answer["Y"]
    return made


def looped(values: np.ndarray) -> Any:
    made, program, seen = np.empty((len(values), len(_x))), plated(MODEL, len(_x)), tensors()
    for place, h in enumerate(values):
        now = replay(program, seen, {"H": torch.tensor(h)}, pull_residual, push_residual)[1]
        made[place] = now["Y"]["value"]
    return made


def looped_jax(values: np.ndarray) -> Any:
    def answer(h: Any) -> Any:
        return replay_jax(encouragement(numpyro, law), CROWD, {"H": h}, pull_residual, push_residual)[1]["Y"]["value"]

    return jax.lax.map(answer, values)


@cell("thousand", "DoWhy gcm", looped_gcm)
def _() -> Any:
    return within(looped_gcm)


@cell("thousand", "Pyro", replay, pull_residual, push_residual, looped)
def _() -> Any:
    return within(looped)


@cell("thousand", "NumPyro", replay_jax, pull_residual, push_residual, looped_jax)
def _() -> Any:
    return within(looped_jax)
