"""Couplings: the structural equation behind each distribution, and the registry that finds it.

Every coupling is registered below, in this one place; ``register`` adds a user's own.

>>> import pyro.distributions as dist
>>> resolve(dist.Bernoulli(0.5))[0].name
'monotone'
"""

from __future__ import annotations

import pyro.distributions as dist
import torch

from pcm.couplings import (
    bernoulli,
    censored,
    counts,
    location_scale,
    masked,
    mixture,
    ordered,
    positive,
    quantile,
    truncated,
    two_sided,
    zero_inflated,
)
from pcm.couplings.censored import Censored as Censored
from pcm.couplings.checks import check_distribution as check_distribution
from pcm.couplings.checks import check_value as check_value
from pcm.couplings.checks import unremarkable as unremarkable
from pcm.couplings.component import ComponentCoupling
from pcm.couplings.coupling import Coupling as Coupling
from pcm.couplings.deterministic import DeltaCoupling
from pcm.couplings.dirichlet import DirichletCoupling
from pcm.couplings.gumbel_counts import GumbelMaxCounts
from pcm.couplings.gumbel_max import GumbelMax
from pcm.couplings.noised import Noised as Noised
from pcm.couplings.noised import Reported as Reported
from pcm.couplings.noised import mechanism_of as mechanism_of
from pcm.couplings.noised import noised_of as noised_of
from pcm.couplings.possible import impossible as impossible
from pcm.couplings.registry import couplings_of as couplings_of
from pcm.couplings.registry import families as families
from pcm.couplings.registry import register as register
from pcm.couplings.registry import resolve as resolve
from pcm.couplings.registry import unwrap as unwrap
from pcm.couplings.transformed import TransformedCoupling
from pcm.couplings.triangular import TriangularCoupling
from pcm.couplings.truncated import Truncated as Truncated
from pcm.couplings.two_sided import DiscreteGaussian as DiscreteGaussian
from pcm.couplings.two_sided import DiscreteLaplace as DiscreteLaplace

__all__ = [
    "Censored",
    "Coupling",
    "DiscreteGaussian",
    "DiscreteLaplace",
    "Noised",
    "Reported",
    "Truncated",
    "check_distribution",
    "check_value",
    "couplings_of",
    "families",
    "impossible",
    "mechanism_of",
    "noised_of",
    "register",
    "resolve",
    "unremarkable",
    "unwrap",
]

for _coupling in (
    # location-scale
    location_scale.NormalCoupling(),
    location_scale.CauchyCoupling(),
    location_scale.LaplaceCoupling(),
    location_scale.GumbelCoupling(),
    location_scale.LogisticCoupling(),
    location_scale.UniformCoupling(),
    # positive, and the unit interval in closed form
    positive.ExponentialCoupling(),
    positive.HalfNormalCoupling(),
    positive.HalfCauchyCoupling(),
    positive.LogNormalCoupling(),
    positive.WeibullCoupling(),
    positive.ParetoCoupling(),
    positive.KumaraswamyCoupling(),
    # special functions
    quantile.GammaCoupling(),
    quantile.InverseGammaCoupling(),
    quantile.BetaCoupling(),
    quantile.StudentTCoupling(),
    # vectors, points, transforms
    TriangularCoupling(),
    DeltaCoupling(),
    TransformedCoupling(),
    # discrete
    bernoulli.BernoulliCoupling(),
    counts.PoissonCoupling(),
    counts.BinomialCoupling(),
    counts.GeometricCoupling(),
    counts.NegativeBinomialCoupling(),
    counts.GammaPoissonCoupling(),
    two_sided.DiscreteLaplaceCoupling(),
    two_sided.DiscreteGaussianCoupling(),
    # made of others
    mixture.MixtureCoupling(),
    masked.MaskedCoupling(),
    zero_inflated.ZeroInflatedCoupling(),
    truncated.TruncatedCoupling(),
    censored.CensoredCoupling(),
    DirichletCoupling(),
):
    register(_coupling)
register(ordered.OrderedCoupling(), default=(dist.OrderedLogistic, dist.BetaBinomial))
register(GumbelMax(), default=(torch.distributions.Categorical, torch.distributions.OneHotCategorical))
register(ComponentCoupling(), default=False)
register(GumbelMaxCounts(), default=False)
del _coupling
