"""Inference from private answers: pcm beside what its rivals offer, on the same simulated answers.

``python -m tests.bench.private_inference`` prints a Markdown table in about a minute. Rivals: OpenDP, which releases
and infers nothing; plain Pyro, where a user writes the noisy child by hand, with the true value enumerated, or with a
mean-field guide over units where it is a number.

>>> round(keep(1.0), 4)
0.7311
"""

from __future__ import annotations

import importlib
import math
import re
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO
from pyro.infer.autoguide import AutoDelta, AutoNormal

import pcm
from pcm import private

__all__ = ["ROWS", "clipped", "covariate", "keep", "main", "timed"]

NAMES = ("z0", "t0", "tz", "y0", "yt", "yz")
TRUTH = torch.tensor([-0.4, -0.6, 1.2, -1.0, 1.3, 1.0], dtype=torch.float64)


def keep(epsilon: float) -> float:
    """How often randomised response tells the truth."""
    return math.exp(epsilon) / (1 + math.exp(epsilon))


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the second of two calls, and what it gave."""
    function()
    start = time.process_time()
    found = function()
    return time.process_time() - start, found


# -- randomised response on a confounder -------------------------------------------------------------------------------


def trial(n: int) -> None:
    """Confounder z, treatment t, outcome y."""
    z0, t0, tz, y0, yt, yz = (pyro.sample(name, dist.Normal(0.0, 2.0)) for name in NAMES)
    with pyro.plate("units", n):
        z = pyro.sample("z", dist.Bernoulli(logits=z0.expand(n)))
        t = pyro.sample("t", dist.Bernoulli(logits=t0 + tz * z))
        pyro.sample("y", dist.Bernoulli(logits=y0 + yt * t + yz * z))


def confounder(n: int = 5_000) -> tuple[dict[str, np.ndarray], private.RandomizedResponse]:
    """Columns with the answers about z in its place, ε = 1."""
    rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
    fixed = pcm.SCM(trial).given({name: float(value) for name, value in zip(NAMES, TRUTH, strict=True)})
    frame = fixed.sample(n, seed=0)
    return {"z": rr.simulate(frame["z"], seed=1).values, "t": frame["t"].to_numpy(), "y": frame["y"].to_numpy()}, rr


def effect(values: Any) -> float:
    """The average effect at parameters."""
    z0, _, _, y0, yt, yz = (torch.as_tensor(each, dtype=torch.float64) for each in values)
    share = torch.sigmoid(z0)
    parts = [torch.sigmoid(y0 + yt + yz * z) - torch.sigmoid(y0 + yz * z) for z in (0, 1)]
    return float(((1 - share) * parts[0] + share * parts[1]).mean())


def by_pyro(columns: dict[str, np.ndarray], steps: int = 1_500) -> float:
    """The noisy child written by hand, the true value enumerated, a point estimate by Adam."""
    said, t_seen, y_seen = (torch.tensor(columns[name], dtype=torch.get_default_dtype()) for name in "zty")

    def model() -> None:
        z0, t0, tz, y0, yt, yz = (pyro.sample(name, dist.Normal(0.0, 2.0)) for name in NAMES)
        with pyro.plate("units", len(said)):
            z = pyro.sample("z", dist.Bernoulli(logits=z0), infer={"enumerate": "parallel"})
            pyro.sample("said", dist.Bernoulli(keep(1.0) * z + (1 - keep(1.0)) * (1 - z)), obs=said)
            pyro.sample("t", dist.Bernoulli(logits=t0 + tz * z), obs=t_seen)
            pyro.sample("y", dist.Bernoulli(logits=y0 + yt * t_seen + yz * z), obs=y_seen)

    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    guide = AutoDelta(poutine.block(model, expose=list(NAMES)))  # pyright: ignore[reportArgumentType]
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.03}), TraceEnum_ELBO(max_plate_nesting=1))  # pyright: ignore
    for _ in range(steps):
        svi.step()
    return effect([guide()[name].detach() for name in NAMES])


# -- Laplace noise on a covariate --------------------------------------------------------------------------------------


def slope(n: int) -> None:
    """A line through a covariate."""
    a, b, m = (pyro.sample(name, dist.Normal(0.0, 2.0)) for name in "abm")
    s, v = (pyro.sample(name, dist.HalfNormal(2.0)) for name in "sv")
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(m, v))
        pyro.sample("y", dist.Normal(a + b * x, s))


def covariate(n: int = 10_000) -> tuple[dict[str, Any], private.Laplace]:
    """Columns with the covariate's noisy answers, scale 1; the slope is 1."""
    frame = pcm.SCM(slope).given(a=0.3, b=1.0, s=0.5, m=0.0, v=1.0).sample(n, seed=0)
    laplace = private.Laplace(scale=1.0, bounds=(-6, 6))
    return {"x": laplace.simulate(frame["x"], seed=1).values, "y": frame["y"].to_numpy()}, laplace


