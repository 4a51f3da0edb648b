"""Gumbel-max of integers without one finite table: Poisson and its kin, zero-inflated, truncated, censored, mixtures.

The race of :mod:`pcm.couplings.gumbel_max` over :data:`WINDOW` fixed outcomes: 0..255 of counts, -128..127 of laws on
all integers. The window is the same in every world, so that each outcome keeps its Gumbel. Probabilities inside are the
law's own, never scaled up; a law that has more than :data:`LOST` outside is refused, and so is a value that lies there,
in whatever world and parameter draw it is met. (While tracing, when no number can be read, answers are NaN there.)

>>> import torch
>>> from torch.distributions import Poisson
>>> coupling, two, three = GumbelMaxCounts(), Poisson(torch.tensor(2.0)), Poisson(torch.tensor(3.0))
>>> [round(coupling.probability(two, torch.tensor(3.0), three, torch.tensor(k)).item(), 4) for k in (2.0, 3.0, 4.0)]
[0.0, 0.8762, 0.0378]
>>> coupling.expectation(two, torch.tensor(3.0), Poisson(torch.tensor(200.0)))
Traceback (most recent call last):
    ...
pcm.errors.CouplingError: the coupling 'gumbel_max' of a Poisson knows the outcomes 0..255, and ... Use 'monotone', ...
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings import registry, tail
from pcm.couplings.censored import Censored
from pcm.couplings.counts import Counts
from pcm.couplings.coupling import Coupling
from pcm.couplings.gumbel_max import gumbels, transition_table
from pcm.couplings.integers import Integers
from pcm.couplings.masses import log_masses
from pcm.couplings.parameters import all_lanes
from pcm.couplings.truncated import Truncated
from pcm.couplings.two_sided import DiscreteGaussian, DiscreteLaplace
from pcm.errors import CouplingError

__all__ = ["LOST", "WINDOW", "GumbelMaxCounts"]

WINDOW = 256
"""Outcomes that race."""

LOST = 1e-12
"""Largest probability outside the window of a law that is served."""


@final
class GumbelMaxCounts(Coupling):
    """Gumbel-max over a fixed window of the integers; noise is (batch, outcome)."""

    name: ClassVar[str] = "gumbel_max"
    families = (
        torch.distributions.Poisson,
        torch.distributions.Geometric,
        torch.distributions.NegativeBinomial,
        dist.GammaPoisson,
        dist.ZeroInflatedDistribution,
        dist.ZeroInflatedPoisson,
        dist.ZeroInflatedNegativeBinomial,
        torch.distributions.MixtureSameFamily,
        dist.MaskedMixture,
        Truncated,
        Censored,
        DiscreteLaplace,
        DiscreteGaussian,
    )
    discrete: ClassVar[bool] = True

    def __init__(self, site: str | None = None) -> None:
        self._site = site

    def specialised(self, fn: Any, site: str | None = None) -> Coupling:
        """For a site of a program: it is named where its law leaves the window."""
        return self if site is None else GumbelMaxCounts(site)

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse a law of reals, and what its quantile coupling refuses."""
        coupling = registry.resolve(fn, site=site)[0]
        if not isinstance(coupling, Integers):
            raise CouplingError(
                f"{registry.at_site(site)}the coupling 'gumbel_max' was asked of a {type(fn).__name__} whose values "
                f"are not discrete, and only outcomes that can be counted race. Use '{coupling.name}'.",
                site=site,
                family=type(fn).__name__,
            )

    def noise_event(self, fn: Any) -> torch.Size:
        """``(outcome,)``."""
        return torch.Size([WINDOW])

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``argmax_k (log p_k + g_k)``."""
        table = self._table(fn)
        value = ((table + noise).argmax(-1) + _ends(fn)[0]).to(_dtype(fn))
        return torch.where((table + noise).isnan().any(-1), torch.nan, value)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Gumbels given that ``value`` won, top-down; (batch, outcome)."""
        if uniform is None:
            raise TypeError("abducting a discrete value needs `uniform`: many noises give the same value")
        code, beyond = self._code(fn, value)
        return torch.where(beyond.unsqueeze(-1), torch.nan, gumbels(self._table(fn), code, uniform))

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Standard Gumbels."""
        return -torch.log(-torch.log(uniform))

    def probability(self, fn: Any, value: Tensor, other: Any, outcome: Tensor) -> Tensor:
        """Entry of the closed form; 0 outside the window, where the law is next to nothing."""
        rows = self._rows(fn, value, other)
        # where a law is NaN so is its whole row
        return torch.where((outcome.unsqueeze(-1) == _outcomes(other)) | rows.isnan(), rows, 0.0).sum(-1)

    def expectation(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """Mean outcome of the closed form; the broadcast shape."""
        rows = self._rows(fn, value, other)
        return rows @ _outcomes(other).to(rows.dtype)

    def _rows(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """``P(x' = k | x = value)`` over the window; (batch, outcome)."""
        before, after, (code, beyond) = self._table(fn), self._table(other), self._code(fn, value)
        lost = beyond | before.isnan().any(-1) | after.isnan().any(-1)
        return torch.where(lost.unsqueeze(-1), torch.nan, transition_table(before, code, after))

    def _table(self, fn: Any) -> Tensor:
        """Log-probabilities of the window's outcomes, NaN where the law leaves it; (batch, outcome)."""
        outside = _outside(fn)
        lost = all_lanes(outside > LOST)
        if lost is not None and bool(lost.any()):
            most = all_lanes(outside.nan_to_num(0.0))
            assert most is not None
            raise self._refusal(fn, f"a law has probability {most.max().item():.3g} outside ({LOST:g} may be)")
        outcomes = _outcomes(fn).to(_dtype(fn)).reshape(-1, *[1] * len(fn.batch_shape))
        table = log_masses(fn, outcomes).movedim(0, -1).to(torch.float64)
        # a parameter that is NaN leaves every window
        return torch.where((outside <= LOST).unsqueeze(-1), table, torch.nan)

    def _code(self, fn: Any, value: Tensor) -> tuple[Tensor, Tensor]:
        """Place of a value in the window, and whether it has none (its place is then any); (batch)."""
        first, last = _ends(fn)
        beyond = ~((value >= first) & (value <= last))
        met = all_lanes(torch.where(beyond, value, 0.0).nan_to_num(0.0))
        if met is not None and bool((met != 0).any()):
            raise self._refusal(fn, f"a unit has {met[met != 0][0].item():g}")
        return torch.where(beyond, 0, value - first).long(), beyond

    def _refusal(self, fn: Any, found: str) -> CouplingError:
        first, last = _ends(fn)
        override = f"couplings={{'{self._site}': 'monotone'}}" if self._site else "'monotone'"
        return CouplingError(
            f"{registry.at_site(self._site)}the coupling 'gumbel_max' of a {type(fn).__name__} knows the outcomes "
            f"{first}..{last}, and {found}. Use {override}, which needs no table.",
            site=self._site,
            family=type(fn).__name__,
        )


def _ends(fn: Any) -> tuple[int, int]:
    """First and last outcome of the window."""
    while isinstance(fn, Censored):
        fn = registry.resolve(fn.base)[1]
    first = 0 if isinstance(registry.resolve(fn)[0], Counts) else -WINDOW // 2
    return first, first + WINDOW - 1


def _outcomes(fn: Any) -> Tensor:
    first, last = _ends(fn)
    return torch.arange(first, last + 1, dtype=torch.float64)


def _outside(fn: Any) -> Tensor:
    """Probability outside the window, exact however small; (batch)."""
    coupling, fn = registry.resolve(fn)
    (first, last), like = _ends(fn), torch.zeros((), dtype=_dtype(fn))
    above = tail.to_sf(coupling.tail(fn, like + last))
    return above if first == 0 else above + tail.to_cdf(coupling.tail(fn, like + (first - 1)))


def _dtype(fn: Any) -> torch.dtype:
    """Dtype of the values."""
    coupling = registry.resolve(fn)[0]
    assert isinstance(coupling, Integers)
    return coupling.parameter(fn).dtype
