"""Gumbel-max of counts: draws and means of 1,000 units whose count would be another, by how wide its law spreads.

``python -m tests.bench.races`` prints one line a law. Seconds are of the processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

import pcm
from pcm.couplings import resolve
from pcm.couplings.arrivals import GROUP
from pcm.couplings.window import window_of

__all__ = ["LAWS", "line"]

UNITS, DRAWS = 1_000, 256

LAWS: dict[str, Callable[[Tensor], Any]] = {
    "Poisson, mean 2.7": lambda dose: dist.Poisson(torch.exp(1.0 + 0.5 * dose)),
    "Geometric, mean 99": lambda dose: dist.Geometric(logits=-4.6 + 0.1 * dose),
    "Poisson, mean 20,000": lambda dose: dist.Poisson(20_000.0 * torch.exp(0.01 * dose)),
    "Geometric, mean 1,000": lambda dose: dist.Geometric(logits=-6.9 + 0.1 * dose),
}
"""What they are at dose 0."""


def line(name: str) -> str:
    """One law's line."""
    law = LAWS[name]

    def program(n: int) -> None:
        with pyro.plate("units", n, dim=-1):
            dose = pyro.sample("dose", dist.Normal(0.0, 1.0))
            pyro.sample("count", law(dose))

    scm = pcm.SCM(program, couplings={"count": "gumbel_max"})
    people = scm.sample(UNITS, seed=0)
    scm.counterfactual(people[:10], do={"dose": 1.0}).draws("count")
    asked = scm.counterfactual(people, do={"dose": 1.0}, draws=DRAWS, seed=0)
    mean, draws = (_seconds(lambda ask=ask: ask("count")) for ask in (asked.mean, asked.draws))
    wide = window_of(resolve(law(torch.ones((), dtype=torch.float64)))[1]).groups * GROUP
    return f"{name}: {wide:,.0f} outcomes, mean of {UNITS:,} units {mean:.2f} s, {DRAWS} draws of each {draws:.2f} s."


def _seconds(ask: Callable[[], Any]) -> float:
    begun = time.process_time()
    ask()
    return time.process_time() - begun


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("\n".join(line(name) for name in LAWS))
