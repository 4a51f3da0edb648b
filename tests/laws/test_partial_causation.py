"""PN, PS and PNS of units with missing cells: by enumeration of noise types, and by quadrature."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import integrate, special, stats

import pcm
from pcm.errors import EvidenceError, QueryError
from tests.laws.discrete_programs import Discrete

KINDS = {
    "PN": pcm.probability_of_necessity,
    "PS": pcm.probability_of_sufficiency,
    "PNS": pcm.probability_of_necessity_and_sufficiency,
}


@pytest.mark.parametrize("seed", range(3))
def test_every_pattern_of_holes_in_discrete_programs(seed):
    """Also where the treatment has a third value, and where its own cell or the outcome's is missing."""
    made = Discrete.random(seed)
    scm, (weight, noise) = made.scm(), made.types()
    natural = made.world(noise)
    each = pd.DataFrame(natural).drop_duplicates(ignore_index=True).sample(3, random_state=seed).astype(float)
    holes = np.array(list(itertools.product([False, True], repeat=4)))
    rows = pd.concat([each.mask(np.tile(hole, (len(each), 1))) for hole in holes], ignore_index=True)
    rows = rows.rename(index=lambda place: f"unit {place}")
    cells = rows[made.names].to_numpy()[:, :, None]
    fits = (np.isnan(cells) | (cells == np.stack([natural[name] for name in made.names])[None])).all(1) * weight
    fits = fits / fits.sum(1, keepdims=True)
    for treatment, treated in (("v0", 1), ("v1", made.sizes[1] - 1)):
        on, off = (made.world(noise, {treatment: value})["v3"] for value in (treated, 0))
        necessary = (natural[treatment] == treated) & (natural["v3"] == 1)
        sufficient = (natural[treatment] == 0) & (natural["v3"] == 0)
        asked = {
            "PN": (necessary, off == 0),
            "PS": (sufficient, on == 1),
            "PNS": (np.ones_like(necessary), (on == 1) & (off == 0)),
        }
        for kind, (given, hit) in asked.items():
            found = KINDS[kind](scm, treatment, "v3", treated=treated, data=rows, seed=0)
            concerned, share = fits @ given, fits @ (given & hit)
            there = concerned > 0
            assert list(found.units.index) == list(rows.index[there])
            assert np.abs(found.units.mean - share[there] / concerned[there]).max() <= 1e-10
            assert abs(float(found) - share.sum() / concerned.sum()) <= 1e-10
            assert "missing at random" in str(found.account.notes) and len(found.diagnostics) == there.sum()
            assert ("lack their own" in str(found.account.notes)) == (kind != "PNS")


def confounded():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    t = pyro.sample("t", dist.Bernoulli(logits=0.8 * a))
    pyro.sample("y", dist.Bernoulli(logits=1.2 * t + a - 0.5))


def mean_over_a(value, given):
    """E[value(a) given(a)] under the prior of a."""
    return integrate.quad(lambda a: value(a) * given(a) * stats.norm.pdf(a), -12, 12, epsabs=1e-13, limit=200)[0]


