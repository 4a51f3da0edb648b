"""Audits of samplers whose privacy is known: tight, right, and a half-scale bug is always flagged."""

from __future__ import annotations

import numpy as np
import pytest

from pcm import private
from pcm.errors import ArgumentError, DataError
from pcm.private.audits import audit_floating_point, audit_mechanism
from pcm.private.audits.floating_point import lattice_exponent

EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def response(epsilon, categories=2):
    keep = np.exp(epsilon) / (categories - 1 + np.exp(epsilon))

    def draw(value, n, seed):
        rng = np.random.default_rng(seed)
        return np.where(rng.random(n) < keep, value, (value + rng.integers(1, categories, n)) % categories)

    return draw


def laplace(epsilon):
    return lambda value, n, seed: value + np.random.default_rng(seed).laplace(0.0, 1 / epsilon, n)


def discrete_laplace(epsilon):
    def draw(value, n, seed):
        rng = np.random.default_rng(seed)
        stop = 1 - np.exp(-epsilon)
        return value + rng.geometric(stop, n) - rng.geometric(stop, n)

    return draw


PURE = {
    "response": response,
    "five categories": lambda e: response(e, 5),
    "laplace": laplace,
    "discrete": discrete_laplace,
}


KNOWN = {
    "response": lambda e: private.RandomizedResponse(epsilon=e, categories=[0, 1]),
    "five categories": lambda e: private.RandomizedResponse(epsilon=e, categories=range(5)),
    "laplace": lambda e: private.Laplace(epsilon=e, bounds=(0, 1)),
    "discrete": lambda e: private.DiscreteLaplace(epsilon=e, bounds=(0, 1)),
}


@pytest.mark.parametrize("seed", [7, 11])
@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("name", PURE)
def test_pure_mechanisms_to_nine_tenths(name, epsilon, seed):
    found = audit_mechanism(PURE[name](epsilon), (0, 1), claimed=epsilon, seed=seed, confidence=0.95)
    assert found.epsilon >= 0.9 * epsilon
    assert found.epsilon <= epsilon * 1.03  # at 95 % one in twenty lies above ε, never far


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("name", PURE)
def test_pure_mechanisms_over_a_hundred_seeds(name, epsilon):
    """Each of them, knowing the sampler by its draws alone."""
    audits = [
        audit_mechanism(PURE[name](epsilon), (0, 1), claimed=epsilon, seed=s, confidence=0.95) for s in range(100, 200)
    ]
    assert min(found.ratio for found in audits) >= 0.9
    # at a true level of 95 % more than that comes about once in seven thousand
    assert sum(found.ratio > 1 for found in audits) <= 14


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("name", PURE)
def test_samplers_beside_the_mechanism_they_are_said_to_be(name, epsilon):
    """Inputs and what to count come from the mechanism; of five categories all are drawn, as many draws in all."""
    audits = [
        audit_mechanism(PURE[name](epsilon), claimed=KNOWN[name](epsilon), seed=s, confidence=0.95)
        for s in range(100, 125)
    ]
    assert all(found.claimed == pytest.approx(epsilon) for found in audits)
    assert min(found.ratio for found in audits) >= 0.9
    assert sum(found.ratio > 1 for found in audits) <= 6


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("name", PURE)
def test_half_the_noise_is_flagged(name, epsilon):
    found = audit_mechanism(PURE[name](2 * epsilon), (0, 1), claimed=epsilon, seed=8, confidence=0.9999)
    assert found.flagged


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("name", PURE)
def test_half_the_noise_is_flagged_over_a_hundred_seeds(name, epsilon):
    for seed in range(100):
        options = {"inputs": (0, 1), "claimed": epsilon} if seed % 5 else {"claimed": KNOWN[name](epsilon)}
        assert audit_mechanism(PURE[name](2 * epsilon), seed=seed, confidence=0.9999, **options).flagged


