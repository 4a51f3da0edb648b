"""Fits with holes: they recover what was true, say how, and refuse or warn where they cannot."""

from __future__ import annotations

import itertools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.errors import EvidenceError, FitError


def chain(n):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    c = pyro.sample("c", dist.Normal(0.0, 1.0))
    spread = pyro.sample("spread", dist.LogNormal(0.0, 0.5))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.5, 1.0))
        t = pyro.sample("t", dist.Bernoulli(logits=a * x))
        m = pyro.sample("m", dist.Normal(b * t - 0.5 * x, spread))
        pyro.sample("y", dist.Normal(c * m + x, 0.7))


TRUTH = {"a": 0.8, "b": 1.2, "c": -0.6, "spread": 0.9}


@pytest.fixture(scope="module")
def patchy():
    frame = pcm.SCM(chain).given(TRUTH).sample(400, seed=2).astype(float)
    return frame, frame.mask(np.random.default_rng(1).random(frame.shape) < 0.3)


def test_cells_missing_at_random_cost_width_and_nothing_else(patchy):
    frame, _ = patchy
    frame = frame.iloc[:200]
    holes = frame.assign(x=frame["x"].mask(np.random.default_rng(5).random(200) < 0.3))
    fits = [pcm.SCM(chain).fit(data, seed=0, progress=False, draws=200) for data in (holes, frame)]
    for name, value in TRUTH.items():
        mean, sd = float(fits[0].posterior.mean(name)), float(fits[0].posterior[name].std())
        assert abs(mean - value) < 3 * sd and sd > 0.9 * float(fits[1].posterior[name].std())
    cf = fits[0].counterfactual(holes.iloc[:20], do={"t": 1.0}, draws=50, seed=0)
    assert np.isfinite(cf.mean("y")).all()
    assert any("missing at random" in note for note in cf.account.notes)
    assert any("quadrature" in note for note in cf.account.notes)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["laplace", "svi"])
def test_thirty_percent_of_cells_at_random_cost_width_and_nothing_else(patchy, method):
    frame, holes = patchy
    options = {"steps": 60} if method == "svi" else {}
    if method == "svi":
        holes = holes.iloc[:120]
    fitted = pcm.SCM(chain).fit(holes, method, seed=0, progress=False, **options)
    for name, value in TRUTH.items():
        mean, sd = float(fitted.posterior.mean(name)), float(fitted.posterior[name].std())
        assert abs(mean - value) < 3 * sd
    if method == "laplace":
        full = pcm.SCM(chain).fit(frame, seed=0, progress=False)
        ratios = [float(fitted.posterior[name].std() / full.posterior[name].std()) for name in TRUTH]
        assert all(1.0 < ratio < 3.0 for ratio in ratios)
        words = fitted.posterior.diagnostics["missing"]
        assert any("closed form (Gaussian)" in line for line in words)
        assert any("quadrature" in line for line in words)
        cf = fitted.counterfactual(holes.iloc[:20], do={"t": 1.0}, draws=50, seed=0)
        assert np.isfinite(cf.mean("y")).all()
        assert any("missing at random" in note for note in cf.account.notes)


def test_units_that_are_alike_are_summed_once_and_nothing_changes():
    def survey(n):
        p = pyro.sample("p", dist.Beta(1.0, 1.0))
        lift = pyro.sample("lift", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Bernoulli(p))
            pyro.sample("told", dist.Bernoulli(0.25 + 0.5 * x))
            pyro.sample("y", dist.Bernoulli(logits=lift * x - 0.5))

    frame = pcm.SCM(survey).given(p=0.3, lift=1.0).sample(5000, seed=0).drop(columns="x")
    from pcm.query.likelihood import target_of

    target, marginal = target_of(pcm.SCM(survey)._model, frame)
    assert marginal is not None and sum(part.space.units for part in marginal.parts) == 4
    p, lift = 0.4, 0.7
    chance = np.array([[0.75, 0.25], [0.25, 0.75]])  # told given x
    outcome = np.array([[1 - q, q] for q in (1 / (1 + np.exp(0.5)), 1 / (1 + np.exp(0.5 - lift)))])
    cells = np.einsum("x,xt,xy->ty", [1 - p, p], chance, outcome)
    counts = np.zeros((2, 2))
    np.add.at(counts, (frame["told"].to_numpy(int), frame["y"].to_numpy(int)), 1)
    prior = -0.5 * lift**2 - 0.5 * np.log(2 * np.pi)
    truth = (counts * np.log(cells)).sum() + prior
    assert (
        abs(
            float(
                target.log_density(
                    {"p": torch.tensor(p, dtype=torch.float64), "lift": torch.tensor(lift, dtype=torch.float64)}
                )
            )
            - truth
        )
        <= 1e-8
    )


