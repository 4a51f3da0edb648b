"""Intervals of some values of a vector: what scalar sites say of them, truncated normals, numerical integration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import integrate, stats

import pcm
from pcm import Interval
from pcm.errors import DataError, EvidenceError
from pcm.program import Program
from pcm.query.likelihood import target_of
from pcm.query.model import Model

NAN = float("nan")
COVARIANCE = np.array([[1.0, 0.8], [0.8, 2.0]])


# -- independent values: what scalar sites say -------------------------------------------------------------------------


def doses(form, law=None):
    """a above two independent values above y; in three forms of the same program."""

    def program(n):
        slope = pyro.sample("slope", dist.Normal(1.0, 0.5))
        with pyro.plate("units", n):
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
            fn = law or (lambda loc: dist.Normal(loc, 0.8))
            if form == "event":
                x, z = pyro.sample("v", fn(torch.stack([slope * a, -a], -1)).to_event(1)).unbind(-1)
            elif form == "plate":
                with pyro.plate("values", 2, dim=-2):
                    x, z = pyro.sample("v", fn(torch.stack([slope * a, -a])))
            else:
                x, z = pyro.sample("x", fn(slope * a)), pyro.sample("z", fn(-a))
            pyro.sample("y", dist.Normal(x - 0.5 * z, 0.7))

    return program


ROWS = pd.DataFrame(
    {
        "a": [0.3, -0.5, 1.0, NAN, 0.2, 0.4],
        "x": [Interval(0.2, 1.5), 0.4, Interval(low=0.8), 0.7, NAN, Interval(0.1, 0.4)],
        "z": [0.6, Interval(0.5, 0.9), NAN, Interval(high=2.0), Interval(0.3, 1.0), Interval(1.0, 2.0)],
        "y": [0.1, -0.2, NAN, 0.3, NAN, 0.4],
    },
    dtype=object,
)
LAWS = {"normal": None, "skewed": lambda loc: dist.LogNormal(0.5 * loc, 0.4)}


@pytest.mark.parametrize("form", ["event", "plate"])
@pytest.mark.parametrize("law", LAWS)
def test_independent_values_are_what_scalar_sites_are(form, law):
    scalar, vector = (pcm.SCM(doses(each, LAWS[law])).given(slope=0.9) for each in ("scalar", form))
    data = ROWS.rename(columns={"x": "v[0]", "z": "v[1]"})
    asked = {"do": {"a": 0.0}, "seed": 0, "draws": 2000}
    one, other = scalar.counterfactual(ROWS, **asked), vector.counterfactual(data, **asked)
    assert one.diagnostics["method"].tolist() == other.diagnostics["method"].tolist()
    exact = [0, 1]  # one number open: integrated
    for name, place, world in (("x", 0, "factual"), ("z", 1, "factual"), ("x", 0, "do"), ("z", 1, "do")):
        known, found = one.mean(name, world), other.mean("v", world)[:, place]
        spread, width = one.sd(name, world), other.sd("v", world)[:, place]
        assert np.allclose(found[exact], known[exact], rtol=0, atol=1e-10)
        assert np.allclose(width[exact], spread[exact], rtol=0, atol=1e-10)
        assert (np.abs(found - known) <= 1e-9 + 5 * spread / 700**0.5).all()
    assert np.allclose(other.mean("y")[exact], one.mean("y")[exact], rtol=0, atol=1e-10)
    low, high = (np.array([[getattr(cell, end, cell) for cell in row] for row in ROWS[["x", "z"]].to_numpy()])
                 for end in ("low", "high"))  # fmt: skip
    draws = other.draws("v", "factual")
    assert ((draws >= low) | np.isnan(low)).all() and ((draws <= high) | np.isnan(high)).all()
    assert "v is known to lie in an interval for 6 of 6 units" in other.account.notes


def likelihoods(form, law, rows):
    """Of the scalar program and of one with vectors, at two slopes."""
    data = rows.rename(columns={"x": "v[0]", "z": "v[1]"})
    targets = [target_of(Model(Program(doses(f, LAWS[law]))), d)[0] for f, d in (("scalar", rows), (form, data))]
    with torch.no_grad():
        return [[float(t.log_density({"slope": torch.tensor(slope)})) for slope in (0.4, 1.3)] for t in targets]


@pytest.mark.parametrize(("form", "law"), [("event", "skewed")])
def test_the_likelihood_of_a_fit_is_what_scalar_sites_have(form, law):
    one, other = likelihoods(form, law, ROWS.iloc[:1])
    assert other == pytest.approx(one, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["event", "plate"])
@pytest.mark.parametrize("law", LAWS)
def test_the_likelihood_of_every_pattern_is_what_scalar_sites_have(form, law):
    one, other = likelihoods(form, law, ROWS)
    assert other == pytest.approx(one, abs=1e-6)


def test_a_leaf_is_truncated_value_by_value():
    """Nothing below: each value has its mechanism's truncated law, whatever the others lack."""

    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("v", dist.Normal(torch.stack([a, 2 * a, 0 * a], -1), 0.7).to_event(1))

    rows = [[0.1, Interval(0.0, 1.0), Interval(low=1.0)], [Interval(2.0, 3.0), NAN, 0.4]]
    cf = pcm.SCM(program).counterfactual({"a": [0.5, 0.5], "v": rows}, do={"a": 0.0}, draws=4000, seed=0)
    centre, draws = np.array([0.5, 1.0, 0.0]), cf.draws("v", "factual")
    ends = {(0, 1): (0.0, 1.0), (0, 2): (1.0, np.inf), (1, 0): (2.0, 3.0), (1, 1): (-np.inf, np.inf)}
    for (row, place), (low, high) in ends.items():
        law = stats.truncnorm((low - centre[place]) / 0.7, (high - centre[place]) / 0.7, loc=centre[place], scale=0.7)
        assert stats.kstest(draws[:, row, place], law.cdf).pvalue > 1e-4
    assert (draws[:, 0, 0] == 0.1).all() and (draws[:, 1, 2] == 0.4).all()
    assert cf.account.sites["v"].abduction == "its mechanism truncated to the interval; exact"


