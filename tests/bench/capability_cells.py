"""The programs behind the table of capabilities: each system asked, in its own words, for each row.

``@cell(row, system)`` registers a function that returns the answer. Functions named after it, and with
``counted=True`` the function itself, are what a user writes where the system has no word for the question. One
program serves pcm, Pyro, ChiRho and NumPyro: it takes the library and its distributions.

>>> program = encouragement(pyro, dist)
>>> sorted(pyro.poutine.trace(program).get_trace().stochastic_nodes)
['H', 'X', 'Y']
"""

from __future__ import annotations

import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch

import pcm

__all__ = ["CELLS", "HERE", "HOLES", "SPARSE", "THERE", "TRIAL", "Cell", "Nothing", "cell", "encouragement"]

MANY = 40_000  # units behind an average
SAME = 4_000  # copies of one unit, where a system draws
DRAWS = 400  # of a posterior, where each costs a run

JOE = {"X": 0.5, "H": 1.0, "Y": 1.5}
PATIENT = {"labs": 0.5, "readmit": 1.0}
LOT = {"x": 0.5, "g": 1.3, "y": 2.0}
HERE, THERE = (0.5, 0.3, 0.2), (0.2, 0.3, 0.5)
SPARSE = {"X": [np.nan, 0.5, 0.5], "H": [1.0, np.nan, 1.0], "Y": [1.5, 1.5, np.nan]}
HOLES = {"A": [0.3, -1.0, 0.8], "X": [1.2, -0.4, 0.1], "Z": [-0.5, 0.4, -0.2], "Y": [2.0, -1.1, 0.9]}
_rng = np.random.default_rng(7)
_dose = _rng.exponential(size=60)
TRIAL = {"dose": _dose, "response": 0.7 * _dose + 0.5 * _rng.standard_normal(60)}


@dataclass(frozen=True)
class Cell:
    """How one system is asked; ``by_hand`` are the functions that a user writes for it (empty: none)."""

    run: Callable[[], Any]
    by_hand: tuple[Callable[..., Any], ...] = ()
    note: str = ""


class Nothing(Exception):
    """The system has no call for it."""


CELLS: dict[tuple[str, str], list[Cell]] = {}


def cell(row: str, system: str, *by_hand: Callable[..., Any], counted: bool = False, note: str = "") -> Any:
    """Register how a system is asked for a row; ``counted`` says that the function itself is the user's work."""

    def keep(function: Callable[[], Any]) -> Callable[[], Any]:
        written = (*by_hand, function) if counted or by_hand else ()
        CELLS.setdefault((row, system), []).append(Cell(function, written, note))
        return function

    return keep


# -- programs ----------------------------------------------------------------------------------------------------------


def encouragement(ppl: Any, law: Any) -> Callable[[], Any]:
    def program() -> None:
        x = ppl.sample("X", law.Normal(0.0, 1.0))
        h = ppl.sample("H", law.Normal(0.5 * x, 1.0))
        ppl.sample("Y", law.Normal(0.7 * x + 0.4 * h, 1.0))

    return program


def clinic(ppl: Any, law: Any) -> Callable[[], Any]:
    def program() -> None:
        labs = ppl.sample("labs", law.Normal(0.0, 1.0))
        ppl.sample("readmit", law.Bernoulli(logits=1.2 * labs))

    return program


def referral(ppl: Any, law: Any, array: Any = torch.tensor, where: Any = torch.where) -> Callable[[], Any]:
    def program() -> None:
        site = ppl.sample("site", law.Bernoulli(0.5))
        ppl.sample("plan", law.Categorical(where(site[..., None] == 1, array(THERE), array(HERE))))

    return program


def planned(ppl: Any, law: Any, array: Any = torch.tensor) -> Callable[[], Any]:
    def program() -> None:
        plan = ppl.sample("plan", law.Categorical(array(HERE)))
        ppl.sample("Y", law.Normal(1.0 + plan, 1.0))

    return program


def skewed(ppl: Any, law: Any, exp: Any = torch.exp) -> Callable[[], Any]:
    def program() -> None:
        x = ppl.sample("x", law.Normal(0.0, 1.0))
        g = ppl.sample("g", law.Gamma(exp(0.5 * x), 1.0))
        ppl.sample("y", law.StudentT(3.0, g, 1.0 + g))

    return program


