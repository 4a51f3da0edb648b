"""Laws of every coupling: round trip, invariance, the family's own law, and closed forms against enumeration."""

from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pcm.couplings import resolve
from pcm.couplings.masses import log_masses
from pcm.testing import check_coupling
from tests.unit.couplings.cases import PAIRS, name_of

torch.set_default_dtype(torch.float64)
RESOLVED = [(case, name, resolve(case.member(0), name)[0]) for case, name in PAIRS]
torch.set_default_dtype(torch.float32)


def _params(chosen):
    return [
        pytest.param(case, name, id=f"{name_of(case)} {name}") for case, name, coupling in RESOLVED if chosen(coupling)
    ]


def _compound(param):
    family = param.values[0].family.__name__
    return family in COMPOUND or family.startswith("ZeroInflated")


ALL = _params(lambda coupling: True)
DISCRETE = _params(lambda coupling: coupling.rung == 3 and coupling.discrete)
CONTINUOUS = _params(lambda coupling: coupling.invertible)
COMPOUND = {
    "MixtureSameFamily",
    "MaskedMixture",
    "Truncated",
    "Dirichlet",
    "Censored",
    "DiscreteLaplace",
    "DiscreteGaussian",
}
"""Their laws are in test_compounds.py and test_two_sided.py."""
SPANS = {
    "Truncated poisson": (1, 1_200),
    "DiscreteLaplace": (-600, 1_200),
    "DiscreteGaussian": (-600, 1_200),
    "Censored integers": (-4, 10),
    "Censored poisson": (0, 5),
    "Binomial totals by unit": (0, 10),
    "BetaBinomial totals by unit": (0, 10),
}
"""First value and number of values to sum over, where that is not 0..K-1 or 0..1,199."""


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _uniform(coupling, fn, value, seed=0, *lead):
    batch = value.shape[: value.dim() - len(fn.event_shape)]
    generator = torch.Generator().manual_seed(seed)
    shape = (*lead, *batch, *coupling.noise_event(fn))
    return torch.rand(shape, generator=generator, dtype=torch.float64).clamp(1e-16, 1 - 2**-53)


def _error(found, expected, loc=1.0):
    scale = torch.clamp(expected.abs(), min=1.0).clamp(min=loc)
    return ((found - expected).abs() / scale).max().item()


@pytest.mark.parametrize(("case", "name"), ALL)
def test_the_laws_that_users_can_run(case, name) -> None:
    torch.manual_seed(0)
    worlds = [case.member(seed, units=6) for seed in (0, 1)]
    coupling = resolve(worlds[0], name)[0]
    report = check_coupling(coupling, worlds, draws=1_000 if coupling.rung == 3 else 200)
    excused = {"monotone", "closed forms"} if coupling.rung == 3 else set(report.skipped)
    assert set(report.skipped) <= excused and len(report.kept) + len(report.skipped) == 12
    assert ("closed forms" in report.kept) is coupling.discrete
    assert ("monotone" in report.kept) is (name == "monotone" and not worlds[0].event_shape)


@pytest.mark.parametrize(("case", "name"), CONTINUOUS)
def test_round_trip_continuous(case, name) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        fn = case.member(seed)
        coupling, bare = resolve(fn, name)
        value = fn.sample()
        error = _error(coupling.push(bare, coupling.abduct(bare, value)), value)
        assert error <= (1e-12 if case.location_scale or case.exact else 1e-9)
        assert torch.equal(coupling.transport(bare, value, resolve(case.member(seed), name)[1]), value)


@pytest.mark.parametrize(("case", "name"), CONTINUOUS)
def test_parents_moved_by_a_billionth(case, name) -> None:
    """Transport follows the derivative of the quantile in the parameters: returning the observation cannot pass."""
    if name == "deterministic":
        pytest.skip("a point mass has no noise")
    torch.manual_seed(0)
    fn = case.member(3)
    coupling, bare = resolve(fn, name)
    value = fn.sample()
    moved = coupling.transport(bare, value, resolve(case.nudged(3), name)[1])
    assert _error(moved, value) < 1e-6

    # central difference over a step 1e5 times larger, through push and abduct alone
    noise, step = coupling.abduct(bare, value), 1e-4
    up = coupling.push(resolve(case.build(*(p * (1 + step) for p in case.parameters(3))), name)[1], noise)
    down = coupling.push(resolve(case.build(*(p * (1 - step) for p in case.parameters(3))), name)[1], noise)
    expected = (up - down) / (2 * step) * 1e-9
    assert expected.abs().max() > 1e-10
    # 1e-9 of movement, known to the rounding of the values
    torch.testing.assert_close(moved - value, expected, rtol=1e-4, atol=2e-14 * max(1.0, value.abs().max().item()))


