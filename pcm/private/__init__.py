"""Private noise inside the generative process: mechanisms, releases, the ledger that pays for them.

Real releases need ``pip install 'pcm-causal[private]'`` (OpenDP, dp-accounting); programs, sites and inference do not.

>>> from pcm import private
>>> private.RandomizedResponse(epsilon=1.0, categories=[0, 1]).matrix().round(4).tolist()
[[0.7311, 0.2689], [0.2689, 0.7311]]
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from pcm.private.audits import Audit as Audit
    from pcm.private.audits import Membership as Membership
    from pcm.private.audits import audit_floating_point as audit_floating_point
    from pcm.private.audits import audit_mechanism as audit_mechanism
    from pcm.private.audits import audit_one_run as audit_one_run
    from pcm.private.audits import membership as membership
    from pcm.private.claim import Claim as Claim
    from pcm.private.cross_table import CrossTable as CrossTable
    from pcm.private.discrete_gaussian import DiscreteGaussian as DiscreteGaussian
    from pcm.private.discrete_laplace import DiscreteLaplace as DiscreteLaplace
    from pcm.private.exponential import Exponential as Exponential
    from pcm.private.gaussian import Gaussian as Gaussian
    from pcm.private.laplace import Laplace as Laplace
    from pcm.private.ledger import Ledger as Ledger
    from pcm.private.mechanism import Mechanism as Mechanism
    from pcm.private.moments import Moments as Moments
    from pcm.private.obfuscation import Obfuscation as Obfuscation
    from pcm.private.obfuscation import targeted as targeted
    from pcm.private.permute_and_flip import PermuteAndFlip as PermuteAndFlip
    from pcm.private.programs import observe as observe
    from pcm.private.programs import released as released
    from pcm.private.promises import Claims as Claims
    from pcm.private.promises import claims as claims
    from pcm.private.randomized_response import RandomizedResponse as RandomizedResponse
    from pcm.private.release import Public as Public
    from pcm.private.release import Release as Release
    from pcm.private.release import Simulated as Simulated
    from pcm.private.release import public as public
    from pcm.private.statistic import Aggregate as Aggregate
    from pcm.private.training import dp_sgd as dp_sgd

__all__ = [
    "Aggregate",
    "Audit",
    "Claim",
    "Claims",
    "CrossTable",
    "DiscreteGaussian",
    "DiscreteLaplace",
    "Exponential",
    "Gaussian",
    "Laplace",
    "Ledger",
    "Mechanism",
    "Membership",
    "Moments",
    "Obfuscation",
    "PermuteAndFlip",
    "Public",
    "RandomizedResponse",
    "Release",
    "Simulated",
    "audit_floating_point",
    "audit_mechanism",
    "audit_one_run",
    "claims",
    "dp_sgd",
    "membership",
    "observe",
    "public",
    "released",
    "targeted",
]

# Names are imported when they are first asked for.
_WHERE = {
    "dp_sgd": "training",
    "Moments": "moments",
    "CrossTable": "cross_table",
    "Aggregate": "statistic",
    "Audit": "audits",
    "Claim": "claim",
    "Claims": "promises",
    "DiscreteGaussian": "discrete_gaussian",
    "DiscreteLaplace": "discrete_laplace",
    "Exponential": "exponential",
    "Gaussian": "gaussian",
    "Laplace": "laplace",
    "Ledger": "ledger",
    "Mechanism": "mechanism",
    "Membership": "audits",
    "Obfuscation": "obfuscation",
    "PermuteAndFlip": "permute_and_flip",
    "Public": "release",
    "RandomizedResponse": "randomized_response",
    "Release": "release",
    "Simulated": "release",
    "audit_floating_point": "audits",
    "audit_mechanism": "audits",
    "audit_one_run": "audits",
    "claims": "promises",
    "membership": "audits",
    "observe": "programs",
    "public": "release",
    "released": "programs",
    "targeted": "obfuscation",
}


def __getattr__(name: str) -> _Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'pcm.private' has no attribute '{name}'")
    value = globals()[name] = getattr(_import_module(f"pcm.private.{_WHERE[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
