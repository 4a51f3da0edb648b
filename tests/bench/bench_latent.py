"""The latent confounder: ``A`` never recorded, Y had A been 0 with 256 draws, at 1,000 and at 100,000 units.

The truth is algebra: A given a unit is Gaussian, and Y had A been 0 is Y less its total effect times A. The mean and sd
that a query hands out, and those of its 256 draws (whose mean has an error of 1/√256 = .0625 of a standard deviation by
chance alone), are compared with it.
"""

from __future__ import annotations

import numpy as np
import pytest

import pcm
from pcm_models.latent_confounder import program
from tests.bench.timing import interleaved

pytestmark = pytest.mark.bench

DRAWS, EFFECT = 256, 0.3 + 1.2 * 0.8 - 0.9 * 0.7
LIMITS = {1_000: 0.5, 100_000: 5.0}  # seconds


def algebra(seen: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """Mean, by unit, and sd of Y had A been 0."""
    e, x, z, y = (seen[name] for name in "EXZY")
    precision = 1 + (0.8 / 0.5) ** 2 + (0.7 / 0.4) ** 2 + (0.3 / 0.7) ** 2
    rest = y - 1.2 * x - 0.9 * z - 0.6 * e
    mean = ((x - 0.5 * e) * 0.8 / 0.5**2 - z * 0.7 / 0.4**2 + rest * 0.3 / 0.7**2) / precision
    return y - EFFECT * mean, EFFECT * precision**-0.5


@pytest.mark.parametrize("units", LIMITS)
def test_latent_confounder(units: int) -> None:
    scm = pcm.SCM(program)
    frame = scm.sample(units, seed=0).drop(columns="A")
    mean, sd = algebra({name: frame[name].to_numpy() for name in frame})

    def query() -> tuple[np.ndarray, np.ndarray]:
        cf = scm.counterfactual(frame, do={"A": 0.0}, draws=DRAWS, seed=0)
        return cf.mean("Y"), cf.sd("Y")

    def drawn() -> np.ndarray:
        return scm.counterfactual(frame, do={"A": 0.0}, draws=DRAWS, seed=0).draws("Y")

    found, spread = query()
    assert np.abs(found - mean).max() <= 1e-8 and np.abs(spread - sd).max() <= 1e-8
    draws = drawn()
    error = np.sqrt(np.mean((draws.mean(0) - mean) ** 2)) / sd
    apart = abs(np.mean(draws.std(0)) / sd - 1)
    times = interleaved([query, drawn], rounds=5)
    print(
        f"\nlatent confounder, {units:,} units: mean and sd {times.median(0) * 1e3:.0f} ms, {DRAWS} draws "
        f"{times.median(1) * 1e3:.0f} ms; their mean is off by {error:.4f} sd, their sd by {apart:.2%}"
    )
    assert error <= 0.065 and apart <= 0.05
    assert max(times.median(0), times.median(1)) <= LIMITS[units]
