"""Which structural equation a distribution stands for: families, their couplings, and the refusal of all others.

A family is served if its class is registered, or is a subclass of one that leaves the law alone (overrides none of
``sample``, ``rsample``, ``log_prob``, ``support``). Everything else is refused by name: a distribution never falls
back on fresh noise silently.

A distribution of your own is served by a :class:`~pcm.couplings.Coupling` of your own, which says in three methods how
noise becomes a value and back; :func:`pcm.testing.check_coupling` runs the laws on it:

>>> import pyro.distributions as dist, torch
>>> from pcm.couplings import Coupling, register, resolve
>>> class Delayed(dist.Exponential):
...     "An exponential wait that starts at 1."
...     support = torch.distributions.constraints.greater_than_eq(1.0)
...     def log_prob(self, value):
...         return super().log_prob(value - 1)
...     def sample(self, sample_shape=()):
...         return 1 + super().sample(sample_shape)
>>> class DelayedCoupling(Coupling):
...     name, families = "monotone", (Delayed,)
...     def push(self, fn, noise):                         # the equation: noise is Exponential(1)
...         return 1 + noise / fn.rate
...     def abduct(self, fn, value, uniform=None):         # its inverse
...         return (value - 1) * fn.rate
...     def fresh(self, fn, uniform):                      # noise of its law from uniforms
...         return -torch.log1p(-uniform)
>>> register(DelayedCoupling())  # doctest: +SKIP
>>> DelayedCoupling().transport(Delayed(torch.tensor(2.0)), torch.tensor(3.0), Delayed(torch.tensor(4.0))).item()
2.0

The Pyro and torch classes of one name are one family, and wrappers are taken off:

>>> coupling, fn = resolve(dist.Normal(0.0, 1.0).expand([3]).mask(False).to_event(1))
>>> coupling.name, type(fn).__name__
('monotone', 'Normal')
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import ExpandedDistribution, MaskedDistribution

from pcm.couplings.coupling import Coupling
from pcm.couplings.independent import Independent
from pcm.couplings.noised import Noised
from pcm.errors import CouplingError, listed, suggestion

__all__ = ["at_site", "couplings_of", "families", "register", "resolve", "unwrap"]

_WRAPPERS = frozenset(
    {torch.distributions.Independent, dist.Independent, MaskedDistribution, ExpandedDistribution, Noised}
)
_LAW = ("sample", "rsample", "log_prob", "support")
_EVENT_WRAPPERS = (torch.distributions.Independent,)

_registered: dict[type, dict[str, Coupling]] = {}
"""Coupling by name for each family; the first is the default."""

_defaults: dict[type, Coupling] = {}
"""Default coupling by the class seen; a cache, filled on first sight of a class."""


def register(coupling: Coupling, default: bool | Collection[type] = True) -> None:
    """Let a coupling serve its ``families`` (and the Pyro classes of the same name).

    Parameters
    ----------
    coupling : Coupling
        The instance that will be used.
    default : bool or collection of type
        Whether it is the default of its families, or of which of them. A family's first coupling is its default in
        any case, and also gives it an ``independent`` coupling.
    """
    chosen = tuple(coupling.families) if default is True else () if default is False else tuple(default)
    for named in coupling.families:
        for family in _twins(named):
            known = _registered.setdefault(family, {})
            others = {name: each for name, each in known.items() if name not in (coupling.name, "independent")}
            first = not others or named in chosen
            known.clear()
            known.update({coupling.name: coupling, **others} if first else {**others, coupling.name: coupling})
            known["independent"] = Independent(next(iter(known.values())), family)
    _defaults.clear()


def families() -> tuple[type, ...]:
    """Every registered class."""
    return tuple(_registered)


def couplings_of(family: type) -> dict[str, Coupling]:
    """Couplings by name that a distribution class has, the default first; empty where it is not supported."""
    entry = _entry(family)
    return dict(_registered[entry]) if entry is not None else {}


def unwrap(fn: Any) -> tuple[Any, int]:
    """The bare distribution under ``to_event``, ``mask`` and ``expand``, and the number of event dims taken off."""
    events = 0
    while type(fn) in _WRAPPERS:
        if isinstance(fn, _EVENT_WRAPPERS):
            events += fn.reinterpreted_batch_ndims
        fn = fn.base_dist
    return fn, events


def resolve(fn: Any, override: str | None = None, site: str | None = None) -> tuple[Coupling, Any]:
    """The coupling of a distribution, and the bare distribution it works on.

    Parameters
    ----------
    fn : Distribution
        What a sample site has as its ``fn``.
    override : str, optional
        Name of the coupling to use instead of the family's default.
    site : str, optional
        The site's name, for the message.

    Returns
    -------
    coupling, bare : Coupling, Distribution

    Raises
    ------
    CouplingError
        Where the family has no coupling, or not the one asked for.
    """
    while type(fn) in _WRAPPERS:
        fn = fn.base_dist
    family = type(fn)
    coupling = _defaults.get(family)
    if coupling is None:
        entry = _entry(family)
        if entry is None:
            raise _unsupported(fn, site)
        coupling = _defaults[family] = next(iter(_registered[entry].values()))
    if override is not None and override != coupling.name:
        known = couplings_of(family)
        if override not in known:
            raise CouplingError(
                f"{at_site(site)}the coupling '{override}' was asked of {family.__name__}, which has: {listed(known)}."
                f"{suggestion(override, known)}",
                site=site,
                family=family.__name__,
                known=list(known),
            )
        coupling = known[override]
    coupling = coupling.specialised(fn, site)
    coupling.validate(fn, site)
    return coupling, fn


def at_site(site: str | None) -> str:
    """How an error message begins: with the site, where one is to blame."""
    return f"site '{site}': " if site is not None else ""


def _twins(family: type) -> tuple[type, ...]:
    """A torch class and the Pyro class of the same name, which is the same law."""
    twin = getattr(dist, family.__name__, None)
    return (family, twin) if isinstance(twin, type) and twin is not family and issubclass(twin, family) else (family,)


def _entry(family: type) -> type | None:
    """The registered class whose law a class has: itself, or an ancestor below which nothing changes the law."""
    for ancestor in family.__mro__:
        if ancestor in _registered:
            return ancestor
        if any(name in ancestor.__dict__ for name in _LAW):
            return None
    return None


def _unsupported(fn: Any, site: str | None) -> CouplingError:
    name = type(fn).__name__
    supported = sorted({family.__name__ for family in _registered})
    return CouplingError(
        f"{at_site(site)}{name} has no structural equation here, so its noise cannot be abducted; supported: "
        f"{listed(supported, 99)}. {_advice(name)}",
        site=site,
        family=name,
        known=supported,
    )


def _advice(name: str) -> str:
    if name == "Unit":
        return "pyro.factor is a soft condition, not a mechanism: write the evidence as an observed site."
    if "Mixture" in name:
        return (
            "Use MixtureSameFamily, or write the component as a Categorical site of its own, and the value as a site "
            "whose parameters it picks."
        )
    if "Multinomial" in name:
        return (
            "Write it as a chain of Binomial sites: each category's count out of what the categories before it left"
            + (" (with probabilities from a Dirichlet site)." if "Dirichlet" in name else ".")
        )
    if "VonMises" in name or name in ("ProjectedNormal", "SineSkewed"):
        return (
            "A direction has no order, so it has no quantile that does not depend on where the circle is cut. Write it "
            "as two Normal sites and their angle (pyro.deterministic with torch.atan2), or as an angle on the line "
            "whose 0 you choose (Normal, Truncated), or register a coupling with a cut of your own "
            "(pcm.couplings.register)."
        )
    return (
        "Write it as a transform of supported sites (pyro.deterministic, TransformedDistribution), or give the class "
        "a coupling with pcm.couplings.register."
    )