def response(ppl: Any, law: Any) -> Callable[..., Any]:
    def program(n: int) -> None:
        slope = ppl.sample("slope", law.Normal(0.0, 1.0))
        with ppl.plate("units", n):
            dose = ppl.sample("dose", law.Exponential(1.0))
            ppl.sample("response", law.Normal(slope * dose, 0.5))

    return program


def confounded(ppl: Any, law: Any) -> Callable[[], Any]:
    def program() -> None:
        a = ppl.sample("A", law.Normal(0.0, 1.0))
        e = ppl.sample("E", law.Normal(0.0, 1.0))
        x = ppl.sample("X", law.Normal(0.8 * a + 0.5 * e, 0.5))
        z = ppl.sample("Z", law.Normal(-0.7 * a, 0.4))
        ppl.sample("Y", law.Normal(1.2 * x + 0.9 * z + 0.3 * a + 0.6 * e, 0.7))

    return program


def trial() -> None:
    t = pyro.sample("T", dist.Bernoulli(torch.tensor(0.5)))
    pyro.sample("Y", dist.Normal(t, 1.0))


def mixing() -> None:
    x = pyro.sample("X", dist.Normal(0.0, 1.0))
    pyro.sample("H", dist.Normal(x - x.mean(), 1.0))


def sliced() -> None:
    x = pyro.sample("X", dist.Normal(0.0, 1.0))
    h = pyro.sample("H", dist.Normal(0.5 * x, 1.0))
    parts = torch.zeros(*h.shape, 2)
    parts[..., 0] = 0.7 * x
    parts[..., 1] = 0.4 * h
    pyro.sample("Y", dist.Normal(parts.sum(-1), 1.0))


def plated(program: Callable[[], Any], n: int) -> Callable[[], Any]:
    def run() -> Any:
        with pyro.plate("units", n, dim=-1):
            return program()

    return run


def same(unit: dict[str, float], n: int = SAME) -> dict[str, torch.Tensor]:
    return {name: torch.full((n,), value) for name, value in unit.items()}


