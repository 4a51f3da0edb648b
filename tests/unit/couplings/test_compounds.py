"""Mixtures, zero-inflated, truncated, masked and Dirichlet laws against scipy, closed forms and enumeration."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import integrate, optimize, stats
from torch import tensor

import pcm
from pcm.couplings import Truncated, check_distribution, check_value, resolve, tail
from pcm.couplings.gumbel_max import _by_pairs, _by_sort
from pcm.errors import ArgumentError, CouplingError, SupportError
from tests.unit.couplings.cases import CASES, PAIRS, name_of


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def mixture(weights, *columns, family=dist.Normal):
    return dist.MixtureSameFamily(dist.Categorical(tensor(weights)), family(*(tensor(each) for each in columns)))


def quantile(fn, uniform):
    coupling, bare = resolve(fn)
    return coupling.push(bare, tail.from_uniform(torch.as_tensor(uniform))).item()


# -- tails of every family ---------------------------------------------------------------------------------------------

LAWS = {
    "Normal": (lambda: dist.Normal(tensor(0.3), 0.7), stats.norm(0.3, 0.7)),
    "Cauchy": (lambda: dist.Cauchy(tensor(0.3), 0.7), stats.cauchy(0.3, 0.7)),
    "Laplace": (lambda: dist.Laplace(tensor(0.3), 0.7), stats.laplace(0.3, 0.7)),
    "Gumbel": (lambda: dist.Gumbel(tensor(0.3), 0.7), stats.gumbel_r(0.3, 0.7)),
    "Logistic": (lambda: dist.Logistic(tensor(0.3), 0.7), stats.logistic(0.3, 0.7)),
    "Uniform": (lambda: dist.Uniform(tensor(0.3), 1.0), stats.uniform(0.3, 0.7)),
    "Exponential": (lambda: dist.Exponential(tensor(0.7)), stats.expon(scale=1 / 0.7)),
    "HalfNormal": (lambda: dist.HalfNormal(tensor(0.7)), stats.halfnorm(scale=0.7)),
    "HalfCauchy": (lambda: dist.HalfCauchy(tensor(0.7)), stats.halfcauchy(scale=0.7)),
    "LogNormal": (lambda: dist.LogNormal(tensor(0.3), 0.7), stats.lognorm(0.7, scale=np.exp(0.3))),
    "Weibull": (lambda: dist.Weibull(tensor(0.7), 1.3), stats.weibull_min(1.3, scale=0.7)),
    "Pareto": (lambda: dist.Pareto(tensor(0.7), 1.3), stats.pareto(1.3, scale=0.7)),
    "Gamma": (lambda: dist.Gamma(tensor(2.0), 0.7), stats.gamma(2.0, scale=1 / 0.7)),
    "InverseGamma": (lambda: dist.InverseGamma(tensor(2.0), 0.7), stats.invgamma(2.0, scale=0.7)),
    "Beta": (lambda: dist.Beta(tensor(2.0), 0.7), stats.beta(2.0, 0.7)),
    "StudentT": (lambda: dist.StudentT(tensor(3.0), 0.3, 0.7), stats.t(3.0, 0.3, 0.7)),
    "Poisson": (lambda: dist.Poisson(tensor(2.7)), stats.poisson(2.7)),
}


@pytest.mark.parametrize("name", LAWS)
def test_tails_are_scipys(name) -> None:
    build, law = LAWS[name]
    coupling, bare = resolve(build())
    # so near its bound a Pareto value has no more digits than that
    levels = np.array([1e-3 if name == "Pareto" else 1e-12, 1e-3, 0.2, 0.49, 0.51, 0.9, 1 - 1e-6])
    value = torch.from_numpy(np.asarray(law.ppf(levels), dtype=float))
    found = coupling.tail(bare, value)
    lower = law.cdf(value.numpy()) <= 0.5
    expected = np.where(lower, law.logcdf(value.numpy()), -law.logsf(value.numpy()))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    back = coupling.quantile(bare, found)
    np.testing.assert_allclose(back.numpy(), value.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["Normal", "Cauchy", "Laplace", "Gumbel", "Logistic", "StudentT", "LogNormal"])
def test_far_tails_come_back(name) -> None:
    coupling, bare = resolve(LAWS[name][0]())
    at = tensor([-600.0, -50.0, -0.7, 0.7, 50.0, 600.0])
    torch.testing.assert_close(coupling.tail(bare, coupling.quantile(bare, at)), at, rtol=1e-9, atol=1e-9)


# -- mixtures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1e-12, 0.01, 0.3, 0.5, 0.77, 1 - 1e-9])
def test_quantile_of_a_mixture_against_scipy(level) -> None:
    fn = mixture([0.2, 0.5, 0.3], [-3.0, 0.0, 4.0], [0.5, 1.0, 0.2])

    def miss(x):
        return 0.2 * stats.norm.cdf(x, -3, 0.5) + 0.5 * stats.norm.cdf(x) + 0.3 * stats.norm.cdf(x, 4, 0.2) - level

    if level < 0.9:
        assert quantile(fn, level) == pytest.approx(optimize.brentq(miss, -20, 10, xtol=1e-14), abs=1e-8)
    else:
        coupling, bare = resolve(fn)
        found = tail.to_sf(coupling.tail(bare, tensor(quantile(fn, level)))).item()
        assert found == pytest.approx(1e-9, rel=1e-6)


def test_deep_tail_of_a_mixture_is_its_widest_component() -> None:
    fn = mixture([0.9, 0.1], [0.0, 0.0], [1.0, 3.0])
    coupling, bare = resolve(fn)
    noise = coupling.abduct(bare, tensor([-90.0, 90.0]))
    expected = np.log(0.1) + stats.norm.logcdf(-30.0)
    np.testing.assert_allclose(noise.numpy(), [expected, -expected], rtol=1e-13)
    torch.testing.assert_close(coupling.push(bare, noise), tensor([-90.0, 90.0]), rtol=1e-13, atol=0)


def test_a_component_without_weight_has_no_say() -> None:
    assert quantile(mixture([1.0, 0.0], [0.0, 50.0], [1.0, 1.0]), 0.9) == pytest.approx(stats.norm.ppf(0.9), abs=1e-12)


def test_a_mixture_of_one_component_is_that_component() -> None:
    old, new = mixture([1.0], [1.0], [2.0]), mixture([1.0], [-1.0], [3.0])
    coupling, bare = resolve(old)
    moved = coupling.transport(bare, tensor([3.0, -5.0]), new)
    torch.testing.assert_close(moved, tensor([2.0, -10.0]), rtol=1e-13, atol=1e-13)


def test_values_whose_mixture_is_the_same_are_copied_to_the_bit() -> None:
    torch.manual_seed(0)
    first, shift = torch.randn(200), torch.arange(200) % 2
    fns = [
        dist.MixtureSameFamily(
            dist.Categorical(logits=torch.stack([loc, -loc], -1)), dist.Normal(torch.stack([loc, loc + 3], -1), 0.5)
        )
        for loc in (first, first + shift)
    ]
    coupling, bare = resolve(fns[0])
    value = bare.sample()
    moved = coupling.transport(bare, value, fns[1])
    assert torch.equal(moved[::2], value[::2])
    assert (moved[1::2] != value[1::2]).all()


def test_gradients_through_a_mixtures_quantile() -> None:
    noise = tail.from_uniform(tensor([0.02, 0.4, 0.93])).requires_grad_()
    locs, logits = torch.randn(3, 2).requires_grad_(), torch.randn(3, 2).requires_grad_()
    scales = (torch.rand(3, 2) + 0.5).requires_grad_()
    coupling = resolve(mixture([1.0], [0.0], [1.0]))[0]

    def push(noise, logits, locs, scales):
        fn = dist.MixtureSameFamily(dist.Categorical(logits=logits), dist.Normal(locs, scales))
        return coupling.push(fn, noise)

    assert torch.autograd.gradcheck(push, (noise, logits, locs, scales), atol=1e-5)


def test_expectation_of_a_mixture_of_poissons_is_the_sum_over_intervals() -> None:
    old, new = (mixture([0.3, 0.7], rates, family=dist.Poisson) for rates in ([1.0, 6.0], [2.0, 9.0]))
    coupling, bare = resolve(old)
    for value in (0.0, 3.0, 11.0):
        outcomes = torch.arange(80.0)
        chances = coupling.probability(bare, tensor(value), new, outcomes)
        assert chances.sum().item() == pytest.approx(1.0, abs=1e-12)
        mean = coupling.expectation(bare, tensor(value), new).item()
        assert mean == pytest.approx((chances * outcomes).sum().item(), rel=1e-10)


def test_component_is_drawn_from_its_posterior() -> None:
    fn = mixture([0.3, 0.7], [0.0, 1.0], [1.0, 0.5])
    coupling, bare = resolve(fn, "component")
    assert not coupling.invertible and coupling.rung == 3
    value, generator = tensor(0.4), torch.Generator().manual_seed(0)
    noise = coupling.abduct(bare, value, torch.rand(20_000, 3, generator=generator))
    chosen = (torch.log(tensor([0.3, 0.7])) + noise[:, :2]).argmax(-1)
    weight = 0.3 * stats.norm.pdf(0.4), 0.7 * stats.norm.pdf(0.4, 1, 0.5)
    assert stats.binomtest(int(chosen.sum()), 20_000, weight[1] / sum(weight)).pvalue > 1e-6
    torch.testing.assert_close(noise[:, 2], torch.where(chosen == 0, 0.4, -1.2))


def test_component_keeps_the_component_while_the_weights_stay() -> None:
    old, new = mixture([0.3, 0.7], [0.0, 9.0], [1.0, 1.0]), mixture([0.3, 0.7], [-5.0, 20.0], [1.0, 2.0])
    coupling, bare = resolve(old, "component")
    uniform = torch.rand(2, 3)
    moved = coupling.transport(bare, tensor([0.5, 9.5]), new, uniform)
    torch.testing.assert_close(moved, tensor([-4.5, 21.0]))  # the quantile of the mixture would say about the same
    swapped = mixture([0.3, 0.7], [9.0, 0.0], [1.0, 1.0])
    assert coupling.transport(bare, tensor([0.5, 9.5]), swapped, uniform).tolist() == pytest.approx([9.5, 0.5])
    assert resolve(old)[0].transport(bare, tensor([0.5]), swapped).item() < 1.5  # … and not here


def test_the_engine_draws_a_component_and_computes_a_quantile() -> None:
    def program():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        fn = dist.MixtureSameFamily(
            dist.Categorical(logits=torch.stack([x, -x], -1)), dist.Normal(torch.stack([x - 2, x + 2], -1), 1.0)
        )
        y = pyro.sample("y", fn)
        pyro.sample("z", dist.Normal(y, 1.0))

    for name, abduction in ((None, "exact"), ("component", "law")):
        scm = pcm.SCM(program, couplings={"y": name} if name else None)
        frame = scm.sample(30, seed=1)
        same = scm.counterfactual(frame, do={"x": frame["x"].to_numpy()}, draws=5, seed=0)
        assert np.abs(same.draws("z") - frame["z"].to_numpy()).max() < 1e-9
        moved = scm.counterfactual(frame, do={"x": 0.5}, draws=400, seed=0)
        assert moved.account.sites["y"].abduction == abduction
        assert moved.account.rung == 3
        assert np.ptp(moved.draws("z"), axis=0).max() > 1 if name else moved.draws("z").std(0).max() < 1e-12


# -- zero-inflated -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gate", "gate_logits"])
def test_zero_inflated_poisson_is_the_quantile_of_its_table(name) -> None:
    gate = tensor(0.3) if name == "gate" else torch.logit(tensor(0.3))
    fn = dist.ZeroInflatedPoisson(tensor(2.0), **{name: gate})
    coupling, bare = resolve(fn)
    counts = torch.arange(12.0)
    cdf = 0.3 + 0.7 * stats.poisson.cdf(counts.numpy(), 2.0)
    np.testing.assert_allclose(tail.to_cdf(coupling.tail(bare, counts)).numpy(), cdf, rtol=1e-12)
    grid = torch.linspace(0.001, 0.999, 333)
    found = coupling.push(bare, tail.from_uniform(grid))
    assert (found.numpy() == np.searchsorted(cdf, grid.numpy())).all()


def test_a_zero_says_only_that_the_rank_is_low() -> None:
    old, new = (dist.ZeroInflatedPoisson(tensor(2.0), gate=tensor(gate)) for gate in (0.5, 0.0))
    coupling, bare = resolve(old)
    p0 = np.exp(-2.0)
    stays = coupling.probability(bare, tensor(0.0), new, tensor(0.0)).item()
    assert stays == pytest.approx(p0 / (0.5 + 0.5 * p0), rel=1e-12)
    assert coupling.expectation(bare, tensor(0.0), old).item() == 0.0


def test_no_gate_is_the_base_and_a_full_gate_is_zero() -> None:
    base, never = dist.Poisson(tensor(4.0)), dist.ZeroInflatedPoisson(tensor(4.0), gate=tensor(0.0))
    noise = tail.from_uniform(torch.rand(500, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(resolve(never)[0].push(never, noise), resolve(base)[0].push(base, noise))
    always = dist.ZeroInflatedPoisson(tensor(4.0), gate=tensor(1.0))
    assert (resolve(always)[0].push(always, noise) == 0).all()


def test_zero_inflated_reals_keep_their_rank_around_the_atom() -> None:
    fn = dist.ZeroInflatedDistribution(dist.Normal(tensor(0.5), 1.0), gate=tensor(0.4))
    coupling, bare = resolve(fn)
    assert not coupling.invertible
    below = 0.6 * stats.norm.cdf(-0.5)
    levels = tensor([0.5 * below, below + 1e-6, below + 0.39, below + 0.41])
    found = coupling.push(bare, tail.from_uniform(levels))
    assert found[1] == found[2] == 0
    assert found[0].item() == pytest.approx(stats.norm.ppf(0.5 * below / 0.6, 0.5), abs=1e-9)
    assert found[3].item() == pytest.approx(stats.norm.ppf((below + 0.01) / 0.6, 0.5), abs=1e-9)


# -- truncated ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (3.0, None), (None, -4.0), (0.5, 0.6)])
def test_truncated_normal_is_scipys(low, high) -> None:
    fn = Truncated(dist.Normal(tensor(0.3), 0.7), low, high)
    ends = [(-np.inf if low is None else (low - 0.3) / 0.7), (np.inf if high is None else (high - 0.3) / 0.7)]
    law = stats.truncnorm(*ends, loc=0.3, scale=0.7)
    levels = np.array([0.001, 0.3, 0.5, 0.9, 0.9999])
    coupling, bare = resolve(fn)
    value = coupling.push(bare, tail.from_uniform(torch.from_numpy(levels)))
    np.testing.assert_allclose(value.numpy(), law.ppf(levels), rtol=1e-7)
    np.testing.assert_allclose(fn.log_prob(value).numpy(), law.logpdf(value.numpy()), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(tail.to_cdf(coupling.tail(bare, value)).numpy(), levels, rtol=1e-9)


def test_truncation_far_out() -> None:
    fn = Truncated(dist.Normal(tensor(0.0), 1.0), low=1e4)
    value = fn.sample((1_000,))
    # beyond the bound the excess is exponential of rate 1e4
    assert stats.kstest((value - 1e4).numpy() * 1e4, "expon").pvalue > 1e-6
    coupling, bare = resolve(fn)
    torch.testing.assert_close(coupling.push(bare, coupling.abduct(bare, value)), value, rtol=1e-12, atol=0)


def test_log_prob_integrates_to_one_and_is_nothing_outside() -> None:
    fn = Truncated(dist.Gamma(tensor(2.0), 1.5), 0.5, 3.0)
    total, _ = integrate.quad(lambda x: fn.log_prob(tensor(x)).exp().item(), 0.5, 3.0)
    assert total == pytest.approx(1.0, abs=1e-9)
    quiet = Truncated(dist.Gamma(tensor(2.0), 1.5), 0.5, 3.0, validate_args=False)
    assert torch.isneginf(quiet.log_prob(tensor([0.4, 3.1]))).all()
    with pytest.raises(ValueError, match="support"):
        fn.log_prob(tensor(0.4))


def test_truncated_counts_take_their_bounds() -> None:
    fn = Truncated(dist.Poisson(tensor([0.5, 20.0])), low=1, high=4)
    value = fn.sample((2_000,))
    assert value.amin().item() == 1 and value.amax().item() == 4
    mass = fn.log_prob(torch.arange(1.0, 5.0)[:, None]).exp()
    expected = stats.poisson.pmf(np.arange(1, 5)[:, None], [0.5, 20.0])
    np.testing.assert_allclose(mass.numpy(), expected / expected.sum(0), rtol=1e-12)
    np.testing.assert_allclose(fn.mean.numpy(), (np.arange(1, 5)[:, None] * mass.numpy()).sum(0), rtol=1e-12)


def test_truncated_expands_and_learns() -> None:
    fn = Truncated(dist.Normal(tensor(0.0), 1.0), low=0.0).expand([5])
    assert fn.sample().shape == fn.batch_shape == (5,)
    assert fn.support.check(fn.sample()).all()
    loc = tensor(0.3, requires_grad=True)
    slope = torch.autograd.grad(Truncated(dist.Normal(loc, 1.0), low=0.0).log_prob(tensor(1.0)), loc)[0].item()
    assert slope == pytest.approx(1.0 - 0.3 - stats.norm.pdf(-0.3) / stats.norm.sf(-0.3), rel=1e-9)


@pytest.mark.parametrize(
    ("base", "bounds", "words"),
    [
        (dist.Normal(0.0, 1.0), {}, "give a low bound"),
        (dist.Normal(0.0, 1.0), {"low": 2.0, "high": 1.0}, "low must be below high"),
        (dist.Dirichlet(torch.ones(3)), {"low": 0.1}, "one number"),
        (dist.VonMises(0.0, 1.0), {"low": 0.1}, "VonMises"),
        (dist.Bernoulli(0.5), {"low": 1.0}, "quantile"),
        (0.5, {"low": 1.0}, "one number"),
    ],
)
def test_truncations_that_cannot_be(base, bounds, words) -> None:
    with pytest.raises((ArgumentError, CouplingError), match=words):
        Truncated(base, **bounds)


# -- Dirichlet ---------------------------------------------------------------------------------------------------------


def test_components_near_zero_survive() -> None:
    fn = dist.Dirichlet(tensor([0.02, 0.5, 3.0, 0.01]))
    coupling, bare = resolve(fn)
    value = fn.sample((5_000,))
    value = torch.cat([value, tensor([[1e-200, 0.3, 0.7 - 1e-150, 1e-150], [1.0, 1e-300, 1e-300, 1e-300]])])
    back = coupling.push(bare, coupling.abduct(bare, value))
    usable = value > 1e-290
    assert ((back - value).abs()[usable] / value[usable]).max() < 1e-6
    assert (back.sum(-1) - 1).abs().max() < 1e-12


def test_the_first_component_is_a_beta_and_the_rest_a_dirichlet() -> None:
    fn = dist.Dirichlet(tensor([0.7, 2.0, 1.1]))
    coupling, bare = resolve(fn)
    noise = tail.from_uniform(torch.rand(4_000, 2, generator=torch.Generator().manual_seed(3)))
    value = coupling.push(bare, noise).numpy()
    for place, a in enumerate([0.7, 2.0, 1.1]):
        assert stats.kstest(value[:, place], stats.beta(a, 3.8 - a).cdf).pvalue > 1e-6
    assert value[0, 0] == pytest.approx(stats.beta(0.7, 3.1).ppf(tail.to_cdf(noise[0, 0]).item()), rel=1e-9)


# -- checks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fn", "found"),
    [
        (mixture([0.5, 0.5], [1.0, 2.0], family=dist.Poisson), -1.0),
        (mixture([0.5, 0.5], [0.0, 2.0], [1.0, 5.0], family=dist.Uniform), 5.5),
        (dist.ZeroInflatedPoisson(tensor(1.0), gate=tensor(0.5)), 0.5),
        (dist.ZeroInflatedDistribution(dist.Gamma(tensor(1.0), 1.0), gate=tensor(0.5)), -0.1),
        (dist.MaskedMixture(tensor(True), dist.Normal(tensor(0.0), 1.0), dist.Gamma(tensor(1.0), 1.0)), -0.1),
        (Truncated(dist.Normal(tensor(0.0), 1.0), low=0.0), -0.1),
        (Truncated(dist.Poisson(tensor(1.0)), low=1), 0.0),
        (dist.Dirichlet(torch.ones(3)), [0.5, 0.2, 0.2]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_values_outside_the_support_are_refused(fn, found) -> None:
    check_value(fn.expand([4]), fn.sample((4,)))
    with pytest.raises(SupportError, match="'dose'"):
        check_value(fn.expand([1]), tensor([found]), "dose")


def test_parameters_of_components_are_checked() -> None:
    bad = dist.MixtureSameFamily(
        dist.Categorical(torch.ones(3, 2)),
        dist.Normal(torch.zeros(3, 2), tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), validate_args=False),
    )
    with pytest.raises(SupportError, match=r"scale of Normal.*row 1") as caught:
        check_distribution(bad, "dose")
    assert caught.value.__dict__["rows"] == [1]
    wide = dist.ZeroInflatedPoisson(torch.ones(2), gate=tensor([0.5, 1.5]), validate_args=False)
    with pytest.raises(SupportError, match="gate"):
        check_distribution(wide, "dose")


# -- Gumbel-max of few outcomes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [2, 3, 4, 5, 8])
def test_pairs_equal_the_sort(kinds) -> None:
    torch.manual_seed(kinds)
    p, q = (torch.randn(500, kinds).mul(3).softmax(-1) for _ in range(2))
    p[:50, 0], q[50:100, 1], q[100:150, -1] = 0.0, 0.0, p[100:150, -1]
    q[150:200] = p[150:200]
    p, q = (each / each.sum(-1, keepdim=True) for each in (p, q))
    code = torch.randint(kinds, (500,))
    found, expected = (f(p.log(), code, q.log()) for f in (_by_pairs, _by_sort))
    possible = p.gather(-1, code[:, None])[:, 0] > 0
    torch.testing.assert_close(found[possible], expected[possible], rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(found[possible].sum(-1), torch.ones(int(possible.sum())), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kinds", [3, 12])
def test_blocks_of_units_change_nothing(kinds) -> None:
    coupling, fn = resolve(dist.Categorical(logits=torch.randn(70_000, kinds)))
    other, value = dist.Categorical(logits=torch.randn(70_000, kinds)), fn.sample()
    whole = coupling.transition(fn, value, other)
    last = dist.Categorical(logits=fn.logits[-10:]), dist.Categorical(logits=other.logits[-10:])
    torch.testing.assert_close(whole[-10:], coupling.transition(last[0], value[-10:], last[1]), rtol=1e-13, atol=1e-15)


def test_every_discrete_family_has_its_couplings() -> None:
    discrete = set()
    for case in CASES:
        coupling, bare = resolve(case.member(0), case.couplings[0] if case.couplings else None)
        if coupling.discrete:
            discrete.add(case.family)
            for name in ("monotone", "gumbel_max", "independent"):
                assert resolve(bare, name)[0].name == name, name_of(case)
    # the laws of each are then tested on some member
    assert discrete <= {case.family for case, name in PAIRS if name == "gumbel_max"}
