"""Couplings: the structural equation behind each distribution, and the registry that finds it.

>>> import pyro.distributions as dist
>>> resolve(dist.Bernoulli(0.5))[0].name
'monotone'
"""

from __future__ import annotations

import torch

from pcm.couplings.bernoulli import BernoulliCoupling as BernoulliCoupling
from pcm.couplings.coupling import Coupling as Coupling
from pcm.couplings.deterministic import DeltaCoupling as DeltaCoupling
from pcm.couplings.gumbel_max import GumbelMax as GumbelMax
from pcm.couplings.independent import Independent as Independent
from pcm.couplings.location_scale import (
    CauchyCoupling as CauchyCoupling,
)
from pcm.couplings.location_scale import (
    GumbelCoupling as GumbelCoupling,
)
from pcm.couplings.location_scale import (
    LaplaceCoupling as LaplaceCoupling,
)
from pcm.couplings.location_scale import (
    LogisticCoupling as LogisticCoupling,
)
from pcm.couplings.location_scale import (
    NormalCoupling as NormalCoupling,
)
from pcm.couplings.location_scale import (
    UniformCoupling as UniformCoupling,
)
from pcm.couplings.registry import couplings_of as couplings_of
from pcm.couplings.registry import families as families
from pcm.couplings.registry import register as register
from pcm.couplings.registry import resolve as resolve
from pcm.couplings.registry import unwrap as unwrap

for _coupling in (
    NormalCoupling(),
    CauchyCoupling(),
    LaplaceCoupling(),
    GumbelCoupling(),
    LogisticCoupling(),
    UniformCoupling(),
    BernoulliCoupling(),
    DeltaCoupling(),
):
    register(_coupling)
register(GumbelMax(), default=(torch.distributions.Categorical, torch.distributions.OneHotCategorical))