def frame(columns: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({name: np.atleast_1d(value) for name, value in columns.items()})


# -- pcm ---------------------------------------------------------------------------------------------------------------

MODEL = encouragement(pyro, dist)


@cell("normal", "pcm")
def _() -> Any:
    return pcm.SCM(MODEL).counterfactual(JOE, do={"H": 2.0}).mean("Y")


@cell("bernoulli", "pcm")
def _() -> Any:
    return pcm.SCM(clinic(pyro, dist)).counterfactual(PATIENT, do={"labs": -0.5}).probability("readmit", 1)


@cell("categorical", "pcm")
def _() -> Any:
    cf = pcm.SCM(referral(pyro, dist)).counterfactual({"site": [0, 0, 0], "plan": [0, 1, 2]}, do={"site": 1})
    return np.stack([cf.probability("plan", code) for code in range(3)], -1)


@cell("skewed", "pcm")
def _() -> Any:
    return pcm.SCM(skewed(pyro, dist)).counterfactual(LOT, do={"x": -1.0}).mean("y")


@cell("posterior", "pcm")
def _() -> Any:
    fitted = pcm.SCM(response(pyro, dist)).fit(TRIAL, draws=4000, seed=0, progress=False)
    cf = fitted.counterfactual({"dose": [0.5], "response": [1.0]}, do={"dose": 2.0}, draws=4000, seed=0)
    return cf.interval("response", 0.9)[0]


@cell("column", "pcm")
def _() -> Any:
    cf = pcm.SCM(confounded(pyro, dist)).counterfactual(HOLES, do={"E": 1.0}, seed=0)
    return np.stack([cf.mean("Y"), cf.sd("Y")])


@cell("cells", "pcm")
def _() -> Any:
    return pcm.SCM(MODEL).counterfactual(SPARSE, do={"H": 2.0}, seed=0).mean("Y")


@cell("interval", "pcm")
def _() -> Any:
    joe = {"X": 0.5, "H": 1.0, "Y": pcm.Interval(0.0, 1.0)}
    return pcm.SCM(MODEL).counterfactual(joe, do={"H": 2.0}, seed=0).mean("Y")


@cell("shift", "pcm")
def _() -> Any:
    return pcm.SCM(MODEL).do(H=lambda H: H - 1).sample(MANY, seed=0)["Y"].mean()


@cell("policy", "pcm")
def _() -> Any:
    return pcm.SCM(MODEL).do(H=lambda X: 8.0 * (X > 1)).sample(MANY, seed=0)["Y"].mean()


@cell("per unit", "pcm")
def _() -> Any:
    return slope(pcm.SCM(MODEL).do(H=torch.linspace(-2, 2, MANY)).sample(MANY, seed=0)["Y"])


@cell("stochastic", "pcm")
def _() -> Any:
    return pcm.SCM(MODEL).do(H=dist.Normal(1.0, 2.0)).sample(MANY, seed=0)["Y"].var()


@cell("edge", "pcm")
def _() -> Any:
    return pcm.SCM(MODEL).do({("X", "Y"): 5.0}).sample(MANY, seed=0)["Y"].mean()


@cell("misspelt", "pcm")
def _() -> Any:
    return pcm.SCM(MODEL).do(J=2.0)


@cell("shape", "pcm")
def _() -> Any:
    return pcm.SCM(MODEL).do(H=torch.zeros(5, 1)).sample(5, seed=0)


@cell("support", "pcm")
def _() -> Any:
    return pcm.SCM(trial).do(T=2.0).sample(5, seed=0)


@cell("mixing", "pcm")
def _() -> Any:
    return pcm.SCM(mixing)


@cell("graph", "pcm")
def _() -> Any:
    return {f"{a} → {b}" for a, b in pcm.SCM(MODEL).graph.edges}


@cell("slices", "pcm")
def _() -> Any:
    return {f"{a} → {b}" for a, b in pcm.SCM(sliced).graph.edges}


@cell("labels", "pcm")
def _() -> Any:
    model = pcm.SCM(planned(pyro, dist), categories={"plan": ["none", "basic", "full"]})
    worlds = [model.do(plan=label).sample(MANY, seed=0) for label in ("none", "full")]
    assert [world["plan"].iloc[0] for world in worlds] == ["none", "full"]
    return [world["Y"].mean() for world in worlds]


@cell("store", "pcm")
def _() -> Any:
    fitted = pcm.SCM(response(pyro, dist)).fit(TRIAL, draws=100, seed=0, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(f"{folder}/trial.pcm")
        again = pcm.load(f"{folder}/trial.pcm", program=fitted.program)
        return kept(f"{folder}/trial.pcm", torch.equal(again.posterior["slope"], fitted.posterior["slope"]))


@cell("account", "pcm")
def _() -> Any:
    return facts(pcm.SCM(MODEL).counterfactual(JOE, do={"H": 2.0}))


def slope(y: Any) -> float:
    """Slope of y on what its units were set to."""
    return float(np.polyfit(np.linspace(-2, 2, MANY), np.asarray(y), 1)[0])


def kept(path: str, equal: bool) -> set[str]:
    """What a stored file is: it came back whole, and whether pickle wrote it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            pickled = any(name.endswith(".pkl") for name in file.namelist())
    else:
        pickled = Path(path).read_bytes()[:1] == b"\x80"
    return {name for name, true in (("comes back", equal), ("a pickle", pickled)) if true}


def facts(answer: Any) -> set[str]:
    """Which facts about an answer it carries."""
    text = repr(getattr(answer, "account", ""))
    return {fact for fact in ("rung", "coupling", "abduction") if fact in text}


def look_for(package: str, pattern: str) -> None:
    """Raise :class:`Nothing` unless the loaded modules of a package have a public name like that."""
    modules = [
        module for name, module in list(sys.modules.items()) if name == package or name.startswith(f"{package}.")
    ]
    names = {name for module in modules for name in vars(module) if re.search(pattern, name)}
    raise Nothing("nothing to call" if not names else f"found {sorted(names)}: ask it")