def test_the_evidence_of_an_interval_reaches_what_is_above():
    """a | v₀ in [1, 2], v₁ > 0 by scipy; v itself is drawn afterwards."""

    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("v", dist.Normal(torch.stack([a, -a, a], -1), 0.5).to_event(1))

    cf = pcm.SCM(program).counterfactual({"v": [[Interval(1.0, 2.0), Interval(low=0.0), NAN]]}, do={"a": 0.0}, seed=0)

    def joint(a):
        first = stats.norm.cdf(2, a, 0.5) - stats.norm.cdf(1, a, 0.5)
        return stats.norm.pdf(a) * first * stats.norm.sf(0, -a, 0.5)

    whole = integrate.quad(joint, -6, 6)[0]
    draws, mean = cf.draws("a", "factual")[:, 0], integrate.quad(lambda a: a * joint(a), -6, 6)[0] / whole
    assert cf.diagnostics["method"].tolist() == ["quadrature"]
    assert draws.mean() == pytest.approx(mean, abs=5 * draws.std() / 256**0.5)


# -- counts ------------------------------------------------------------------------------------------------------------


def test_counts_of_a_plate_in_intervals():
    """Gamma rate, four Poisson visits in classes: the rate's posterior by scipy."""

    def program():
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        with pyro.plate("visits", 4, dim=-2):
            pyro.sample("count", dist.Poisson(rate))

    cf = pcm.SCM(program).counterfactual(
        {"count": [[3.0, Interval(2, 5), Interval(low=4), NAN]]}, do={"rate": 1.0}, draws=400, seed=0
    )

    def joint(r):
        law = stats.poisson(r)
        return stats.gamma.pdf(r, 2) * law.pmf(3) * (law.cdf(5) - law.cdf(1)) * law.sf(3)

    mean = integrate.quad(lambda r: r * joint(r), 0, 60)[0] / integrate.quad(joint, 0, 60)[0]
    rate, count = cf.draws("rate", "factual")[:, 0], cf.draws("count", "factual")[:, 0]
    assert rate.mean() == pytest.approx(mean, abs=5 * rate.std() / 400**0.5)
    assert (count[:, 0] == 3).all() and count[:, 1].min() >= 2 and count[:, 1].max() <= 5 and count[:, 2].min() >= 4


