from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
import torch.distributions as td

from pcm.couplings import Coupling, couplings_of, register, registry, resolve, unwrap
from pcm.errors import CouplingError

LOGITS = torch.zeros(3)

REFUSED = [
    dist.DirichletMultinomial(torch.ones(3), 4),
    dist.MixtureSameFamily(dist.Categorical(logits=LOGITS), dist.VonMises(LOGITS, 1.0)),
    dist.MixtureSameFamily(dist.Categorical(logits=LOGITS), dist.Normal(torch.zeros(3, 2), 1.0).to_event(1)),
    dist.MixtureSameFamily(dist.Categorical(logits=LOGITS), dist.Bernoulli(logits=LOGITS)),
    dist.MaskedMixture(torch.tensor(True), dist.Normal(0.0, 1.0), dist.Poisson(1.0)),
    dist.MaskedMixture(torch.tensor(True), dist.Dirichlet(torch.ones(2)), dist.Dirichlet(torch.ones(2))),
    dist.ZeroInflatedDistribution(dist.VonMises(0.0, 1.0), gate=torch.tensor(0.5)),
    dist.ZeroInflatedDistribution(dist.Bernoulli(0.5), gate=torch.tensor(0.5)),
    dist.MixtureOfDiagNormals(torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2)),
    dist.VonMises(0.0, 1.0),
    dist.LKJCholesky(3),
    dist.LKJ(3),
    dist.Unit(torch.tensor(0.0)),
    dist.RelaxedBernoulli(torch.tensor(1.0), torch.tensor(0.5)),
    dist.OneHotCategoricalStraightThrough(logits=LOGITS),
    dist.FoldedDistribution(dist.Normal(0.0, 1.0)),
    dist.Multinomial(3, logits=LOGITS),
    dist.LowRankMultivariateNormal(LOGITS, torch.ones(3, 1), torch.ones(3)),
    td.ContinuousBernoulli(torch.tensor(0.5)),
    dist.NanMaskedNormal(0.0, 1.0),
    dist.TransformedDistribution(dist.Normal(0.0, 1.0), [td.AbsTransform()]),
    dist.TransformedDistribution(dist.VonMises(0.0, 1.0), [td.ExpTransform()]),
    dist.TransformedDistribution(dist.Bernoulli(0.5), [td.AffineTransform(0.0, 2.0)]),
]


@pytest.mark.parametrize("fn", REFUSED, ids=lambda fn: type(fn).__name__)
def test_refused_by_name(fn) -> None:
    with pytest.raises(CouplingError) as caught:
        resolve(fn, site="dose")
    assert caught.value.__dict__["site"] == "dose"
    assert caught.value.__dict__["family"] in str(caught.value)
    assert "'dose'" in str(caught.value)
    with pytest.raises(CouplingError):
        resolve(dist.MaskedDistribution(fn, True), "independent", site="dose")


def test_refusal_lists_what_is_supported_and_what_to_do() -> None:
    with pytest.raises(CouplingError, match=r"Gamma, GammaPoisson.*Binomial sites"):
        resolve(REFUSED[0])
    with pytest.raises(CouplingError, match="observed site"):
        resolve(dist.Unit(torch.tensor(0.0)))


def test_a_distribution_that_is_none() -> None:
    with pytest.raises(CouplingError, match="float"):
        resolve(0.5)


def test_wrong_override_lists_the_familys_couplings() -> None:
    with pytest.raises(
        CouplingError, match=r"'plan'.*'gumbelmax'.*gumbel_max, monotone, independent.*Did you mean"
    ) as error:
        resolve(dist.Categorical(logits=LOGITS), "gumbelmax", "plan")
    assert error.value.known == ["gumbel_max", "monotone", "independent"]  # pyright: ignore


def test_subclasses_that_leave_the_law_alone_are_served() -> None:
    class Dose(dist.Normal):
        def __init__(self, mean):
            super().__init__(mean, 1.0)

        @property
        def units(self):
            return "mg"

    class Doubled(dist.Normal):
        def sample(self, *shape):
            return 2 * super().sample(*shape)

    class Below(Doubled):
        pass

    assert resolve(Dose(0.0))[0] is resolve(dist.Normal(0.0, 1.0))[0]
    for changed in (Doubled(0.0, 1.0), Below(0.0, 1.0)):
        with pytest.raises(CouplingError, match=type(changed).__name__):
            resolve(changed)


def test_torch_and_pyro_classes_are_one_family() -> None:
    for name in ("Normal", "Gamma", "Bernoulli", "Categorical", "LogNormal", "TransformedDistribution"):
        assert list(couplings_of(getattr(td, name))) == list(couplings_of(getattr(dist, name)))


def test_own_entries_come_before_the_transformed() -> None:
    assert type(resolve(dist.LogNormal(0.0, 1.0))[0]).__name__ == "LogNormalCoupling"
    assert type(resolve(dist.HalfNormal(1.0))[0]).__name__ == "HalfNormalCoupling"
    assert type(resolve(td.LogisticNormal(LOGITS, LOGITS + 1))[0]).__name__ == "TransformedCoupling"
    assert type(resolve(dist.OrderedLogistic(torch.tensor(0.0), torch.arange(3.0)))[0]).__name__ == "OrderedCoupling"


def test_unwrap_counts_event_dims() -> None:
    fn = dist.Normal(torch.zeros(4, 3, 2), 1.0)
    bare, events = unwrap(fn.to_event(1).mask(True).to_event(1))
    assert bare is fn
    assert events == 2


def test_register_a_users_own() -> None:
    class Shifted(dist.Exponential):
        def log_prob(self, value):
            return super().log_prob(value - 1)

    class ShiftedCoupling(Coupling):
        name = "monotone"
        families = (Shifted,)

        def push(self, fn, noise):
            return 1 + noise / fn.rate

        def abduct(self, fn, value, uniform=None):
            return (value - 1) * fn.rate

        def fresh(self, fn, uniform):
            return -torch.log1p(-uniform)

    with pytest.raises(CouplingError):
        resolve(Shifted(1.0))
    register(ShiftedCoupling())
    try:
        coupling, fn = resolve(Shifted(torch.tensor(2.0)))
        assert coupling.transport(fn, torch.tensor([3.0]), Shifted(torch.tensor(4.0))).tolist() == [2.0]
        assert list(couplings_of(Shifted)) == ["monotone", "independent"]
    finally:
        registry._registered.pop(Shifted)
        registry._defaults.clear()