def test_several_inputs_tell_more_of_five_categories():
    """The standard error with all inputs is three quarters of that with two, of as many draws: θ(1 − θ) to 2 b p q."""
    source = response(0.25, 5)
    pairs, all_of_them = (
        np.array([audit_mechanism(source, tuple(range(k)), n=20_000, seed=s).epsilon for s in range(60)])
        for k in (2, 5)
    )
    assert all_of_them.mean() > pairs.mean()
    assert all_of_them.std() < 0.95 * pairs.std()
    found = audit_mechanism(source, claimed=KNOWN["five categories"](0.25), n=20_000, seed=0)
    assert "guessing 0 at 0, 1 at 1, 2 at 2, 3 at 3, …" in found.found
    assert found.counts["draws"] <= 40_000


def test_several_inputs_are_wrong_no_oftener_than_they_say():
    wrong = [
        audit_mechanism(response(1.0, 5), tuple(range(5)), n=1_000, seed=seed, confidence=0.9).epsilon > 1
        for seed in range(200)
    ]
    assert np.mean(wrong) <= 0.1 + 5 * np.sqrt(0.09 / 200)


def test_several_inputs_need_few_outputs_and_no_delta():
    with pytest.raises(ArgumentError, match="distinct ones"):
        audit_mechanism(laplace(1.0), (0, 1, 2), claimed=2.0, n=2_000, seed=0)
    with pytest.raises(ArgumentError, match="two inputs are told apart"):
        audit_mechanism(response(1.0, 5), (0, 1, 2), delta=1e-5, n=2_000, seed=0)
    with pytest.raises(ArgumentError, match="two different inputs"):
        audit_mechanism(response(1.0, 5), (0, 1, 0), n=2_000, seed=0)


def test_answers_of_another_kind_than_the_stated_ones():
    """Codes where labels were stated: a finding of the draws alone, no error of numpy's."""
    stated = private.RandomizedResponse(epsilon=1.0, categories=["no", "yes"])
    found = audit_mechanism(lambda value, n: np.full(n, int(value == "yes")), claimed=stated, n=1_000)
    assert found.flagged


def test_a_disaster_that_the_stated_mechanism_does_not_know():
    """One answer in a hundred is the secret itself; the stated law proposes nothing of the kind, the draws do."""

    def draw(value, n, seed):
        rng = np.random.default_rng(seed)
        return np.where(rng.random(n) < 0.01, 1e6 * value, value + rng.laplace(0.0, 2.0, n))

    found = audit_mechanism(draw, claimed=private.Laplace(epsilon=0.5, bounds=(0, 1)), seed=0)
    assert found.flagged
    assert found.epsilon > 3


@pytest.mark.parametrize("mu", [0.07, 0.25, 0.5, 1.0, 3.0])
def test_gaussian_noise_by_mu(mu):
    def draw(value, n, seed, sigma=1 / mu):
        return value + np.random.default_rng(seed).normal(0.0, sigma, n)

    found = audit_mechanism(draw, (0.0, 1.0), mu=mu, delta=1e-5, seed=3)
    assert (0.8 if mu < 0.1 else 0.9) * mu <= found.mu <= mu  # of μ = .07 no more than .9 on average, ± .06
    assert not found.flagged
    # Clopper–Pearson on ε itself stays far below
    plain = audit_mechanism(draw, (0.0, 1.0), delta=1e-5, seed=3)
    assert plain.epsilon < found.epsilon
    half = audit_mechanism(lambda value, n, seed: draw(value, n, seed, 0.5 / mu), (0.0, 1.0), mu=mu, seed=4)
    assert half.flagged


@pytest.mark.slow
@pytest.mark.parametrize("mu", [0.07, 0.25, 1.0])
def test_gaussian_noise_is_bounded_as_tightly_as_one_threshold_can(mu):
    """A guess of every draw is right with Φ(μ / 2); 94 % of the draws are counted. At μ = .07 that is .9 of it."""

    def draw(value, n, seed, sigma=1 / mu):
        return value + np.random.default_rng(seed).normal(0.0, sigma, n)

    audits = [audit_mechanism(draw, (0.0, 1.0), mu=mu, seed=seed) for seed in range(40)]
    found = np.array([each.ratio for each in audits])
    error = np.sqrt(2 * np.pi / (0.94 * 400_000)) / mu  # 2 √(p q) / φ(0) / √(draws), over μ
    assert found.mean() >= 1 - 1.645 * error - 4 * error / np.sqrt(40) - 0.005  # a little for the choice
    assert (found > 1).sum() <= 8
    for seed in range(40):
        half = audit_mechanism(lambda value, n, seed: draw(value, n, seed, 0.5 / mu), (0.0, 1.0), mu=mu, seed=seed)
        assert half.flagged