@pytest.mark.parametrize(("case", "name"), CONTINUOUS)
def test_transport_is_push_of_abduct(case, name) -> None:
    torch.manual_seed(0)
    fn, other = case.member(0), case.member(1)
    coupling, bare = resolve(fn, name)
    bare_other = resolve(other, name)[1]
    value = fn.sample()
    expected = coupling.push(bare_other, coupling.abduct(bare, value))
    tolerance = 1e-12 if case.location_scale or case.exact else 1e-9
    assert _error(coupling.transport(bare, value, bare_other), expected, value.abs().max().item()) <= tolerance
    back = coupling.transport(bare_other, coupling.transport(bare, value, bare_other), bare)
    assert _error(back, value, expected.abs().max().item()) <= 1e-9


def _fresh(case, name, draws):
    parameters = [each[:1] for each in case.parameters(5)]
    coupling, bare = resolve(case.build(*parameters), name)
    shape = (draws, 1, *coupling.noise_event(bare))
    uniform = torch.rand(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return coupling.push(bare, coupling.fresh(bare, uniform))[:, 0], parameters


SCIPY = {
    "Normal": lambda a, b: stats.norm(a, b),
    "Normal scalar scale": lambda a: stats.norm(a, 0.5),
    "Cauchy": lambda a, b: stats.cauchy(a, b),
    "Laplace": lambda a, b: stats.laplace(a, b),
    "Gumbel": lambda a, b: stats.gumbel_r(a, b),
    "Logistic": lambda a, b: stats.logistic(a, b),
    "Uniform": lambda a, b: stats.uniform(a, b),
    "Exponential": lambda a: stats.expon(scale=1 / a),
    "HalfNormal": lambda a: stats.halfnorm(scale=a),
    "HalfCauchy": lambda a: stats.halfcauchy(scale=a),
    "LogNormal": lambda a, b: stats.lognorm(b, scale=math.exp(a)),
    "Weibull": lambda a, b: stats.weibull_min(b, scale=a),
    "Pareto": lambda a, b: stats.pareto(b, scale=a),
    "Gamma": lambda a, b: stats.gamma(a, scale=1 / b),
    "Chi2": lambda a: stats.chi2(a),
    "InverseGamma": lambda a, b: stats.invgamma(a, scale=b),
    "Beta": lambda a, b: stats.beta(a, b),
    "StudentT": lambda a, b, c: stats.t(a, b, c),
    "TransformedDistribution exp, decreasing": lambda a, b: stats.lognorm(b / 2, scale=math.exp(0.5 - a / 2)),
    "Poisson": lambda a: stats.poisson(a),
    "Binomial probs": lambda a: stats.binom(6, a),
    "Binomial logits": lambda a: stats.binom(6, 1 / (1 + math.exp(-a))),
    "Binomial totals by unit": lambda a, b: stats.binom(math.floor(6 * a), b),
    "Geometric probs": lambda a: stats.geom(a, loc=-1),
    "Geometric logits": lambda a: stats.geom(1 / (1 + math.exp(-a)), loc=-1),
    "NegativeBinomial": lambda a, b: stats.nbinom(a, 1 - b),
    "GammaPoisson": lambda a, b: stats.nbinom(a, b / (1 + b)),
    "BetaBinomial": lambda a, b: stats.betabinom(5, a, b),
    "BetaBinomial totals by unit": lambda a, b, c: stats.betabinom(math.floor(6 * a), b, c),
}
# family-wise 1e-4 over fewer than 100 cells
ALARM = 1e-6


@pytest.mark.parametrize(("case", "name"), [each for each in CONTINUOUS if not _compound(each)])
def test_law_of_fresh_noise_continuous(case, name) -> None:
    if name == "deterministic":
        pytest.skip("a point mass has no law to test")
    draws, parameters = _fresh(case, name, 4_000)
    numbers = [each.item() for each in parameters]
    if case.family is dist.Kumaraswamy:
        a, b = numbers
        assert stats.kstest(draws.numpy(), lambda x: 1 - (1 - x**a) ** b).pvalue > ALARM
    elif name == "triangular":
        a, b, c = numbers
        assert stats.kstest(draws[:, 0].numpy(), stats.norm(a, b).cdf).pvalue > ALARM
        assert stats.kstest(draws[:, 1].numpy(), stats.norm(b, math.hypot(a, c)).cdf).pvalue > ALARM
        assert abs(np.corrcoef(draws.numpy().T)[0, 1] - a / math.hypot(a, c)) < 5 / math.sqrt(4_000)
    elif case.family is dist.LogisticNormal:
        a, b = numbers
        assert stats.kstest(draws[:, 0].logit().numpy(), stats.norm(a - math.log(2), b).cdf).pvalue > ALARM
    elif case.label == "event base":
        a, b = numbers
        for column, (base, shift) in enumerate([(a, b), (b, a)]):
            assert stats.kstest(draws[:, column].numpy(), stats.norm(shift - 2 * base, 2).cdf).pvalue > ALARM
    else:
        assert stats.kstest(draws.numpy(), SCIPY[name_of(case)](*numbers).cdf).pvalue > ALARM


@pytest.mark.parametrize(("case", "name"), [each for each in DISCRETE if not _compound(each)])
def test_law_of_fresh_noise_discrete(case, name) -> None:
    draws, parameters = _fresh(case, name, 4_000)
    fn = case.build(*parameters)
    if case.family is dist.OneHotCategorical:
        draws, probabilities = draws.argmax(-1), fn.probs[0]
    elif case.family in (dist.Categorical, dist.OrderedLogistic):
        probabilities = fn.probs[0]
    elif case.family is dist.Bernoulli:
        probabilities = torch.cat([1 - fn.probs, fn.probs])
    else:
        law = SCIPY[name_of(case)](*(each.item() for each in parameters))
        probabilities = torch.from_numpy(law.pmf(np.arange(int(law.ppf(1 - 1e-12)) + 2)))
    seen = torch.bincount(draws.long(), minlength=len(probabilities)).double()[: len(probabilities)]
    expected = 4_000 * probabilities
    common = expected > 5
    statistic = ((seen - expected) ** 2 / expected)[common].sum().item()
    assert stats.chi2.sf(statistic, int(common.sum()) - 1) > ALARM
    assert seen[expected < 1e-6].sum() == 0


@pytest.mark.parametrize(("case", "name"), DISCRETE)
def test_averaging_over_the_factual_gives_the_other_law(case, name) -> None:
    """Rung 2 from rung 3: sum over x of P(x) P(x' = k | x) = P'(k), exactly."""
    fn, other = case.member(0, units=8), case.member(1, units=8)
    coupling, bare = resolve(fn, name)
    bare_other = resolve(other, name)[1]
    first, kinds = SPANS.get(name_of(case), (0, coupling.cardinality(bare) or 1_200))
    if case.family is dist.OneHotCategorical:
        values = torch.eye(kinds, dtype=torch.float64)[:, None].expand(kinds, *fn.batch_shape, kinds)
        weight, target = fn.log_prob(values).exp(), other.log_prob(values).exp()
        total = sum(weight[k][..., None] * coupling.transition(bare, values[k], bare_other) for k in range(kinds))
        torch.testing.assert_close(total, target.movedim(0, -1), rtol=0, atol=1e-12)
        return
    codes = torch.arange(kinds, dtype=fn.sample().dtype) + first
    values = codes[:, None].expand(kinds, *fn.batch_shape)
    # a unit's own total_count may lie below the largest value
    chances = log_masses if "totals" in case.label else lambda law, value: law.log_prob(value)
    weight = chances(fn, values).exp()
    for k in range(max(-first, 0), max(-first, 0) + min(kinds, 5)):
        each = coupling.probability(bare, values, bare_other, codes[k])
        total = torch.where(weight > 1e-300, weight * each, 0.0).sum(0)
        torch.testing.assert_close(total, chances(other, values[k]).exp(), rtol=1e-9, atol=1e-12)
    reachable = torch.where(weight > 1e-300, weight * coupling.expectation(bare, values, bare_other), 0.0)
    if case.family not in (dist.Categorical, dist.OrderedLogistic):
        torch.testing.assert_close(reachable.sum(0), other.mean.expand(fn.batch_shape), rtol=1e-9, atol=1e-9)


@given(st.sampled_from([each.values for each in CONTINUOUS]), st.integers(0, 2**31))
@settings(max_examples=200)
def test_any_parameters_round_trip(pair, seed) -> None:
    case, name = pair
    fn, other = case.member(seed), case.member(seed + 1)
    coupling, bare = resolve(fn, name)
    bare_other = resolve(other, name)[1]
    shape = bare.batch_shape + coupling.noise_event(bare)
    noise = coupling.fresh(bare, torch.rand(shape, generator=torch.Generator().manual_seed(seed)))
    value = coupling.push(bare, noise)
    exact = case.location_scale or case.exact
    assert _error(coupling.push(bare, coupling.abduct(bare, value)), value) <= (1e-12 if exact else 1e-9)
    moved, pushed = coupling.transport(bare, value, bare_other), coupling.push(bare_other, noise)
    assert _error(moved, pushed, value.abs().max().item()) <= (1e-12 if exact else 1e-7)
