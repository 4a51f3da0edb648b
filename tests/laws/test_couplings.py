"""Laws of every coupling: round trip, invariance, the family's own law, and closed forms against enumeration."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pcm.couplings import couplings_of, resolve
from tests.unit.couplings.cases import CASES, name_of

DISCRETE, CONTINUOUS = (
    [
        pytest.param(case, name, id=f"{name_of(case)} {name}")
        for case in CASES
        for name, coupling in couplings_of(case.family).items()
        if coupling.rung == 3 and coupling.discrete is discrete
    ]
    for discrete in (True, False)
)


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


@pytest.mark.parametrize(("case", "name"), DISCRETE)
def test_round_trip_discrete(case, name) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        fn = case.member(seed)
        coupling, bare = resolve(fn, name)
        value = fn.sample()
        uniform = _uniform(coupling, bare, value, seed, 200)
        uniform[0], uniform[1], uniform[2] = 1e-300, 1 - 2**-53, 2**-53
        back = coupling.push(bare, coupling.abduct(bare, value, uniform))
        assert torch.equal(back, value.expand(back.shape))


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
    "Geometric probs": lambda a: stats.geom(a, loc=-1),
    "Geometric logits": lambda a: stats.geom(1 / (1 + math.exp(-a)), loc=-1),
    "NegativeBinomial": lambda a, b: stats.nbinom(a, 1 - b),
}
# family-wise 1e-4 over fewer than 100 cells
ALARM = 1e-6


@pytest.mark.parametrize(("case", "name"), CONTINUOUS)
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


@pytest.mark.parametrize(("case", "name"), DISCRETE)
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
def test_closed_forms_against_enumeration_of_noise(case, name) -> None:
    """Transition, probability and expectation against noise: stratified, so that the error is known and small."""
    fn, other = case.member(0), case.member(1)
    coupling, bare = resolve(fn, name)
    bare_other = resolve(other, name)[1]
    torch.manual_seed(0)
    value = fn.sample()
    draws = 4_000
    if coupling.noise_event(bare):
        uniform = _uniform(coupling, bare, value, 1, draws)
        tolerance = 5.5 * 0.5 / math.sqrt(draws)
    else:
        grid = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
        uniform = grid.view(-1, *[1] * len(_uniform(coupling, bare, value).shape))
        uniform = uniform.expand(draws, *_uniform(coupling, bare, value).shape)
        tolerance = 1.0 / draws
    moved = coupling.push(bare_other, coupling.abduct(bare, value, uniform)).double()
    kinds = coupling.cardinality(bare)
    one_hot = case.family is dist.OneHotCategorical
    if kinds is not None:
        table = coupling.transition(bare, value, bare_other)
        torch.testing.assert_close(table.sum(-1), torch.ones_like(table[..., 0]), rtol=0, atol=1e-12)
        for k in range(kinds):
            outcome = torch.eye(kinds)[k] if one_hot else torch.tensor(float(k))
            seen = (moved[..., k] if one_hot else (moved == k).double()).mean(0)
            torch.testing.assert_close(table[..., k], seen, rtol=0, atol=tolerance)
            given_outcome = coupling.probability(bare, value, bare_other, outcome)
            torch.testing.assert_close(given_outcome, table[..., k], rtol=0, atol=1e-12)
    else:
        for k in range(4):
            found = coupling.probability(bare, value, bare_other, torch.tensor(float(k)))
            torch.testing.assert_close(found, (moved == k).double().mean(0), rtol=0, atol=tolerance)
    spread = (moved.amax(0) - moved.amin(0) + 1.0).max().item()
    torch.testing.assert_close(
        coupling.expectation(bare, value, bare_other), moved.mean(0), rtol=0, atol=tolerance * spread * 2
    )


@pytest.mark.parametrize(("case", "name"), DISCRETE)
def test_averaging_over_the_factual_gives_the_other_law(case, name) -> None:
    """Rung 2 from rung 3: sum over x of P(x) P(x' = k | x) = P'(k), exactly."""
    fn, other = case.member(0), case.member(1)
    coupling, bare = resolve(fn, name)
    bare_other = resolve(other, name)[1]
    kinds = coupling.cardinality(bare) or 2_000
    if case.family is dist.OneHotCategorical:
        values = torch.eye(kinds, dtype=torch.float64)[:, None].expand(kinds, *fn.batch_shape, kinds)
        weight, target = fn.log_prob(values).exp(), other.log_prob(values).exp()
        total = sum(weight[k][..., None] * coupling.transition(bare, values[k], bare_other) for k in range(kinds))
        torch.testing.assert_close(total, target.movedim(0, -1), rtol=0, atol=1e-12)
        return
    codes = torch.arange(kinds, dtype=fn.sample().dtype)
    values = codes[:, None].expand(kinds, *fn.batch_shape)
    weight = fn.log_prob(values).exp()
    for k in range(min(kinds, 5)):
        each = coupling.probability(bare, values, bare_other, codes[k])
        total = torch.where(weight > 1e-300, weight * each, 0.0).sum(0)
        torch.testing.assert_close(total, other.log_prob(values[k]).exp(), rtol=1e-9, atol=1e-12)
    reachable = torch.where(weight > 1e-300, weight * coupling.expectation(bare, values, bare_other), 0.0)
    if case.family not in (dist.Categorical, dist.OrderedLogistic):
        torch.testing.assert_close(reachable.sum(0), other.mean.expand(fn.batch_shape), rtol=1e-9, atol=1e-9)


# -- published and extreme numbers -------------------------------------------------------------------------------------


def test_gumbel_max_fixture() -> None:
    p, q = dist.Categorical(torch.tensor([0.5, 0.3, 0.2])), dist.Categorical(torch.tensor([0.2, 0.3, 0.5]))
    coupling, bare = resolve(p)
    rows = coupling.transition(bare, torch.arange(3), resolve(q)[1])
    expected = torch.tensor([[0.4, 0.138462, 0.461538], [0.0, 0.769231, 0.230769], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-6)


@given(st.lists(st.floats(-6, 6), min_size=2, max_size=6), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_gumbel_max_staying_is_the_published_form(logits, seed) -> None:
    old = torch.tensor(logits, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    new = old + torch.randn(len(logits), generator=generator, dtype=torch.float64)
    p, q = torch.softmax(old, -1), torch.softmax(new, -1)
    coupling, bare = resolve(dist.Categorical(logits=old))
    rows = coupling.transition(bare, torch.arange(len(logits)), dist.Categorical(logits=new))
    ratio = q / p
    stay = 1 / (1 + (p * (torch.clamp(ratio / ratio[:, None], min=1) - 1)).sum(-1))
    torch.testing.assert_close(rows.diagonal(), stay, rtol=1e-10, atol=0)
    torch.testing.assert_close(p @ rows, q, rtol=1e-9, atol=1e-14)
    # counterfactual stability: j is reached from i only if its odds against i rose
    risen = ratio[None, :] > ratio[:, None]
    assert bool((rows[~risen & ~torch.eye(len(logits), dtype=torch.bool)] == 0).all())


def test_impossible_outcomes() -> None:
    old = dist.Categorical(logits=torch.tensor([0.0, -torch.inf, 1.0]))
    new = dist.Categorical(logits=torch.tensor([-torch.inf, 2.0, 0.0]))
    for name in ("gumbel_max", "monotone"):
        coupling, bare = resolve(old, name)
        rows = coupling.transition(bare, torch.tensor([0, 2]), new)
        weights = torch.softmax(torch.tensor([0.0, 1.0]), -1)
        torch.testing.assert_close(weights @ rows, new.probs, rtol=1e-12, atol=1e-15)
        uniform = torch.rand((500, 2, *coupling.noise_event(bare)), generator=torch.Generator().manual_seed(0))
        noise = coupling.abduct(bare, torch.tensor([0, 2]), uniform)
        assert torch.equal(coupling.push(bare, noise), torch.tensor([0, 2]).expand(500, 2))
        assert bool((coupling.push(new, noise) != 0).all())


EXTREME = [
    (lambda: dist.StudentT(3.0), [-1e6, -50.0, -0.5, 0.5, 50.0, 1e6, 1e12]),
    (lambda: dist.Gamma(2.0, 1.0), [1e-12, 45.0, 700.0, 2000.0]),
    (lambda: dist.Gamma(0.05, 1.0), [1e-100, 1e-3, 45.0]),
    (lambda: dist.InverseGamma(2.0, 1.0), [1e-3, 1e-2, 1.0, 1e12]),
    (lambda: dist.Exponential(1.0), [1e-300, 1e-12, 700.0, 1e5]),
    (lambda: dist.Normal(0.0, 1.0), [-38.0, 38.0, 1e8]),
    (lambda: dist.Beta(0.5, 0.5), [1e-300, 1e-12, 1 - 1e-12]),
    (lambda: dist.Beta(200.0, 3.0), [1e-3, 0.3, 0.9999999]),
    (lambda: dist.Kumaraswamy(2.0, 3.0), [1e-100, 1e-9, 1 - 1e-12]),
    (lambda: dist.HalfCauchy(1.0), [1e-12, 1e12]),
    (lambda: dist.LogNormal(0.0, 1.0), [1e-100, 1e100]),
    (lambda: dist.Weibull(1.0, 0.5), [1e-12, 1e6]),
    (lambda: dist.Pareto(1.0, 2.0), [1 + 1e-12, 1e100]),
    (lambda: dist.Gumbel(0.0, 1.0), [-700.0, 700.0]),
]


@pytest.mark.parametrize(("build", "values"), EXTREME)
def test_extreme_tails_round_trip(build, values) -> None:
    value = torch.tensor(values, dtype=torch.float64)
    coupling, bare = resolve(build().expand(value.shape))
    noise = coupling.abduct(bare, value)
    assert bool(torch.isfinite(noise).all())
    torch.testing.assert_close(coupling.push(bare, noise), value, rtol=1e-11, atol=0)


@pytest.mark.parametrize(
    ("old", "new", "value", "expected"),
    [
        # sf of t_3 at 50 and of t_5 at the answer; Gamma and Beta alike, by 50-digit arithmetic
        ("t", (3, 5), 50.0, None),
        ("t", (3, 5), -2000.0, None),
        ("gamma", (2, 3), 45.0, None),
        ("gamma", (2, 0.5), 700.0, None),
        ("beta", ((2, 3), (5, 1)), 1e-9, None),
        ("beta", ((2, 3), (2, 7)), 1 - 1e-9, None),
    ],
)
def test_transport_in_the_tails_against_fifty_digits(old, new, value, expected) -> None:
    def survival(parameter, x):
        if old == "t":
            half = (
                mpmath.betainc(mpmath.mpf(parameter) / 2, 0.5, 0, parameter / (parameter + x * x), regularized=True) / 2
            )
            return half if x > 0 else 1 - half
        if old == "gamma":
            return mpmath.gammainc(parameter, x, mpmath.inf, regularized=True)
        return mpmath.betainc(*parameter, x, 1, regularized=True)

    make = {
        "t": lambda p: dist.StudentT(torch.tensor(float(p), dtype=torch.float64)),
        "gamma": lambda p: dist.Gamma(torch.tensor(float(p), dtype=torch.float64), 1.0),
        "beta": lambda p: dist.Beta(*(torch.tensor(float(each), dtype=torch.float64) for each in p)),
    }[old]
    coupling, bare = resolve(make(new[0]))
    moved = coupling.transport(bare, torch.tensor(value, dtype=torch.float64), resolve(make(new[1]))[1]).item()
    with mpmath.workdps(50):
        before, after = survival(new[0], mpmath.mpf(value)), survival(new[1], mpmath.mpf(moved))
        if before > 0.5:
            before, after = 1 - before, 1 - after
        # 1 - 1e-9 is known to 1e-16, its distance from 1 to 1e-7
        assert abs(after / before - 1) < (1e-6 if old == "beta" else 1e-10)


COUNTS = [
    (lambda: dist.Poisson(1e6), [0.0, 9e5, 999_999.0, 1e6, 1.1e6]),
    (lambda: dist.Poisson(1e-20), [0.0, 1.0, 7.0]),
    (lambda: dist.Poisson(3.0), [0.0, 3.0, 60.0, 400.0]),
    (lambda: dist.Binomial(1_000_000, 1e-6), [0.0, 1.0, 50.0, 1_000_000.0]),
    (lambda: dist.Binomial(30, 1e-20), [0.0, 1.0, 30.0]),
    (lambda: dist.Binomial(30, logits=torch.tensor(46.0)), [0.0, 29.0, 30.0]),
    (lambda: dist.Geometric(1e-12), [0.0, 5.0, 1e12, 1e14]),
    (lambda: dist.Geometric(1 - 1e-12), [0.0, 1.0, 20.0]),
    (lambda: dist.NegativeBinomial(0.3, 0.999), [0.0, 1.0, 1e5]),
    (lambda: dist.NegativeBinomial(500.0, 1e-20), [0.0, 1.0, 12.0]),
    (lambda: dist.Bernoulli(torch.tensor(1e-20)), [0.0, 1.0]),
    (lambda: dist.Bernoulli(logits=torch.tensor(46.0)), [0.0, 1.0]),
    (lambda: dist.Bernoulli(logits=torch.tensor(-700.0)), [0.0, 1.0]),
]


@pytest.mark.parametrize(("build", "values"), COUNTS)
def test_extreme_counts_round_trip(build, values) -> None:
    value = torch.tensor(values, dtype=torch.float64)
    coupling, bare = resolve(build().expand(value.shape))
    ends = torch.tensor([1e-300, 1e-20, 2**-53, 0.5, 1 - 2**-53], dtype=torch.float64)
    uniform = torch.cat([ends, torch.rand(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)])
    uniform = uniform[:, None].expand(-1, len(value))
    assert torch.equal(coupling.push(bare, coupling.abduct(bare, value, uniform)), value.expand(uniform.shape))


@given(
    st.floats(0.01, 60.0),
    st.floats(0.01, 60.0),
    st.integers(0, 80),
)
@settings(max_examples=60, deadline=None)
def test_poisson_expectation_is_the_sum(rate, other_rate, count) -> None:
    coupling, fn = resolve(dist.Poisson(torch.tensor(rate, dtype=torch.float64)))
    other, value = dist.Poisson(torch.tensor(other_rate, dtype=torch.float64)), torch.tensor(float(count))
    outcomes = torch.arange(600.0)
    share = coupling.probability(fn, value, other, outcomes)
    torch.testing.assert_close(share.sum(), torch.tensor(1.0), rtol=1e-9, atol=0)
    expected = (share * outcomes).sum()
    torch.testing.assert_close(coupling.expectation(fn, value, other), expected, rtol=1e-8, atol=1e-9)


@given(st.floats(-40, 40), st.floats(-40, 40))
@settings(max_examples=80, deadline=None)
def test_bernoulli_transition_keeps_its_tails(old, new) -> None:
    coupling, fn = resolve(dist.Bernoulli(logits=torch.tensor(old, dtype=torch.float64)))
    other = dist.Bernoulli(logits=torch.tensor(new, dtype=torch.float64))
    rows = coupling.transition(fn, torch.tensor([0.0, 1.0]), other)
    with mpmath.workdps(60):
        p, q = 1 / (1 + mpmath.exp(-mpmath.mpf(old))), 1 / (1 + mpmath.exp(-mpmath.mpf(new)))
        expected = [[min((1 - q) / (1 - p), 1), max(q - p, 0) / (1 - p)], [max(p - q, 0) / p, min(q / p, 1)]]
    expected = torch.tensor([[float(each) for each in row] for row in expected], dtype=torch.float64)
    torch.testing.assert_close(rows, expected, rtol=1e-12, atol=1e-300)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(-30, 30))
@settings(max_examples=80, deadline=None)
def test_location_scale_against_fifty_digits(loc, scale, new_loc, new_scale, z) -> None:
    value = loc + scale * z
    wide = torch.tensor([loc, scale, new_loc, new_scale, value], dtype=torch.float64)
    coupling, fn = resolve(dist.Normal(wide[0], wide[1]))
    found = coupling.transport(fn, wide[4], dist.Normal(wide[2], wide[3])).item()
    with mpmath.workdps(50):
        expected = new_loc + (mpmath.mpf(value) - loc) / scale * mpmath.mpf(new_scale)
        error = abs(found - expected)
    assert float(error) <= 1e-12 * max(1.0, abs(value), abs(loc), abs(float(expected)))
