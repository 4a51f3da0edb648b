"""Parameter draws: a fitted model's 256 draws carried through the counterfactual of 20,000 units, three sites.

Floor: torch written by hand, draws broadcast against units, in blocks of draws that stay in the cache (one broadcast
of all of them, as one writes it first, is timed beside it).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import pcm
from tests.bench.timing import interleaved

pytestmark = pytest.mark.bench

DRAWS, UNITS, SETTING, BLOCK = 256, 20_000, 1.0, 16


def program(n: int) -> None:
    level = pyro.sample("level", dist.Normal(0.0, 2.0))
    slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
    effect = pyro.sample("effect", dist.Normal(0.0, 2.0))
    direct = pyro.sample("direct", dist.Normal(0.0, 2.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(level, 1.0))
        m = pyro.sample("m", dist.Normal(slope * x, 0.5))
        pyro.sample("y", dist.Normal(effect * m + direct * x, 1.0))


def units(count: int, seed: int = 0) -> dict[str, Tensor]:
    u = torch.from_numpy(np.random.default_rng(seed).standard_normal((3, count)))
    x = 0.3 + u[0]
    m = 0.8 * x + 0.5 * u[1]
    return {"x": x, "m": m, "y": 0.6 * m - 0.4 * x + u[2]}


@pytest.fixture(scope="module")
def fitted() -> pcm.SCM:
    return pcm.SCM(program).fit(units(500, seed=1), draws=DRAWS, seed=0, progress=False)


@pytest.fixture(scope="module")
def seen() -> dict[str, Tensor]:
    return units(UNITS)


def by_hand(draws: Any, seen: dict[str, Tensor], block: int = DRAWS) -> Tensor:
    """Mean over draws of y had x been 1: abduct, act, predict, ``block`` draws at a time; ``[unit]``."""
    x, m, y = seen["x"], seen["m"], seen["y"]
    total = torch.zeros_like(y)
    for start in range(0, DRAWS, block):
        slope, effect, direct = (draws[name][start : start + block, None] for name in ("slope", "effect", "direct"))
        noise_m = m - slope * x
        noise_y = y - (effect * m + direct * x)
        new_m = slope * SETTING + noise_m
        total += (effect * new_m + direct * SETTING + noise_y).sum(0)
    return total / DRAWS


def algebra(draws: Any, seen: dict[str, Tensor]) -> np.ndarray:
    """The same by its total effect: ``y + (1 - x) mean(effect · slope + direct)``, in extended precision."""
    slope, effect, direct = (draws[name].numpy().astype(np.longdouble) for name in ("slope", "effect", "direct"))
    x, y = (seen[name].numpy().astype(np.longdouble) for name in ("x", "y"))
    return y + (SETTING - x) * (effect * slope + direct).mean()


def test_draws_against_broadcasting_by_hand(fitted: pcm.SCM, seen: dict[str, Tensor]) -> None:
    assert fitted.posterior is not None
    draws = fitted.posterior.draws

    def query() -> np.ndarray:
        return fitted.counterfactual(seen, do={"x": SETTING}, draws=DRAWS, seed=0).mean("y")

    truth = algebra(draws, seen)
    assert np.abs(by_hand(draws, seen).numpy() - truth).max() < 1e-12
    assert np.abs(query() - truth).max() < 1e-12
    times = interleaved([lambda: by_hand(draws, seen, BLOCK), lambda: by_hand(draws, seen), query], rounds=31)
    blocks, whole, mine = (times.median(place) * 1e3 for place in range(3))
    print(
        f"\n{DRAWS} draws × {UNITS:,} units, 3 sites: by hand in blocks {blocks:.1f} ms, in one broadcast "
        f"{whole:.1f} ms, pcm {mine:.1f} ms: {times.ratio(2, 0):.2f} × and {times.ratio(2, 1):.2f} ×"
    )


def test_query_over_draws(benchmark: Any, fitted: pcm.SCM, seen: dict[str, Tensor]) -> None:
    benchmark.pedantic(
        lambda: fitted.counterfactual(seen, do={"x": SETTING}, draws=DRAWS, seed=0).mean("y"),
        rounds=15,
        warmup_rounds=1,
    )