def test_a_rare_disaster_is_found_by_mu():
    """One answer in a hundred is the secret itself: no guess of every draw shows it, one event does."""

    def draw(value, n, seed):
        rng = np.random.default_rng(seed)
        return np.where(rng.random(n) < 0.01, 100.0 * value, rng.normal(0.0, 1.0, n))

    found = audit_mechanism(draw, (0.0, 1.0), mu=0.5, seed=0)
    assert found.flagged
    assert "held-out draws" in found.found
    assert "guessing" not in found.found


def test_what_so_few_draws_cannot_show_is_said():
    """1,000 draws, 800 an input held out: at 95 % no ε above logit(.05^(1/1320)) can be refuted."""
    found = audit_mechanism(response(20.0), (0, 1), claimed=10.0, n=1_000, seed=0)
    assert found.counts == {"right": 1_320, "guesses": 1_320, "draws": 1_320}
    sure = 0.05 ** (1 / 1_320)
    assert found.epsilon == found.reach == pytest.approx(np.log(sure / (1 - sure)))
    assert not found.flagged
    assert f"so many draws can refute {found.reach:.4g} at most" in repr(found)
    assert "at most" not in repr(audit_mechanism(response(1.0), (0, 1), claimed=1.0, n=1_000, seed=0))


@pytest.mark.parametrize("name", PURE)
def test_the_bound_is_wrong_no_oftener_than_it_says(name):
    """A mechanism at exactly ε, 200 audits at 90 %: above ε in 20 of them at most, but for five standard errors."""
    wrong = [
        audit_mechanism(PURE[name](1.0), (0, 1), n=1_000, seed=seed, confidence=0.9).epsilon > 1 for seed in range(200)
    ]
    assert np.mean(wrong) <= 0.1 + 5 * np.sqrt(0.09 / 200)


def test_mu_is_wrong_no_oftener_than_it_says():
    def draw(value, n, seed):
        return value + np.random.default_rng(seed).normal(0.0, 1.0, n)

    wrong = [
        audit_mechanism(draw, (0.0, 1.0), mu=1.0, n=1_000, seed=seed, confidence=0.9).mu > 1 for seed in range(200)
    ]
    assert np.mean(wrong) <= 0.1 + 5 * np.sqrt(0.09 / 200)


# -- floating point ----------------------------------------------------------------------------------------------------


def test_lattice_exponent_is_the_largest_power_of_two():
    rng = np.random.default_rng(0)
    values = rng.normal(size=1_000) * 2.0 ** rng.integers(-60, 60, 1_000)
    found = lattice_exponent(values)
    with np.errstate(over="raise"):
        assert (np.ldexp(values, -found) % 1 == 0).all()
        assert (np.ldexp(values, -found - 1) % 1 != 0).all()
    assert lattice_exponent(5e-324) == -1074


def exact_laplace(value, n, seed):
    """Laplace noise in exact arithmetic, rounded once: discrete Laplace on a lattice of 2^-40, as integers."""
    rng = np.random.default_rng(seed)
    stop = -np.expm1(-(2.0**-40))
    noise = [(np.log1p(-rng.random(n)) / np.log1p(-stop)).astype(np.int64) for _ in range(2)]
    return (int(value * 2**40) + noise[0] - noise[1]) / 2.0**40


def test_lattice_noise_is_cleared():
    found = audit_floating_point(exact_laplace, (0.0, 1.0), claimed=1.0, n=50_000, seed=0)
    assert not found.flagged


def numpy_laplace(value, n, seed):
    return value + np.random.default_rng(seed).laplace(0.0, 1.0, n)