# -- jointly normal ----------------------------------------------------------------------------------------------------


def joined():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    v = pyro.sample("v", dist.MultivariateNormal(torch.stack([a, -a], -1), torch.from_numpy(COVARIANCE)))
    pyro.sample("y", dist.Normal(v.sum(-1), 0.5))


def test_one_normal_value_in_an_interval_is_its_truncated_conditional():
    """a, v₁ and y seen: v₀ is a truncated normal, and all else is linear in it."""
    ends = np.array([[0.2, 1.0], [1.5, np.inf], [-np.inf, -2.0], [9.0, 9.5]])  # the last is 20 sds out
    rows = {"a": [0.5] * 4, "v": [[Interval(*end), 0.3] for end in ends], "y": [1.0] * 4}
    cf = pcm.SCM(joined).counterfactual(rows, do={"a": 0.0}, seed=0)
    precision = np.linalg.inv(COVARIANCE)[0, 0] + 4.0
    conditional = 0.5 + 0.8 / 2.0 * (0.3 + 0.5)
    mean = (conditional * np.linalg.inv(COVARIANCE)[0, 0] + (1.0 - 0.3) * 4.0) / precision
    sd = precision**-0.5
    law = stats.truncnorm(*((ends.T - mean) / sd), loc=mean, scale=sd)
    assert set(cf.diagnostics["method"]) == {"quadrature"}
    assert np.allclose(cf.mean("v", "factual")[:, 0], law.mean(), rtol=0, atol=1e-8)
    assert np.allclose(cf.sd("v", "factual")[:3, 0], law.std()[:3], rtol=0, atol=1e-8)
    assert np.allclose(cf.mean("v")[:, 0], law.mean() - 0.5, rtol=0, atol=1e-8)  # the noise of both is kept
    assert np.allclose(cf.mean("y"), 1.0, rtol=0, atol=1e-8)  # v₀ falls by a half, v₁ rises by one


def density(first, second, a=0.5, y=1.0):
    return stats.multivariate_normal.pdf([first, second], [a, -a], COVARIANCE) * stats.norm.pdf(y, first + second, 0.5)


@pytest.mark.parametrize(
    ("cell", "ends"), [(NAN, (-8.0, 8.0)), (Interval(-0.5, 0.6), (-0.5, 0.6))], ids=["empty", "interval"]
)
def test_two_open_values_are_numerical_integration(cell, ends):
    """v₀ in [0.2, 1], v₁ empty or in an interval of its own: by scipy's double integral."""
    rows = {"a": [0.5], "v": [[Interval(0.2, 1.0), cell]], "y": [1.0]}
    cf = pcm.SCM(joined).counterfactual(rows, do={"a": 0.0}, seed=0, draws=4000)
    reach = {"epsabs": 1e-9}
    whole = integrate.dblquad(lambda z, x: density(x, z), 0.2, 1.0, *ends, **reach)[0]
    first = integrate.dblquad(lambda z, x: x * density(x, z), 0.2, 1.0, *ends, **reach)[0] / whole
    second = integrate.dblquad(lambda z, x: z * density(x, z), 0.2, 1.0, *ends, **reach)[0] / whole
    found, sd = cf.mean("v", "factual")[0], cf.sd("v", "factual")[0]
    assert (np.abs(found - [first, second]) <= 5 * sd / cf.diagnostics["ess"].clip(upper=1024)[0] ** 0.5).all()
    draws = cf.draws("v", "factual")[:, 0]
    assert draws[:, 0].min() >= 0.2 and draws[:, 0].max() <= 1.0


