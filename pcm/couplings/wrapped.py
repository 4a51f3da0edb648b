"""What laws built on other laws of one number ask of these: a quantile function.

>>> import pyro.distributions as dist
>>> from pcm.couplings.counts import Counts
>>> has_quantiles(registry.resolve(dist.Normal(0.0, 1.0))[0], Counts)
True
"""

from __future__ import annotations

from typing import Any

from pcm.couplings import registry
from pcm.couplings.coupling import Coupling
from pcm.errors import ArgumentError, CouplingError

__all__ = ["check_base", "has_quantiles", "read_base"]


def has_quantiles(coupling: Coupling, whole: type[Coupling]) -> bool:
    """Whether a law of one number has a one-to-one quantile function; of discrete laws those of ``whole`` numbers."""
    return coupling.univariate and (isinstance(coupling, whole) if coupling.discrete else coupling.invertible)


def check_base(fn: Any, base: Any, whole: type[Coupling], site: str | None, advice: str = "") -> None:
    """Raise unless the law that ``fn`` is built on has a quantile function.

    Raises
    ------
    CouplingError
    """
    coupling, bare = registry.resolve(base, site=site)
    if not has_quantiles(coupling, whole):
        family = type(fn).__name__
        raise CouplingError(
            f"{registry.at_site(site)}{family} of {type(bare).__name__} has no structural equation here: the base has "
            f"no one-to-one quantile function.{advice}",
            site=site,
            family=family,
        )


def read_base(asked: str, base: Any, whole: type[Coupling], low: Any, high: Any) -> Coupling:
    """The coupling of a law that is to be held to bounds, of which one at least is given.

    Raises
    ------
    ArgumentError
    """
    if not hasattr(base, "event_shape") or base.event_shape:
        raise ArgumentError(f"{asked}: the base must be a distribution of one number, not of vectors.")
    coupling, _ = registry.resolve(base)
    if not has_quantiles(coupling, whole):
        raise ArgumentError(f"{asked}: {type(base).__name__} has no quantile function here.")
    if low is None and high is None:
        raise ArgumentError(f"{asked}: give a low bound, a high one, or both.")
    return coupling
