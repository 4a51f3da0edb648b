"""Worlds and discrete effects under a fit: what is computed once for assignments and equal units.

``python -m tests.bench.fitted_worlds [--limit 60MB]`` prints two lines. First 50 worlds × 10,000 units × 100 parameter
draws (:meth:`pcm.Counterfactual.means`), in a process of its own. Then effects over four branching Categorical and
Bernoulli sites under 256 draws: of 500 given units, and the probability of necessity and sufficiency of 20,000 fresh
ones, whose joint assignments are too many to be run at once. Seconds are of the processor.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch

import pcm

__all__ = ["branching", "effects", "line"]

WORLDS, UNITS, DRAWS = 50, 10_000, 100
WEIGHTS = torch.tensor([0.8, 0.5, 0.9])


def chain(n: int) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    with pyro.plate("units", n):
        x1 = pyro.sample("x1", dist.Normal(0.0, 1.0))
        x2 = pyro.sample("x2", dist.Normal(w[0] * x1, 1.0))
        x3 = pyro.sample("x3", dist.Normal(-0.3 * x1 + w[1] * x2, 1.0))
        x4 = pyro.sample("x4", dist.Normal(0.6 * x3, 1.0))
        x5 = pyro.sample("x5", dist.Normal(0.4 * x2 - 0.2 * x3 + 0.7 * x4, 1.0))
        pyro.sample("y", dist.Bernoulli(logits=w[2] * x5 - 0.4 * x3))


def branching(n: int) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    k = torch.arange(5.0)
    with pyro.plate("units", n):
        z = pyro.sample("z", dist.Categorical(logits=-0.1 * k))
        t = pyro.sample("t", dist.Bernoulli(logits=w[0] * (z - 1.0)))
        a = pyro.sample("a", dist.Categorical(logits=(w[1] * t + 0.2 * z)[..., None] * torch.cos(k)))
        b = pyro.sample("b", dist.Bernoulli(logits=w[2] * a - t))
        c = pyro.sample("c", dist.Categorical(logits=(w[1] * b + 0.2 * a - t)[..., None] * torch.sin(k)))
        pyro.sample("y", dist.Bernoulli(logits=0.5 * c - w[0] * t + 0.3 * a))


def fit(program: Callable[..., Any], size: int) -> tuple[pcm.SCM, Any, pcm.SCM]:
    truth = pcm.SCM(program).given(w=WEIGHTS)
    data = truth.sample(size, seed=0)
    return pcm.SCM(program).fit(data, seed=0, progress=False), data, truth


def worlds() -> dict[str, dict[Any, Any]]:
    def world(place: int, c: float) -> dict[Any, Any]:
        kinds: list[dict[Any, Any]] = [
            {"x2": c},
            {"x2": lambda x2: x2 + c},
            {"x3": lambda x1: x1.clamp(min=c)},
            {("x2", "x5"): c},
        ]
        return kinds[place % 4]

    return {f"world {place}": world(place, place / WORLDS) for place in range(WORLDS)}


def measure(limit: str | None) -> tuple[float, float]:
    """Seconds, MiB over what was held before (Linux); this process."""
    from tests.bench.table import _peak

    torch.set_num_threads(1)
    fitted, _, truth = fit(chain, 2_000)
    units = truth.sample(UNITS, seed=1)

    def ask(named: dict[str, dict[Any, Any]]) -> None:
        cf = fitted.counterfactual(units, worlds=named, outcome="y", draws=DRAWS, seed=0, memory_limit=limit)
        cf.means("y")

    ask(dict(list(worlds().items())[:2]))  # first-call caches
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before, begun = _peak(), time.process_time()
    ask(worlds())
    return time.process_time() - begun, _peak() - before


def line(limit: str | None) -> str:
    """The README's first line, from a process of its own."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.fitted_worlds", "--alone"]
    command += ["--limit", limit] if limit else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True)
    seconds, peak = map(float, done.stdout.split())
    held = f" under memory_limit={limit}" if limit else ""
    return (
        f"{WORLDS} worlds × {UNITS:,} units × {DRAWS} parameter draws, P(y = 1) of each{held}: {seconds:.1f} s, peak "
        f"{peak:.0f} MiB."
    )


def effects() -> dict[str, tuple[float, pcm.Effect]]:
    """Seconds and answers."""
    torch.set_num_threads(1)
    fitted, people, _ = fit(branching, 500)
    options: dict[str, Any] = {"draws": 256, "seed": 0}
    questions: dict[str, Callable[[], pcm.Effect]] = {
        "ATE of 500 units": lambda: pcm.ate(fitted, "t", "y", data=people, **options),
        "NDE of 500 units": lambda: pcm.nde(fitted, "t", "y", data=people, **options),
        "PNS of 20,000 fresh units": lambda: pcm.probability_of_necessity_and_sufficiency(fitted, "t", "y", **options),
    }
    made = {}
    for name, ask in questions.items():
        begun = time.process_time()
        found = ask()
        made[name] = time.process_time() - begun, found
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", default=None)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        print(*measure(given.limit))
        return
    print(line(given.limit))
    words = [f"{name} {seconds:.1f} s" for name, (seconds, _) in effects().items()]
    print(f"Effects over four branching discrete sites under 256 draws: {', '.join(words)}.")


if __name__ == "__main__":
    main()