def test_a_hidden_confounder_by_quadrature():
    """Of units seen in full but for the confounder, and of units that lack the treatment or the outcome besides."""
    scm = pcm.SCM(confounded)
    treated, on, off = (
        (lambda a: special.expit(0.8 * a)),
        (lambda a: special.expit(a + 0.7)),
        lambda a: special.expit(a - 0.5),
    )
    frame = pd.DataFrame(
        {"t": [1.0, 1.0, np.nan, np.nan, 0.0, 0.0], "y": [1.0, np.nan, 1.0, np.nan, 0.0, 1.0]}, index=list("abcdef")
    )

    def both(a):  # P(T = 1, Y = 1 | a)
        return treated(a) * on(a)

    seen = {  # what the cells of each unit say of a
        "a": both,
        "b": treated,
        "c": lambda a: both(a) + (1 - treated(a)) * off(a),
        "d": lambda a: 1.0,
    }
    necessity = mean_over_a(lambda a: 1 - off(a) / on(a), both) / mean_over_a(lambda a: 1.0, both)
    weights = {unit: mean_over_a(lambda a: 1.0, both) / mean_over_a(lambda a: 1.0, seen[unit]) for unit in seen}
    found = pcm.probability_of_necessity(scm, "t", "y", data=frame, seed=0, draws=4_000)
    assert list(found.units.index) == list(weights)
    assert np.abs(found.units.mean - necessity).max() <= 1e-9  # all are asked given T = 1 and Y = 1
    assert abs(float(found) - necessity) <= 1e-9
    share = sum(weights.values()) - 1  # of those who lack a cell; drawn, where the average needs draws
    words = next(note for note in found.account.notes if "lack their own" in note)
    assert words.startswith("3 units lack their own t or y") and "given t = 1 and y = 1" in words
    assert abs(float(words.split("probable that is, ")[1].split()[0]) - share) <= 0.05

    no = lambda a: (1 - treated(a)) * (1 - off(a))  # noqa: E731
    sufficiency = mean_over_a(lambda a: (on(a) - off(a)) / (1 - off(a)), no) / mean_over_a(lambda a: 1.0, no)
    ps = pcm.probability_of_sufficiency(scm, "t", "y", data=frame.iloc[[4]], seed=0)
    assert abs(float(ps) - sufficiency) <= 1e-9
    pns = pcm.probability_of_necessity_and_sufficiency(scm, "t", "y", data=frame.iloc[[0, 4, 5]], seed=0)
    assert np.abs(pns.units.mean - [necessity, sufficiency, 0.0]).max() <= 1e-9
    lone = pcm.probability_of_necessity_and_sufficiency(scm, "t", "y", data=frame.iloc[[3]], seed=0, draws=20_000)
    assert abs(float(lone) - mean_over_a(lambda a: on(a) - off(a), lambda a: 1.0)) <= 0.01


def linear():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    t = pyro.sample("t", dist.Bernoulli(logits=a))
    m = pyro.sample("m", dist.Normal(0.8 * t + 0.5 * a, 0.6))
    b = pyro.sample("b", dist.Normal(0.7 * m, 0.5))
    pyro.sample("y", dist.Bernoulli(special_ndtr(m - 0.3 * b)))


def special_ndtr(x):
    return torch.special.ndtr(x).clamp(1e-12, 1 - 1e-12)


def test_a_missing_mediator_by_quadrature():
    """Its noise is abducted: untreated, this unit's mediator would be 0.8 less and b 0.56 less."""
    unit = {"a": 0.4, "t": 1.0, "b": 0.9, "y": 1.0}

    def density(m):
        return stats.norm.pdf(m, 1.0, 0.6) * stats.norm.pdf(0.9, 0.7 * m, 0.5) * stats.norm.cdf(m - 0.27)

    def fails(m):  # P(Y_c = 0 | Y = 1, m), monotone
        return max(0.0, 1 - stats.norm.cdf((m - 0.8) - 0.3 * (0.9 - 0.56)) / stats.norm.cdf(m - 0.27))

    truth = integrate.quad(lambda m: density(m) * fails(m), -6, 8, epsabs=1e-13, limit=200)[0]
    truth /= integrate.quad(density, -6, 8, epsabs=1e-13, limit=200)[0]
    found = pcm.probability_of_necessity(pcm.SCM(linear), "t", "y", data=pd.DataFrame([unit]), seed=0)
    assert abs(float(found) - truth) <= 1e-8
    assert "integration" in found.account.sites["m"].abduction

    # both a and m missing: importance resampled, k-hat and effective sample size reported
    def over(value):
        inner = lambda m, a: (  # noqa: E731
            stats.norm.pdf(a)
            * special.expit(a)
            * stats.norm.pdf(m, 0.8 + 0.5 * a, 0.6)
            * density(m)
            / stats.norm.pdf(m, 1.0, 0.6)
            * value(m)
        )
        grid_m, grid_a = np.linspace(-3, 5, 401), np.linspace(-5, 5, 201)
        return sum(inner(m, grid_a).sum() for m in grid_m)

    truth = over(fails) / over(lambda m: 1.0)
    hidden = pd.DataFrame([unit], index=["Ann"]).drop(columns=["a", "m"], errors="ignore")
    found = pcm.probability_of_necessity(pcm.SCM(linear), "t", "y", data=hidden, seed=0, draws=4_000)
    assert abs(float(found) - truth) <= 0.01
    assert found.diagnostics.loc["Ann", "method"] == "importance" and found.account.khat < 0.7
    assert found.account.ess > 100 and not found.diagnostics["flagged"].any()


