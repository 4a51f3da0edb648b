"""The conformance tests that users run: they pass what is right, and name what is wrong."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import pcm
from pcm.couplings import Coupling, register, registry, resolve
from pcm.couplings import tail as tails
from pcm.errors import ArgumentError
from pcm.testing import Report, check_coupling, check_program


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Delayed(dist.Exponential):
    """An exponential wait that starts at 1."""

    support = torch.distributions.constraints.greater_than_eq(1.0)

    def log_prob(self, value):
        return super().log_prob(value - 1)

    def sample(self, sample_shape=()):
        return 1 + super().sample(torch.Size(sample_shape))


class Right(Coupling):
    """Noise is Exponential(1)."""

    name = "monotone"
    families = (Delayed,)

    def push(self, fn, noise):
        return 1 + noise / fn.rate

    def abduct(self, fn, value, uniform=None):
        return (value - 1) * fn.rate

    def fresh(self, fn, uniform):
        return -torch.log1p(-uniform)


class NoInverse(Right):
    def abduct(self, fn, value, uniform=None):
        return (value - 1) * fn.rate * 1.001


class OtherLaw(Right):
    def fresh(self, fn, uniform):
        return 1.3 * -torch.log1p(-uniform)


class Falls(Right):
    def push(self, fn, noise):
        return 1 + (noise - 2).abs() / fn.rate


class Single(Right):
    def abduct(self, fn, value, uniform=None):
        return ((value - 1) * fn.rate).float()


class Branches(Right):
    def push(self, fn, noise):
        return 1 + noise / fn.rate if bool((noise > -1).all()) else noise


class Wanders(Right):
    def transport(self, fn, value, other, uniform=None):
        return value


def worlds():
    return [Delayed(torch.tensor([rate, 3.0, 0.5])) for rate in (1.0, 4.0)]


def test_a_right_coupling_passes_registered_or_not() -> None:
    report = check_coupling(Right(), worlds())
    assert report.broken == {}
    assert "not registered" in report.skipped["wrappers"]
    register(Right())
    try:
        found = check_coupling(resolve(worlds()[0])[0], worlds())
        assert set(found.kept) - set(report.kept) == {"wrappers"}
    finally:
        registry._registered.pop(Delayed)
        registry._defaults.clear()


@pytest.mark.parametrize(
    ("wrong", "laws"),
    [
        (NoInverse, {"round trip", "same law, same value"}),
        (OtherLaw, {"law of fresh noise", "calibration"}),
        (Falls, {"monotone", "round trip", "law of fresh noise"}),
        (Single, {"dtype and shapes"}),
        (Branches, {"vmap equals a loop"}),
        (Wanders, {"transport is push of abduct", "rung 2 from rung 3"}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_each_fault_is_found_and_named(wrong, laws) -> None:
    with pytest.raises(AssertionError) as caught:
        check_coupling(wrong(), worlds())
    for law in laws:
        assert f"\n  {law}: " in str(caught.value)


class Coin(Coupling):
    """Bernoulli by quantiles, with whatever is wrong put in by the tests."""

    name = "monotone"
    families = (dist.Bernoulli,)
    discrete = True
    bent = 0.0
    middle = False

    def push(self, fn, noise):
        return (tails.to_cdf(noise) > 1 - fn.probs).to(fn.probs.dtype)

    def abduct(self, fn, value, uniform=None):
        if uniform is None:
            raise TypeError("`uniform` is needed")
        uniform = 0.25 + uniform / 2 if self.middle else uniform
        low, high = torch.where(value > 0.5, 1 - fn.probs, 0.0), torch.where(value > 0.5, 1.0, 1 - fn.probs)
        return tails.from_uniform(low + (high - low) * uniform.clamp(1e-12, 1 - 1e-12))

    def fresh(self, fn, uniform):
        return tails.from_uniform(uniform)

    def cardinality(self, fn):
        return 2

    def transition(self, fn, value, other):
        one = resolve(dist.Bernoulli(fn.probs))[0].expectation(fn, value, other) + self.bent
        return torch.stack([1 - one, one], -1)

    def probability(self, fn, value, other, outcome):
        return self.transition(fn, value, other)[..., int(outcome)]

    def expectation(self, fn, value, other):
        return self.transition(fn, value, other)[..., 1]


def coins() -> list[dist.Bernoulli]:
    return [dist.Bernoulli(torch.tensor([p, 0.4, 0.7])) for p in (0.3, 0.6)]


def test_discrete_faults() -> None:
    assert "closed forms" in check_coupling(Coin(), coins()).kept
    bent, middle = Coin(), Coin()
    bent.bent, middle.middle = 0.01, True
    with pytest.raises(AssertionError, match="closed forms: error of a probability"):
        check_coupling(bent, coins())
    with pytest.raises(AssertionError, match="calibration: pulled and fresh noise differ"):
        check_coupling(middle, coins())


def test_worlds_that_do_not_match() -> None:
    for fns in ([dist.Normal(torch.zeros(3), 1.0)], [dist.Normal(torch.zeros(n), 1.0) for n in (2, 3)]):
        with pytest.raises(ArgumentError, match="two or more distributions of one batch shape"):
            check_coupling(resolve(fns[0])[0], fns)


def test_the_default_dtype_and_the_generator_are_left_alone() -> None:
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_coupling(
        resolve(dist.Normal(torch.zeros(2), 1.0))[0], [dist.Normal(torch.zeros(2, dtype=torch.float64), 1.0)] * 2
    )
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_default_dtype() is torch.float32


def test_a_report_says_what_was_measured() -> None:
    report = check_coupling(Right(), worlds())
    assert report.kept["round trip"].startswith("error ")
    assert "of at most 1e-06" in report.kept["round trip"]
    assert str(report) == "Right 'monotone', 2 distributions: 10 laws kept"
    broken = Report("x")
    with broken.law("holds"):
        broken.within("nan", float("nan"), 1.0)
    assert "nan" in broken.broken["holds"]
    assert "1 broken" in repr(broken)


# -- programs ----------------------------------------------------------------------------------------------------------

LAWS = {
    "consistency",
    "effectiveness, and non-descendants to the bit",
    "composition",
    "the last do wins",
    "rung 2 from rung 3",
    "partition invariance",
}


def clinic():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    labs = pyro.sample("labs", dist.Gamma(2.0, torch.exp(-0.3 * age)))
    plan = pyro.sample("plan", dist.Categorical(logits=torch.stack([0 * age, age, -age], -1)))
    risk = pyro.deterministic("risk", 0.5 * labs + 0.3 * age)
    pyro.sample("readmit", dist.Bernoulli(logits=risk - 0.4 * (plan == 1)))


def test_a_program_keeps_every_law() -> None:
    report = check_program(clinic, many=1_000)
    assert set(report.kept) == LAWS
    assert str(report) == "clinic, 5 variables: 6 laws kept"


def test_labels_vectors_and_interventions() -> None:
    labelled = pcm.SCM(clinic, categories={"plan": ["none", "basic", "full"]}).do(age=0.5)
    assert set(check_program(labelled, many=500, units=12).kept) == LAWS

    def shares():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        split = pyro.sample("split", dist.Dirichlet(torch.stack([x.exp(), 1 + 0 * x, 2 + 0 * x], -1)))
        pyro.sample("y", dist.Normal(split[..., 0] - split[..., 2], 1.0))

    assert set(check_program(shares, many=500, units=12).kept) == LAWS


def test_parameters_must_be_given_and_covariates_handed_over() -> None:
    def dose_response(n, *, sex):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            dose = pyro.sample("dose", dist.Exponential(1.0 + sex))
            pyro.sample("response", dist.Normal(slope * dose, 0.5))

    scm = pcm.SCM(dose_response)
    with pytest.raises(ArgumentError, match=r"scm\.given\(slope"):
        check_program(scm)
    sex = {"sex": torch.arange(200.0).remainder(2).numpy()}
    assert set(check_program(scm.given(slope=0.7), data=sex).kept) == LAWS


def test_a_rung_two_coupling_is_said_to_be_one() -> None:
    report = check_program(pcm.SCM(clinic, couplings={"readmit": "independent"}), many=500, units=12)
    assert set(report.skipped) == {"consistency", "composition"}


def test_a_broken_mechanism_is_found(monkeypatch) -> None:
    """A Normal whose equation drifts when its noise is pulled back."""
    from pcm.couplings.location_scale import NormalCoupling

    def drift(self, fn, value: Tensor, other, uniform=None) -> Tensor:
        return value + (other.loc - fn.loc) + 1e-3

    monkeypatch.setattr(NormalCoupling, "transport", drift)

    def pair():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x, 1.0))

    with pytest.raises(AssertionError, match=r"consistency: do\(x\): error of y"):
        check_program(pair)
