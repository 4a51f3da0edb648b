"""One case a family: how to build it, and parameters before and after; the coupling tests run over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
import torch.distributions as td
from torch import Tensor

from pcm.couplings import Censored, DiscreteGaussian, DiscreteLaplace, Truncated, couplings_of

UNITS = 40


@dataclass(frozen=True)
class Case:
    """A family, and two of its members over the same units; ``nudged`` moves every parameter by 1e-9."""

    family: type
    build: Callable[..., Any]
    ranges: tuple[tuple[float, float], ...]
    label: str = ""
    location_scale: bool = False
    exact: bool = False
    couplings: tuple[str, ...] = ()

    def parameters(self, seed: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return [
            low + (high - low) * torch.rand(UNITS, generator=generator, dtype=torch.float64)
            for low, high in self.ranges
        ]

    def member(self, seed: int, units: int = UNITS) -> Any:
        return self.build(*(each[:units] for each in self.parameters(seed)))

    def nudged(self, seed: int) -> Any:
        return self.build(*(each * (1.0 + 1e-9) for each in self.parameters(seed)))


def _stack(*columns: Tensor) -> Tensor:
    return torch.stack(columns, -1)


def _mvn(a: Tensor, b: Tensor, c: Tensor) -> Any:
    factor = torch.stack([_stack(b, torch.zeros_like(b)), _stack(a, c)], -2)
    return dist.MultivariateNormal(_stack(a, b), scale_tril=factor)


def _ordered(a: Tensor) -> Any:
    return dist.OrderedLogistic(a, torch.tensor([-1.0, 0.2, 1.5], dtype=torch.float64))


def _one_hot(a: Tensor, b: Tensor) -> Any:
    return dist.OneHotCategorical(logits=_stack(a, b, a * b))


def _exp_affine(a: Tensor, b: Tensor) -> Any:
    return dist.TransformedDistribution(dist.Normal(a, b), [td.AffineTransform(0.5, -0.5), td.ExpTransform()])


def _events(a: Tensor, b: Tensor) -> Any:
    base = dist.Normal(_stack(a, b), 1.0).to_event(1)
    return dist.TransformedDistribution(base, [td.AffineTransform(_stack(b, a), -2.0)])


def _logistic_normal(a: Tensor, b: Tensor) -> Any:
    return dist.LogisticNormal(_stack(a, b), _stack(b, b))


def _normals(a: Tensor, b: Tensor, c: Tensor) -> Any:
    locs, scales = _stack(a - 2.0, a, a + b), _stack(c, 0.3 + 0 * c, 2.0 * c)
    return dist.MixtureSameFamily(dist.Categorical(logits=_stack(a, 0 * a, b)), dist.Normal(locs, scales))


def _gammas(a: Tensor, b: Tensor) -> Any:
    return dist.MixtureSameFamily(dist.Categorical(_stack(a, b)), dist.Gamma(_stack(a, 3.0 * b), _stack(b, a)))


def _poissons(a: Tensor, b: Tensor) -> Any:
    return dist.MixtureSameFamily(dist.Categorical(_stack(a, b)), dist.Poisson(_stack(a, 6.0 * b)))


def _mvns(a: Tensor, b: Tensor) -> Any:
    locs = torch.stack([_stack(a, b), _stack(b + 1.0, -a)], -2)
    factor = torch.tensor([[1.0, 0.0], [0.5, 0.7]], dtype=torch.float64).expand(*a.shape, 2, 2, 2)
    return dist.MixtureSameFamily(
        dist.Categorical(logits=_stack(a, b)), dist.MultivariateNormal(locs, scale_tril=factor)
    )


def _masked(a: Tensor, b: Tensor) -> Any:
    return dist.MaskedMixture(a > 0.3, dist.Normal(a, b), dist.StudentT(4.0, a, b))


def _masked_counts(a: Tensor, b: Tensor) -> Any:
    return dist.MaskedMixture(a > 0.7, dist.Poisson(a + b), dist.Geometric(b / 2.0))


def _inflated_gamma(a: Tensor, b: Tensor) -> Any:
    return dist.ZeroInflatedDistribution(dist.Gamma(a, 1.0), gate=b)


def _inflated_normal(a: Tensor, b: Tensor) -> Any:
    return dist.ZeroInflatedDistribution(dist.Normal(a, 1.0), gate_logits=b)


def _inflated_failures(r: Tensor, p: Tensor, g: Tensor) -> Any:
    return dist.ZeroInflatedNegativeBinomial(r, probs=p, gate_logits=g)


def _binomial_by_unit(a: Tensor, p: Tensor) -> Any:
    return dist.Binomial(torch.floor(6.0 * a), p)


def _beta_binomial_by_unit(a: Tensor, b: Tensor, c: Tensor) -> Any:
    return dist.BetaBinomial(b, c, torch.floor(6.0 * a))


UNIT, SHAPE, REAL, PROB = (0.2, 1.5), (0.3, 5.0), (-2.0, 2.0), (0.05, 0.95)
REALS = ("monotone", "independent")

CASES = [
    Case(dist.Normal, dist.Normal, (REAL, UNIT), location_scale=True),
    Case(dist.Normal, lambda a: dist.Normal(a, 0.5), (REAL,), "scalar scale", location_scale=True),
    Case(dist.Cauchy, dist.Cauchy, (REAL, UNIT), location_scale=True),
    Case(dist.Laplace, dist.Laplace, (REAL, UNIT), location_scale=True),
    Case(dist.Gumbel, dist.Gumbel, (REAL, UNIT), location_scale=True),
    Case(dist.Logistic, dist.Logistic, (REAL, UNIT), location_scale=True),
    Case(dist.Uniform, lambda a, b: dist.Uniform(a, a + b), (REAL, UNIT), location_scale=True),
    Case(dist.Exponential, dist.Exponential, (UNIT,), exact=True),
    Case(dist.HalfNormal, dist.HalfNormal, (UNIT,), exact=True),
    Case(dist.HalfCauchy, dist.HalfCauchy, (UNIT,), exact=True),
    Case(dist.LogNormal, dist.LogNormal, (REAL, UNIT), exact=True),
    Case(dist.Weibull, dist.Weibull, (UNIT, SHAPE), exact=True),
    Case(dist.Pareto, dist.Pareto, (UNIT, SHAPE), exact=True),
    Case(dist.Kumaraswamy, dist.Kumaraswamy, (SHAPE, SHAPE), exact=True),
    Case(dist.Gamma, dist.Gamma, (SHAPE, UNIT)),
    Case(dist.Chi2, dist.Chi2, ((1.0, 9.0),)),
    Case(dist.InverseGamma, dist.InverseGamma, (SHAPE, UNIT)),
    Case(dist.Beta, dist.Beta, (SHAPE, SHAPE)),
    Case(dist.StudentT, dist.StudentT, ((2.0, 8.0), REAL, UNIT)),
    Case(dist.MultivariateNormal, _mvn, (REAL, UNIT, UNIT)),
    Case(dist.Delta, dist.Delta, (REAL,)),
    Case(dist.TransformedDistribution, _exp_affine, (REAL, UNIT), "exp, decreasing"),
    Case(dist.TransformedDistribution, _events, (REAL, REAL), "event base"),
    Case(dist.LogisticNormal, _logistic_normal, (REAL, UNIT)),
    Case(dist.Bernoulli, dist.Bernoulli, (PROB,), "probs"),
    Case(dist.Bernoulli, lambda a: dist.Bernoulli(logits=a), (REAL,), "logits"),
    Case(dist.Poisson, dist.Poisson, ((0.2, 9.0),)),
    Case(dist.Binomial, lambda p: dist.Binomial(6, p), (PROB,), "probs"),
    Case(dist.Binomial, lambda a: dist.Binomial(6, logits=a), (REAL,), "logits"),
    Case(dist.Binomial, _binomial_by_unit, (UNIT, PROB), "totals by unit"),
    Case(dist.Geometric, dist.Geometric, (PROB,), "probs"),
    Case(dist.Geometric, lambda a: dist.Geometric(logits=a), (REAL,), "logits"),
    Case(dist.NegativeBinomial, dist.NegativeBinomial, (SHAPE, PROB)),
    Case(dist.Categorical, lambda a, b, c: dist.Categorical(_stack(a, b, c)), (PROB, PROB, PROB), "probs"),
    Case(dist.Categorical, lambda a, b: dist.Categorical(logits=_stack(a, b, a * b)), (REAL, REAL), "logits"),
    Case(dist.OneHotCategorical, _one_hot, (REAL, REAL)),
    Case(dist.OrderedLogistic, _ordered, (REAL,)),
    Case(dist.BetaBinomial, lambda a, b: dist.BetaBinomial(a, b, 5), (SHAPE, SHAPE)),
    Case(dist.BetaBinomial, _beta_binomial_by_unit, (UNIT, SHAPE, SHAPE), "totals by unit"),
    Case(dist.GammaPoisson, dist.GammaPoisson, (SHAPE, UNIT)),
    Case(DiscreteLaplace, lambda a, b: DiscreteLaplace(torch.round(5.0 * a), b), (REAL, SHAPE)),
    Case(DiscreteGaussian, lambda a: DiscreteGaussian(torch.round(5.0 * a), 1.3), (REAL,)),
    Case(dist.Dirichlet, lambda a, b, c: dist.Dirichlet(_stack(a, b, c)), (SHAPE, SHAPE, (0.02, 0.5))),
    Case(dist.MixtureSameFamily, _normals, (REAL, UNIT, UNIT), "normals", couplings=("component", *REALS)),
    Case(dist.MixtureSameFamily, _gammas, (UNIT, UNIT), "gammas", couplings=("component", *REALS)),
    Case(
        dist.MixtureSameFamily, _poissons, (UNIT, UNIT), "poissons", couplings=("gumbel_max", "monotone", "independent")
    ),
    Case(dist.MixtureSameFamily, _mvns, (REAL, REAL), "vectors", couplings=("component",)),
    Case(dist.MaskedMixture, _masked, (UNIT, UNIT), couplings=REALS),
    Case(dist.MaskedMixture, _masked_counts, (UNIT, UNIT), "counts"),
    Case(dist.ZeroInflatedPoisson, lambda a, g: dist.ZeroInflatedPoisson(a, gate=g), (SHAPE, PROB)),
    Case(dist.ZeroInflatedNegativeBinomial, _inflated_failures, (SHAPE, PROB, REAL)),
    Case(dist.ZeroInflatedDistribution, _inflated_gamma, (SHAPE, PROB), "gamma", couplings=REALS),
    Case(dist.ZeroInflatedDistribution, _inflated_normal, (REAL, REAL), "normal", couplings=REALS),
    Case(Truncated, lambda a, b: Truncated(dist.Normal(a, b), -0.5, 2.0), (REAL, UNIT), "normal", couplings=REALS),
    Case(Truncated, lambda a, b: Truncated(dist.Gamma(a, b), high=3.0), (SHAPE, UNIT), "gamma", couplings=REALS),
    Case(Truncated, lambda a: Truncated(dist.Poisson(a), low=1), (SHAPE,), "poisson"),
    Case(Censored, lambda a, b: Censored(dist.Normal(a, b), -0.5, 1.0), (REAL, UNIT), "normal", couplings=REALS),
    Case(Censored, lambda a, b: Censored(dist.Laplace(a, b), high=1.0), (REAL, UNIT), "laplace", couplings=REALS),
    Case(Censored, lambda a, b: Censored(DiscreteLaplace(torch.round(3.0 * a), b), -4, 5), (REAL, SHAPE), "integers"),
    Case(Censored, lambda a: Censored(dist.Poisson(a), high=4), (SHAPE,), "poisson"),
]

PAIRS = [(case, name) for case in CASES for name in case.couplings or couplings_of(case.family)]


def name_of(case: Case) -> str:
    return f"{case.family.__name__} {case.label}".strip()