def clipped(n: int = 1_000) -> tuple[dict[str, Any], private.Gaussian]:
    """Columns with the covariate clipped to (-2, 2) and Gaussian noise of scale 1 on it; the slope is 1."""
    frame = pcm.SCM(slope).given(a=0.3, b=1.0, s=0.5, m=0.0, v=1.0).sample(n, seed=0)
    gaussian = private.Gaussian(scale=1.0, bounds=(-2, 2), clip=True)
    return {"x": gaussian.simulate(frame["x"], seed=1).values, "y": frame["y"].to_numpy()}, gaussian


def mean_field(columns: dict[str, Any], steps: int = 2_000) -> tuple[float, float]:
    """Slope and its sd under a mean-field guide over parameters and units."""
    said, y = (torch.tensor(columns[name], dtype=torch.get_default_dtype()) for name in "xy")

    def model() -> None:
        a, b, m = (pyro.sample(name, dist.Normal(0.0, 2.0)) for name in "abm")
        s, v = (pyro.sample(name, dist.HalfNormal(2.0)) for name in "sv")
        with pyro.plate("units", len(said)):
            x = pyro.sample("x", dist.Normal(m, v))
            pyro.sample("said", dist.Laplace(x, 1.0), obs=said)
            pyro.sample("y", dist.Normal(a + b * x, s), obs=y)

    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    guide = AutoNormal(model)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.02}), Trace_ELBO())  # pyright: ignore[reportPrivateImportUsage]
    for _ in range(steps):
        svi.step()
    low, middle, high = guide.quantiles([0.1587, 0.5, 0.8413])["b"]
    return float(middle), float((high - low) / 2)


# -- the table ---------------------------------------------------------------------------------------------------------


def opendp_infers() -> str:
    """What OpenDP offers to infer with."""
    prelude = importlib.import_module("opendp.prelude")
    names = [name for name in dir(prelude) + dir(prelude.m) if re.search("posterior|likelihood|bayes", name)]
    return f"releases; {', '.join(names) or 'nothing to infer with'}"


def by_pcm_confounder() -> tuple[float, float]:
    """Mean and sd of the effect."""
    columns, rr = confounder()
    fitted = pcm.SCM(trial).fit({**columns, "z": private.Release(columns["z"], rr)}, seed=0, progress=False)
    assert fitted.posterior is not None
    found = [effect([fitted.posterior[name][draw] for name in NAMES]) for draw in range(0, 1_000, 5)]
    return float(np.mean(found)), float(np.std(found))


def by_pcm_covariate(made: Callable[[], tuple[dict[str, Any], Any]] = covariate) -> tuple[float, float]:
    """Mean and sd of the slope."""
    columns, mechanism = made()
    fitted = pcm.SCM(slope).fit({**columns, "x": private.Release(columns["x"], mechanism)}, seed=0, progress=False)
    assert fitted.posterior is not None
    return float(fitted.posterior["b"].mean()), float(fitted.posterior["b"].std())


def by_pcm_counts() -> tuple[float, float]:
    """Mean and sd of the effect, from a noisy cross-table alone."""
    fixed = pcm.SCM(trial).given({name: float(value) for name, value in zip(NAMES, TRUTH, strict=True)})
    table = private.CrossTable({name: [0, 1] for name in "zty"}, epsilon=1.0)
    made = private.Aggregate(table.simulate(fixed.sample(5_000, seed=0).astype(int), seed=1), table, rows=5_000)
    fitted = pcm.SCM(trial).fit(made, seed=0, progress=False)
    assert fitted.posterior is not None
    found = [effect([fitted.posterior[name][draw] for name in NAMES]) for draw in range(0, 1_000, 5)]
    return float(np.mean(found)), float(np.std(found))


ROWS = {
    "randomised response, ε = 1, on a confounder; n = 5,000; effect": (effect(TRUTH), by_pcm_confounder),
    "Laplace noise of scale 1 on a covariate; n = 10,000; slope": (1.0, by_pcm_covariate),
    "clipped to (−2, 2), Gaussian noise of scale 1 on a covariate; n = 1,000; slope": (
        1.0,
        lambda: by_pcm_covariate(clipped),
    ),
    "noisy cross-table alone, ε = 1; n = 5,000; effect": (effect(TRUTH), by_pcm_counts),
}


def main() -> None:
    """Print the table."""
    by_hand = [
        timed(lambda: by_pyro(confounder()[0])),
        timed(lambda: mean_field(covariate()[0])),
        None,
        None,
    ]
    print("| | truth | pcm | plain Pyro, by hand | OpenDP |\n|---|--:|--:|--:|---|")
    for (title, (truth, ours)), theirs in zip(ROWS.items(), by_hand, strict=True):
        seconds, (mean, sd) = timed(ours)
        other = "not written"
        if theirs is not None:
            found = theirs[1]
            words = (
                f"{found:.3f}, no sd" if isinstance(found, float) else f"{found[0]:.3f} ± {found[1]:.3f} (mean field)"
            )
            other = f"{words}, {theirs[0]:.1f} s"
        print(f"| {title} | {truth:.3f} | {mean:.3f} ± {sd:.3f}, {seconds:.1f} s | {other} | {opendp_infers()} |")
    named = ", ".join(f"{name} {version(name)}" for name in ("pyro-ppl", "opendp"))
    print(f"\nRun: {named}. CPU seconds of a second call, one core; diffprivlib was not installed, so not run.")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
