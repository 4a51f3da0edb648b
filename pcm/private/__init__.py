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
    from pcm.private.discrete_gaussian import DiscreteGaussian as DiscreteGaussian
    from pcm.private.discrete_laplace import DiscreteLaplace as DiscreteLaplace
    from pcm.private.exponential import Exponential as Exponential
    from pcm.private.gaussian import Gaussian as Gaussian
    from pcm.private.laplace import Laplace as Laplace
    from pcm.private.ledger import Ledger as Ledger
    from pcm.private.mechanism import Mechanism as Mechanism
    from pcm.private.permute_and_flip import PermuteAndFlip as PermuteAndFlip
    from pcm.private.programs import observe as observe
    from pcm.private.programs import released as released
    from pcm.private.randomized_response import RandomizedResponse as RandomizedResponse
    from pcm.private.release import Public as Public
    from pcm.private.release import Release as Release
    from pcm.private.release import Simulated as Simulated
    from pcm.private.release import public as public

__all__ = [
    "DiscreteGaussian",
    "DiscreteLaplace",
    "Exponential",
    "Gaussian",
    "Laplace",
    "Ledger",
    "Mechanism",
    "PermuteAndFlip",
    "Public",
    "RandomizedResponse",
    "Release",
    "Simulated",
    "observe",
    "public",
    "released",
]

# Names are imported when they are first asked for.
_WHERE = {
    "DiscreteGaussian": "discrete_gaussian",
    "DiscreteLaplace": "discrete_laplace",
    "Exponential": "exponential",
    "Gaussian": "gaussian",
    "Laplace": "laplace",
    "Ledger": "ledger",
    "Mechanism": "mechanism",
    "PermuteAndFlip": "permute_and_flip",
    "Public": "release",
    "RandomizedResponse": "randomized_response",
    "Release": "release",
    "Simulated": "release",
    "observe": "programs",
    "public": "release",
    "released": "programs",
}


def __getattr__(name: str) -> _Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'pcm.private' has no attribute '{name}'")
    value = globals()[name] = getattr(_import_module(f"pcm.private.{_WHERE[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