def test_nothing_below_and_no_value_seen_of_jointly_normal_ones():
    """A leaf with both values in intervals: probabilities of rectangles."""

    def program():
        pyro.sample("v", dist.MultivariateNormal(torch.zeros(2), torch.from_numpy(COVARIANCE)))

    rows = [[Interval(0.0, 1.0), Interval(low=1.0)], [Interval(low=0.5), NAN]]
    cf = pcm.SCM(program).counterfactual({"v": rows}, do={"v": np.zeros((2, 2))}, draws=4000, seed=0)
    law = stats.multivariate_normal(np.zeros(2), COVARIANCE)
    box = integrate.dblquad(lambda z, x: law.pdf([x, z]), 0, 1, 1, 12)[0]
    mean = integrate.dblquad(lambda z, x: x * law.pdf([x, z]), 0, 1, 1, 12)[0] / box
    draws = cf.draws("v", "factual")
    assert draws[:, 0, 0].mean() == pytest.approx(mean, abs=5 * draws[:, 0, 0].std() / 900**0.5)
    assert draws[:, 1, 1].mean() == pytest.approx(0.8 * stats.truncnorm(0.5, np.inf).mean(), abs=0.1)


def test_a_fit_integrates_jointly_normal_values_in_intervals():
    """Three patterns of a pair in one data set: the likelihood by scipy."""

    def program(n):
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            centre = level * torch.tensor([1.0, 2.0])
            pyro.sample("v", dist.MultivariateNormal(centre, torch.from_numpy(COVARIANCE)))

    rows = [[0.2, Interval(0.0, 1.0)], [NAN, Interval(1.0, 2.0)], [Interval(0.0, 1.0), Interval(low=0.5)]]
    target, _ = target_of(Model(Program(program)), {"v": rows})
    for level in (0.3, -0.6):
        first, second = level, 2 * level
        law = stats.norm(second + 0.8 * (0.2 - first), (2.0 - 0.64) ** 0.5)
        truth = stats.norm.logpdf(level) + stats.norm.logpdf(0.2, first, 1) + np.log(law.cdf(1) - law.cdf(0))
        truth += np.log(np.diff(stats.norm.cdf([1.0, 2.0], second, 2.0**0.5))[0])
        both = stats.multivariate_normal([first, second], COVARIANCE)
        truth += np.log(both.cdf([1.0, 20.0], lower_limit=[0.0, 0.5]))
        with torch.no_grad():
            assert float(target.log_density({"level": torch.tensor(level)})) == pytest.approx(truth, abs=2e-6)


def test_a_rounded_value_tends_to_the_value():
    scm = pcm.SCM(joined)
    frame = scm.sample(10, seed=3)
    exact = scm.counterfactual(frame, do={"a": 0.0})
    errors = []
    for width in (1e-2, 1e-4):
        cells = frame.astype(object).assign(**{"v[1]": Interval(frame["v[1]"] - width, frame["v[1]"] + width).cells()})
        errors.append(np.abs(scm.counterfactual(cells, do={"a": 0.0}).mean("v") - exact.mean("v")).max())
    assert errors[0] <= 1e-3 and errors[1] <= 1e-5
    met = frame.astype(object).assign(**{"v[1]": Interval(frame["v[1]"], frame["v[1]"]).cells()})
    assert np.array_equal(scm.counterfactual(met, do={"a": 0.0}).mean("v"), exact.mean("v"))


# -- every form of the data, and refusals ------------------------------------------------------------------------------


