"""Fits that know the mechanism cover the truth; fits that take the answers for the truth do not.

Randomised response, ε = 1, on the treatment, on a confounder, on the outcome, and on all three. The fast test checks
centring over a few replications; calibration and coverage are in test_noise_calibration. The estimand is the average
effect of t on y."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm import private

RR = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
SIZE = 4_000


def trial(n: int) -> None:
    normal = dist.Normal(0.0, 2.0)
    z0, t0, tz, y0, yt, yz = (pyro.sample(name, normal) for name in ("z0", "t0", "tz", "y0", "yt", "yz"))
    with pyro.plate("units", n):
        z = pyro.sample("z", dist.Bernoulli(logits=z0.expand(n)))
        t = pyro.sample("t", dist.Bernoulli(logits=t0 + tz * z))
        pyro.sample("y", dist.Bernoulli(logits=y0 + yt * t + yz * z))


SCM = pcm.SCM(trial)
FIXED = SCM.given(z0=-0.4, t0=-0.6, tz=1.2, y0=-1.0, yt=1.3, yz=1.0)


def truth() -> float:
    share = 1 / (1 + math.exp(0.4))

    def chance(t: int, z: int) -> float:
        return 1 / (1 + math.exp(1.0 - 1.3 * t - 1.0 * z))

    return sum(weight * (chance(1, z) - chance(0, z)) for z, weight in ((0, 1 - share), (1, share)))


def replication(noised: str, seed: int) -> tuple[pcm.Effect, pcm.Effect]:
    """Effects by the fit that knows the mechanism, and by the one that takes answers for values."""
    frame = FIXED.sample(SIZE, seed=seed)
    aware, naive = dict(frame), dict(frame)
    for place, name in enumerate(noised):
        answers = RR.simulate(frame[name], seed=1_000 * seed + place).values
        aware[name], naive[name] = private.Release(answers, RR), answers
    fits = [SCM.fit(data, seed=seed, progress=False, draws=150) for data in (aware, naive)]
    return tuple(pcm.ate(fit, "t", "y", seed=0, units=2_000) for fit in fits)  # pyright: ignore[reportReturnType]


def test_on_a_confounder_the_naive_fit_is_biased_away_from_the_truth() -> None:
    found = [replication("z", seed) for seed in range(2)]
    for aware, naive in found:
        assert abs(float(aware) - truth()) < 4 * float(aware.draws.std())
        assert float(naive) > float(aware)
    assert np.mean([float(naive) - truth() for _, naive in found]) > 0.02


@pytest.mark.parametrize("noised", ["t", *(pytest.param(each, marks=pytest.mark.slow) for each in ("y", "zty"))])
def test_the_naive_fit_of_a_noised_treatment_or_outcome_does_not_cover(noised) -> None:
    aware, naive = replication(noised, 11)
    assert abs(float(aware) - truth()) < 4 * float(aware.draws.std())
    low, high = naive.interval(0.99)
    assert not low <= truth() <= high
    assert float(aware.draws.std()) > float(naive.draws.std()), "what the noise hides is not pretended to be known"


@pytest.mark.slow
def test_a_misstated_mechanism_shows() -> None:
    """A keep-probability off by .03 moves the share by far more than its error at 40,000 rows."""

    def shares(n: int) -> None:
        p = pyro.sample("p", dist.Beta(1.0, 1.0))
        with pyro.plate("units", n):
            pyro.sample("smoker", dist.Bernoulli(p))

    off = private.RandomizedResponse(epsilon=math.log((RR.keep + 0.03) / (0.97 - RR.keep)), categories=[0, 1])
    smoker = torch.bernoulli(torch.full((40_000,), 0.3), generator=torch.Generator().manual_seed(0)).long().numpy()
    answers = RR.simulate(smoker, seed=5).values
    found = []
    for mechanism in (RR, off):
        data = {"smoker": private.Release(answers, mechanism)}
        fitted = pcm.SCM(shares).fit(data, seed=0, progress=False)
        draws = torch.as_tensor(fitted.posterior["p"])  # pyright: ignore
        found.append(float((draws.mean() - 0.3).abs() / draws.std()))
    assert found[0] < 3 < 4 < found[1]
