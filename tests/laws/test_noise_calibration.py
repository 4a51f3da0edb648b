"""Simulation-based calibration of fits that know the mechanism, and of two that do not.

Parameters from their priors, n = 5,000 rows by numpy (none of our code), randomised response on the confounder, the
treatment or the outcome at ε = .5, 1, 2. Ranks of the truth among posterior draws are uniform where the model is right
(Talts et al. 2018); they are not where answers pass for values, nor where the keep-probability is off by .03. Levels
are family-wise 1e-4 over all cells. Two quantities: the share of the noised variable, the average effect of t on y."""

from __future__ import annotations

import functools
import math
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
from scipy import stats

import pcm
from pcm import private

SIZE, DRAWS = 5_000, 99
NAMES = ("z0", "t0", "tz", "y0", "yt", "yz")
POSITIONS, LOSSES = ("z", "t", "y"), (0.5, 1.0, 2.0)
LEVEL = 1e-4 / (len(POSITIONS) * len(LOSSES) * 2)
TRUTH = np.array([-0.4, -0.6, 1.2, -1.0, 1.3, 1.0])


@functools.cache
def model(position: str | None, keep: float) -> pcm.SCM:
    rr = mechanism(keep)

    def trial(n: int) -> None:
        z0, t0, tz, y0, yt, yz = (pyro.sample(name, dist.Normal(0.0, 1.0)) for name in NAMES)
        with pyro.plate("units", n):
            z = pyro.sample("z", dist.Bernoulli(logits=z0.expand(n)))
            t = pyro.sample("t", dist.Bernoulli(logits=t0 + tz * z))
            y = pyro.sample("y", dist.Bernoulli(logits=y0 + yt * t + yz * z))
            if position is not None:
                private.observe("answer", {"z": z, "t": t, "y": y}[position], rr)

    return pcm.SCM(trial)


@functools.cache
def mechanism(keep: float) -> private.RandomizedResponse:
    return private.RandomizedResponse(epsilon=math.log(keep / (1 - keep)), categories=[0, 1])


def logistic(value: np.ndarray | float) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.asarray(value))))


def trial_of(theta: np.ndarray, position: str, keep: float, seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    z0, t0, tz, y0, yt, yz = theta

    def toss(chance: np.ndarray) -> np.ndarray:
        return (generator.random(SIZE) < chance).astype(float)

    data = {"z": toss(logistic(z0))}
    data["t"] = toss(logistic(t0 + tz * data["z"]))
    data["y"] = toss(logistic(y0 + yt * data["t"] + yz * data["z"]))
    data["answer"] = np.where(toss(np.full(SIZE, keep)) == 1, data[position], 1 - data[position]).astype(int)
    return data


def quantities(theta: np.ndarray, position: str) -> np.ndarray:
    """Share of the noised variable and average effect ``(…, 2)`` at parameters ``(…, 6)``, by enumeration."""
    z0, t0, tz, y0, yt, yz = np.moveaxis(theta, -1, 0)
    share, effect = 0.0, 0.0
    for z in (0, 1):
        weight = logistic(z0 if z else -z0)
        treated, high, low = logistic(t0 + tz * z), logistic(y0 + yt + yz * z), logistic(y0 + yz * z)
        effect = effect + weight * (high - low)
        share = share + weight * {"z": z, "t": treated, "y": treated * high + (1 - treated) * low}[position]
    return np.stack([share + 0 * effect, effect], -1)


def posterior(data: dict[str, np.ndarray], position: str, told: float | None, seed: int) -> np.ndarray:
    """Draws of the quantities ``(draw, 2)``; ``told`` is the keep-probability assumed, None where the fit is naive."""
    values = {name: data[name] for name in POSITIONS if name != position}
    if told is None:
        values[position] = data["answer"].astype(float)
    else:
        values["answer"] = private.Release(data["answer"], mechanism(told))  # pyright: ignore[reportArgumentType]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pcm.errors.FitWarning)  # a k-hat above .7 now and then, at ε = .5
        fitted = model(None if told is None else position, told or 0.7).fit(
            values, draws=DRAWS, seed=seed, progress=False
        )
    assert fitted.posterior is not None
    return quantities(np.stack([fitted.posterior[name].numpy() for name in NAMES], -1), position)


def levels(position: str, epsilon: float, off: float | None, number: int) -> np.ndarray:
    """P-values of uniform ranks, a quantity each; ``off`` is by how much the mechanism is misstated, None naive."""
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    ranks = np.zeros((number, 2), int)
    for seed in range(number):
        theta = np.random.default_rng([seed, POSITIONS.index(position), int(10 * epsilon)]).normal(size=6)
        data = trial_of(theta, position, keep, seed)
        draws = posterior(data, position, None if off is None else keep + off, seed)
        ranks[seed] = (draws < quantities(theta, position)).sum(0)
    if number < 200:  # few: their dispersion alone, the sum of squared normal scores
        squares = (stats.norm.ppf((ranks + 0.5) / (DRAWS + 1)) ** 2).sum(0)
        return 2 * np.minimum(stats.chi2.cdf(squares, number), stats.chi2.sf(squares, number))
    counts = [np.bincount(ranks[:, place] * 20 // (DRAWS + 1), minlength=20) for place in range(2)]
    return np.array([stats.chisquare(count).pvalue for count in counts])


def covered(position: str, epsilon: float, number: int, naive: int) -> tuple[float, float]:
    """How often the 90 % interval of the effect holds the truth: of the fit that knows, and of the naive one."""
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    true = quantities(TRUTH, position)[1]
    hits = np.zeros(2)
    for seed in range(number):
        data = trial_of(TRUTH, position, keep, 10_000 + seed)
        for which, told in enumerate((keep, None) if seed < naive else (keep,)):
            low, high = np.quantile(posterior(data, position, told, seed)[:, 1], [0.05, 0.95])
            hits[which] += low <= true <= high
    return hits[0] / number, hits[1] / naive


def test_ranks_are_uniform_for_the_fit_that_knows_and_not_for_the_naive_one() -> None:
    assert (levels("z", 1.0, 0.0, 16) > LEVEL).all()
    assert (levels("z", 1.0, None, 12) < LEVEL).any()


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", LOSSES)
@pytest.mark.parametrize("position", POSITIONS)
def test_calibration_by_simulation(position: str, epsilon: float) -> None:
    found = levels(position, epsilon, 0.0, 400)
    assert (found > LEVEL).all(), found
    naive, misstated = levels(position, epsilon, None, 60), levels(position, epsilon, 0.03, 60)
    print(f"{position}, ε = {epsilon}: aware {found}, naive {naive}, keep misstated {misstated}")
    assert naive.min() < LEVEL and misstated.min() < LEVEL, (naive, misstated)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 2.0])
@pytest.mark.parametrize("position", POSITIONS)
def test_coverage_at_fixed_truth(position: str, epsilon: float) -> None:
    """.90 ± .05 of the average effect at nominal .90 over 200; the naive interval far below where z or t is noised."""
    aware, naive = covered(position, epsilon, 200, 50)
    print(f"{position}, ε = {epsilon}: covered {aware:.3f}, naive {naive:.3f}")
    assert 0.85 <= aware <= 0.95
    assert naive < 0.6