def test_under_parameter_draws_it_is_the_average_over_given_models():
    def program(n):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            z = pyro.sample("z", dist.Bernoulli(0.4))
            t = pyro.sample("t", dist.Bernoulli(0.3 + 0.4 * z))
            pyro.sample("y", dist.Bernoulli(logits=effect * t + z - 0.5))

    scm = pcm.SCM(program)
    frame = scm.given(effect=1.5).sample(200, seed=0).astype(float)
    fitted = scm.fit(frame, seed=0, draws=10, progress=False)
    hidden = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.4).iloc[:30]
    for ask in KINDS.values():
        found = ask(fitted, "t", "y", data=hidden, draws=10, seed=1)
        each = [
            ask(scm.given(effect=float(effect)), "t", "y", data=hidden) for effect in fitted.posterior.draws["effect"]
        ]
        assert np.allclose(found.draws, [float(one) for one in each], atol=1e-10)
        assert np.allclose(found.units.draws, [one.units.mean for one in each], atol=1e-10)


def test_what_cannot_be_conditioned_on_is_refused_by_name():
    def computed():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        t = pyro.sample("t", dist.Bernoulli(0.5))
        y = pyro.sample("y", dist.Poisson(torch.exp(0.3 * a + 0.5 * t)))
        pyro.deterministic("ill", (y > 1) * 1.0)

    scm = pcm.SCM(computed)
    with pytest.raises(EvidenceError, match=r"'?ill'?.*open for 1 units \(first: 1\)"):
        pcm.probability_of_necessity(scm, "t", "ill", data={"a": [0.0, 0.1], "t": [1.0, 1.0], "y": [3.0, np.nan]})
    with pytest.raises(EvidenceError, match="'y' has more than two values and is missing for 1 units"):
        pcm.probability_of_sufficiency(scm, "t", "y", data={"a": [0.0, 0.1], "t": [0.0, 0.0], "y": [3.0, np.nan]})
    with pytest.raises(QueryError, match="nobody"):
        pcm.probability_of_necessity(scm, "t", "y", data={"a": [0.0], "t": [0.0], "y": [np.nan]})


def test_intervals_and_flags():
    """A cell known to lie in an interval is conditioned on too."""
    scm = pcm.SCM(confounded)
    frame = {"a": [pcm.Interval(0.5, 1.5)], "t": [1.0], "y": [1.0]}

    def given(a):
        return special.expit(0.8 * a) * special.expit(a + 0.7) * stats.norm.pdf(a)

    def fails(a):
        return 1 - special.expit(a - 0.5) / special.expit(a + 0.7)

    truth = integrate.quad(lambda a: fails(a) * given(a), 0.5, 1.5)[0] / integrate.quad(given, 0.5, 1.5)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pcm.probability_of_necessity(scm, "t", "y", data=frame, seed=0)
    assert abs(float(found) - truth) <= 1e-8 and found.diagnostics["intervals"].tolist() == [1]
    assert pcm.probability_of_necessity(scm, "t", "y", data={"a": [0.5], "t": [1.0], "y": [1.0]}).diagnostics is None