def test_lists_columns_and_pandas_intervals_are_one_evidence():
    scm = pcm.SCM(joined)
    forms = [
        {"a": [0.5], "v": [[Interval(0.2, 1.0), 0.3]], "y": [1.0]},
        {"a": [0.5], "v[0]": [Interval(0.2, 1.0)], "v[1]": [0.3], "y": [1.0]},
        {"a": [0.5], "v[0]": Interval([0.2], [1.0]), "v[1]": [0.3], "y": [1.0]},
        pd.DataFrame({"a": [0.5], "v[0]": pd.cut([0.7], [0.2, 1.0]), "v[1]": [0.3], "y": [1.0]}),
        pd.DataFrame({"a": [0.5], "v": [[pd.Interval(0.2, 1.0), 0.3]], "y": [1.0]}),
    ]
    first, *others = (scm.counterfactual(form, do={"a": 0.0}).mean("v") for form in forms)
    assert all(np.allclose(other, first, rtol=0, atol=1e-12) for other in others)


def test_what_is_no_interval_of_one_value_is_refused_by_name():
    scm, asked = pcm.SCM(joined), {"do": {"a": 0.0}}
    with pytest.raises(DataError, match=r"'v' .* several values a unit.*'v\[0\]'"):
        scm.counterfactual({"a": [0.5], "v": [Interval(0.0, 1.0)], "y": [1.0]}, **asked)
    with pytest.raises(DataError, match=r"'v' .* stands beside 'v\[0\]'.*Keep one"):
        scm.counterfactual({"a": [0.5], "v": [[0.1, 0.2]], "v[0]": [Interval(0.0, 1.0)], "v[1]": [0.2]}, **asked)
    rows = pd.DataFrame({"a": 0.5, "v": [[Interval(0.0, 1.0)], [0.1, 0.2]], "y": 1.0})
    with pytest.raises(DataError, match=r"'v' .* holds \[Interval.*shape \(2,\).*row 0"):
        scm.counterfactual(rows, **asked)
    rows = pd.DataFrame({"a": 0.5, "v[0]": 0.1, "v[1]": [0.2, Interval(2.0, 1.0)]}, index=["first", "second"])
    with pytest.raises(DataError, match=r"'v\[1\]' .* from 2 to 1, which is empty .*'second'"):
        scm.counterfactual(rows, **asked)

    def shares():
        pyro.sample("x", dist.Dirichlet(torch.full((3,), 2.0)))
        pyro.sample("w", dist.LogNormal(torch.zeros(2), 1.0).to_event(1))

    with pytest.raises(EvidenceError, match=r"'x' .*first: 0.*Dirichlet are tied to each other"):
        pcm.SCM(shares).counterfactual({"x": [[0.2, 0.3, Interval(0.4, 0.6)]], "w": [[1.0, 1.0]]}, do={"w": [1.0, 1.0]})
    with pytest.raises(
        EvidenceError, match=r"'w\[1\]' has an interval in row 0 \(-2 to -1\) where LogNormal"
    ) as caught:
        pcm.SCM(shares).counterfactual({"w": [[1.0, Interval(-2.0, -1.0)]]}, do={"w": [1.0, 1.0]})
    assert caught.value.column == "w[1]"
    with pytest.raises(EvidenceError, match="intervals for the variable v"):
        scm.log_prob({"a": [0.5], "v": [[Interval(0.0, 1.0), 0.3]], "y": [1.0]})


def test_a_unit_answers_alike_in_any_company():
    scm = pcm.SCM(doses("event", LAWS["skewed"])).given(slope=0.9)
    data = ROWS.rename(columns={"x": "v[0]", "z": "v[1]"})
    whole = scm.counterfactual(data, do={"a": 0.0}, seed=1)
    for part in (data.iloc[:3], data.iloc[3:], data.iloc[::-1]):
        alone = scm.counterfactual(part, do={"a": 0.0}, seed=1)
        rows = whole.index.get_indexer(part.index)
        assert np.allclose(alone.draws("v"), whole.draws("v")[:, rows], rtol=1e-9, atol=1e-9)
