"""Fitting with holes: what is missing is integrated out."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.query.likelihood import target_of
from pcm_models import nhefs


def mixture(n):
    p = pyro.sample("p", dist.Beta(2.0, 2.0))
    mu = pyro.sample("mu", dist.Normal(torch.tensor([-1.0, 1.0]), 0.5).to_event(1))
    with pyro.plate("units", n):
        z = pyro.sample("z", dist.Bernoulli(p))
        y = pyro.sample("y", dist.Normal(mu[z.long()], 0.7))
        pyro.sample("k", dist.Normal(y, 1.0))


@pytest.fixture(scope="module")
def frame():
    return pcm.SCM(mixture).given(p=0.3, mu=[-1.2, 1.5]).sample(300, seed=0).astype(float)


def density(frame, parameters):
    target, _ = target_of(pcm.SCM(mixture)._model, frame)
    return float(target.log_density({name: torch.tensor(value).double() for name, value in parameters.items()}))


def test_the_density_is_the_sum_over_what_is_missing(frame):
    """log p(theta) + Σ log Σ_z p(z) N(y; mu_z, .7), and nothing for a missing leaf: by scipy, to 1e-9."""
    from scipy import stats

    holes = frame.copy()
    holes.loc[50:, "z"] = np.nan
    holes.loc[20:40, "k"] = np.nan
    p, mu = 0.35, np.array([-0.8, 1.2])
    truth = stats.beta(2, 2).logpdf(p) + stats.norm([-1, 1], 0.5).logpdf(mu).sum()
    for _, row in holes.iterrows():
        each = np.array([1 - p, p]) * stats.norm(mu, 0.7).pdf(row["y"])
        truth += np.log(each.sum() if np.isnan(row["z"]) else each[int(row["z"])])
        truth += 0.0 if np.isnan(row["k"]) else stats.norm(row["y"], 1.0).logpdf(row["k"])
    assert abs(density(holes, {"p": p, "mu": mu}) - truth) <= 1e-9 * abs(truth)


def test_a_fit_with_hidden_labels_finds_the_mixture(frame):
    holes = frame.assign(z=np.nan)
    fitted = pcm.SCM(mixture).fit(holes, seed=0, progress=False)
    mean, sd = fitted.posterior.mean("mu"), fitted.posterior["mu"].std(0)
    assert bool(((mean - torch.tensor([-1.2, 1.5])).abs() < 4 * sd).all())
    cf = fitted.counterfactual(holes.iloc[:20], do={"z": 1.0}, seed=1)
    assert np.isfinite(cf.mean("y")).all()


def test_a_continuous_cause_that_is_missing_is_integrated_out_with_its_discrete_cause(frame):
    """k given z is N(mu_z, sqrt(.7² + 1)) without y; where z is missing as well, a mixture of the two."""
    from scipy import stats

    holes = frame.copy()
    holes.loc[100:, "y"] = np.nan
    holes.loc[200:, "z"] = np.nan
    p, mu = 0.35, np.array([-0.8, 1.2])
    truth = stats.beta(2, 2).logpdf(p) + stats.norm([-1, 1], 0.5).logpdf(mu).sum()
    for z, y, k in holes[["z", "y", "k"]].to_numpy():
        seen = stats.norm(mu, 1.49**0.5).pdf(k) if np.isnan(y) else stats.norm(mu, 0.7).pdf(y) * stats.norm(y).pdf(k)
        each = np.array([1 - p, p]) * seen
        truth += np.log(each.sum() if np.isnan(z) else each[int(z)])
    assert abs(density(holes, {"p": p, "mu": mu}) - truth) <= 1e-9 * abs(truth)


def test_the_63_people_of_nhefs_whose_weight_change_was_never_recorded():
    from causaldata import nhefs as source

    raw = source.load_pandas().data
    frame = raw[[*nhefs.BASELINE, "qsmk", "wt82_71"]].copy()
    for name in frame.select_dtypes("category"):
        frame[name] = frame[name].cat.codes
    frame = frame.astype(float).set_index(raw["seqn"].astype(int))
    lost = frame[frame["wt82_71"].isna()]
    assert len(lost) == 63
    fitted = pcm.SCM(nhefs.program, categories=nhefs.categories).fit(frame, seed=0, progress=False)
    cf = fitted.counterfactual(lost, worlds={"quit": {"qsmk": 1}, "on": {"qsmk": 0}}, seed=0, draws=400)
    bounds = cf.interval("wt82_71", 0.9, "quit")
    width = bounds[:, 1] - bounds[:, 0]
    spread = float(fitted.posterior.mean("spread"))
    assert np.allclose(width, 2 * 1.645 * spread, rtol=0.25)  # the noise is unknown, the coefficients nearly known
    effect = cf.contrast("wt82_71", "quit", "on").mean
    assert 2.0 < effect.mean() < 5.0 and (cf.mean("wt82_71", "factual") > bounds[:, 0]).all()