def by_inversion(value, n, seed):
    u = np.random.default_rng(seed).random(n) - 0.5
    return value - np.sign(u) * np.log1p(-2 * np.abs(u))


def torch_laplace(dtype):
    def draw(value, n, seed):
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            law = torch.distributions.Laplace(torch.tensor(value, dtype=dtype), torch.ones((), dtype=dtype))
            return law.sample((n,)).numpy().astype(float)

    return draw


def torch_samplers():
    import torch

    return {"torch double": torch_laplace(torch.float64), "torch single": torch_laplace(torch.float32)}


SAMPLERS = {"numpy": numpy_laplace, "inversion": by_inversion, **torch_samplers()}


@pytest.mark.parametrize("inputs", [(0.0, 1.0), (-1.0, 1.0), (0.0, 3.0)])
@pytest.mark.parametrize("name", SAMPLERS)
def test_textbook_samplers_are_flagged(name, inputs):
    span = inputs[1] - inputs[0]
    found = audit_floating_point(SAMPLERS[name], inputs, claimed=span, n=100_000, seed=0)
    assert found.flagged, found


@pytest.mark.parametrize(
    ("audit", "inputs", "options", "error", "words"),
    [
        (audit_mechanism, ("no", "yes"), {"claimed": KNOWN["response"](1.0)}, DataError, "none of the mechanism's"),
        (audit_mechanism, (0.0, 5.0), {"claimed": KNOWN["laplace"](1.0)}, DataError, "outside the public bounds"),
        (audit_floating_point, ("a", "b"), {"claimed": 1.0}, ArgumentError, "two numbers"),
        (audit_floating_point, (0, 1, 2), {"claimed": 1.0}, ArgumentError, "two numbers"),
        (audit_floating_point, None, {"claimed": private.Gaussian(rho=0.5, bounds=(0, 1))}, ArgumentError, "delta="),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_drawn(audit, inputs, options, error, words):
    def never(value, n):
        raise AssertionError("drawn")

    with pytest.raises(error, match=words):
        audit(never, inputs, **options)


def test_bad_arguments_are_named():
    with pytest.raises(ArgumentError, match="inputs="):
        audit_mechanism(numpy_laplace, claimed=1.0)
    with pytest.raises(ArgumentError, match="two different inputs"):
        audit_mechanism(numpy_laplace, (1.0, 1.0))
    with pytest.raises(ArgumentError, match="n=0"):
        audit_mechanism(response(1.0, 5), claimed=KNOWN["five categories"](1.0), n=0)
    with pytest.raises(ArgumentError, match="two numbers are needed"):
        audit_floating_point(numpy_laplace, (0.0, 1.0, 2.0), claimed=1.0, n=100, seed=0)
    with pytest.raises(ArgumentError, match="or the mechanism that promises it"):
        audit_mechanism(response(1.0), (0, 1), claimed=np.zeros(2), n=100, seed=0)
    with pytest.raises(DataError, match="outside the public bounds"):
        audit_mechanism(numpy_laplace, (0.0, 5.0), claimed=KNOWN["laplace"](1.0), n=100, seed=0)
    with pytest.raises(ArgumentError, match="n=1"):
        audit_mechanism(numpy_laplace, (0.0, 1.0), n=1)
    with pytest.raises(ArgumentError, match="mu=-1"):
        audit_mechanism(numpy_laplace, (0.0, 1.0), mu=-1.0, seed=0)
    with pytest.raises(ArgumentError, match="neither a mechanism nor a callable"):
        audit_mechanism(3, (0.0, 1.0))
    with pytest.raises(ArgumentError, match="does not take seed="):
        audit_mechanism(lambda value, n: np.zeros(n), (0.0, 1.0), seed=0)
    with pytest.raises(DataError, match="returned an array of shape"):
        audit_mechanism(lambda value, n: np.zeros(3), (0.0, 1.0))
    with pytest.raises(DataError, match=r"NaN|not all finite numbers"):
        audit_floating_point(lambda value, n: np.full(n, np.nan), (0.0, 1.0), n=10)