def test_three_dimensions_are_simulated_and_near_the_truth():
    def tangled(n):
        k = pyro.sample("k", dist.Normal(1.0, 0.5))
        with pyro.plate("units", n):
            u = pyro.sample("u", dist.Normal(0.0, 1.0))
            v = pyro.sample("v", dist.Normal(0.0, 1.0))
            w = pyro.sample("w", dist.Normal(0.0, 1.0))
            pyro.sample("p", dist.Bernoulli(logits=k * u + v - w))
            pyro.sample("q", dist.Bernoulli(logits=k * w + u * v))

    frame = pcm.SCM(tangled).given(k=1.2).sample(40, seed=0)[["p", "q"]].astype(float)
    frame["q"] += 0.0
    from pcm.query.likelihood import target_of

    target, marginal = target_of(pcm.SCM(tangled)._model, frame)
    assert marginal is not None and "fixed draws in 3 dimensions" in marginal.account[0]
    at, weight = np.polynomial.hermite_e.hermegauss(40)
    weight = weight / weight.sum()
    u, v, w = np.meshgrid(at, at, at, indexing="ij")
    mass = np.einsum("i,j,k->ijk", weight, weight, weight)

    def truth(k):
        one, two = 1 / (1 + np.exp(-(k * u + v - w))), 1 / (1 + np.exp(-(k * w + u * v)))
        cells = {
            (p, q): np.log((mass * (one if p else 1 - one) * (two if q else 1 - two)).sum())
            for p, q in itertools.product((0, 1), repeat=2)
        }
        prior = -0.5 * ((k - 1) / 0.5) ** 2 - np.log(0.5 * np.sqrt(2 * np.pi))
        return prior + sum(cells[int(p), int(q)] for p, q in frame.to_numpy())

    for k in (0.8, 1.3):
        assert abs(float(target.log_density({"k": torch.tensor(k, dtype=torch.float64)})) - truth(k)) < 0.5


def test_a_laplace_noised_covariate_of_a_logistic_outcome():
    def clinic(n):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("w", dist.Laplace(x, 1.0))
            pyro.sample("y", dist.Bernoulli(logits=slope * x))

    from scipy import integrate, special, stats

    from pcm.query.likelihood import target_of

    frame = pcm.SCM(clinic).given(slope=1.0).sample(20, seed=0).drop(columns="x")
    target, marginal = target_of(pcm.SCM(clinic)._model, frame)
    assert marginal is not None and "quadrature" in marginal.account[0]
    truth = stats.norm.logpdf(0.8)
    for w, y in frame[["w", "y"]].to_numpy():
        ends = sorted([-12.0, w, 12.0])
        parts = [
            integrate.quad(
                lambda x, w=w, y=y: stats.norm.pdf(x) * stats.laplace.pdf(w, x) * special.expit((2 * y - 1) * 0.8 * x),
                low,
                high,
                epsrel=1e-12,
            )[0]
            for low, high in itertools.pairwise(ends)
        ]
        truth += np.log(sum(parts))
    assert abs(float(target.log_density({"slope": torch.tensor(0.8, dtype=torch.float64)})) - truth) <= 1e-7


def test_a_column_that_nothing_observed_depends_on_is_refused_by_name(patchy):
    _, holes = patchy
    with pytest.raises(EvidenceError, match="lacks the variable y, and nothing that it has depends on them"):
        pcm.SCM(chain).fit(holes.drop(columns="y"), progress=False)


def test_what_a_latent_leaves_unidentified_is_refused_by_name():
    def redundant(n):
        shift = pyro.sample("shift", dist.Normal(0.0, 1e9))
        offset = pyro.sample("offset", dist.Normal(0.0, 1e9))
        with pyro.plate("units", n):
            u = pyro.sample("u", dist.Normal(shift, 1.0))
            pyro.sample("y", dist.Normal(u + offset, 1.0))

    with pytest.raises(FitError, match="shift, offset are not identified"):
        pcm.SCM(redundant).fit({"y": np.linspace(-1.0, 1.0, 30)}, progress=False)


@pytest.mark.slow
def test_simulation_based_calibration_with_inner_cells_missing():
    """Ranks of the true parameters among the draws are uniform, by chi-square at 1e-4 over the family."""
    from scipy import stats

    ranks = []
    for run in range(120):
        rng = torch.Generator().manual_seed(run)
        true = {name: float(torch.randn((), generator=rng)) for name in ("a", "b", "c")}
        true["spread"] = float(torch.exp(0.5 * torch.randn((), generator=rng)))
        frame = pcm.SCM(chain).given(true).sample(80, seed=run).astype(float)
        holes = frame.mask(np.random.default_rng(run).random(frame.shape) < [0.3, 0.3, 0.3, 0.0])
        fitted = pcm.SCM(chain).fit(holes, seed=run, progress=False, draws=199)
        ranks.append([int((fitted.posterior[name] < value).sum()) for name, value in true.items()])
    for column in np.array(ranks).T:
        counts = np.bincount(column // 20, minlength=10)
        assert stats.chisquare(counts).pvalue > 1e-4 / 4
