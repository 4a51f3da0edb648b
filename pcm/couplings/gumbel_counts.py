"""Gumbel-max of counts and integers: Poisson and its kin, Binomials, zero-inflated, truncated, censored, mixtures.

The race of :mod:`pcm.couplings.gumbel_max`, run by every integer at once. Each outcome's arrival time is a function of
the unit's key and the outcome alone (:mod:`pcm.couplings.arrivals`), so that worlds share it whatever their laws; a
world looks at the outcomes that can win in it: all but at most 1e-12 of its own law's probability
(:mod:`pcm.couplings.window`). Given that ``i`` won under ``p``, with a unit exponential ``W`` of the key,

    X_i = p_i W,   X_k = p_k W + fresh X_k,   and the other world's value is argmin_k X_k / q_k.

A law that spreads over more than :data:`MOST` integers is refused, in whatever world and parameter draw it is met.
(While tracing, when no number can be read, a law races over 256 integers, and its values are NaN where it has more.)

Noise is the key, a uniform number. Pulled back from a value, it goes on with that value, its Gumbel, and where the
Gumbels begin that follow, of the law's outcomes: ``(batch, 1)`` fresh, ``(batch, 4 + outcome)`` pulled back.

>>> import torch
>>> from torch.distributions import Poisson
>>> coupling, two, three = GumbelMaxCounts(), Poisson(torch.tensor(2.0)), Poisson(torch.tensor(3.0))
>>> [round(coupling.probability(two, torch.tensor(3.0), three, torch.tensor(k)).item(), 4) for k in (2.0, 3.0, 4.0)]
[0.0, 0.8762, 0.0378]
>>> round(coupling.expectation(two, torch.tensor(3.0), Poisson(torch.tensor(20_000.0))).item(), 3)
20000.0
>>> coupling.expectation(two, torch.tensor(3.0), Poisson(torch.tensor(1e9)))
Traceback (most recent call last):
    ...
pcm.errors.CouplingError: the coupling 'gumbel_max' of a Poisson: a law spreads over about 446,560 integers, ...
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings import registry
from pcm.couplings.arrivals import GROUP, arrivals, shared, winner
from pcm.couplings.censored import Censored
from pcm.couplings.coupling import Coupling
from pcm.couplings.finite import log_table, size
from pcm.couplings.gumbel_max import GumbelMax, transition_table
from pcm.couplings.integers import Integers
from pcm.couplings.masses import log_masses
from pcm.couplings.races import third_winner
from pcm.couplings.truncated import Truncated
from pcm.couplings.two_sided import DiscreteGaussian, DiscreteLaplace
from pcm.couplings.window import Window, window_of
from pcm.errors import CouplingError

__all__ = ["MOST", "GumbelMaxCounts"]

MOST = 65_536
"""Integers that a law may spread over."""

_TABLES = 6
"""Tables of a law's outcomes that are held at a time."""

_HEAD = 4
"""Key, value, its Gumbel, and the first outcome of the Gumbels that follow."""

_TRIALS = (torch.distributions.Binomial, dist.BetaBinomial)


@final
class GumbelMaxCounts(Coupling):
    """Gumbel-max over the integers; noise is a key, (batch, 1)."""

    name: ClassVar[str] = "gumbel_max"
    families = (
        torch.distributions.Poisson,
        torch.distributions.Geometric,
        torch.distributions.NegativeBinomial,
        dist.GammaPoisson,
        torch.distributions.Binomial,
        dist.BetaBinomial,
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
    longest_chain: ClassVar[float] = GumbelMax.longest_chain

    def __init__(self, site: str | None = None) -> None:
        self._site = site

    def specialised(self, fn: Any, site: str | None = None) -> Coupling:
        """For a site of a program: it is named where its law is too wide."""
        return self if site is None else GumbelMaxCounts(site)

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse a law of reals, and what its quantile coupling refuses."""
        coupling = registry.resolve(fn, site=site)[0]
        if not isinstance(coupling, Integers) and not isinstance(fn, _TRIALS):
            raise CouplingError(
                f"{registry.at_site(site)}the coupling 'gumbel_max' was asked of a {type(fn).__name__} whose values "
                f"are not discrete, and only outcomes that can be counted race. Use '{coupling.name}'.",
                site=site,
                family=type(fn).__name__,
            )

    def noise_event(self, fn: Any) -> torch.Size:
        """``(1,)``: the key."""
        return torch.Size([1])

    def breadth(self, fn: Any) -> int:
        """Tables of the outcomes that race, under parameters that need not be those of any world."""
        return _TABLES * int(min(window_of(fn).groups * GROUP, MOST))

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """The first of all integers to arrive."""
        if noise.shape[-1] > 1:
            value = self._first_of_known(fn, noise)
        else:
            never = torch.full_like(noise[..., 0], torch.inf)
            value = self._first(fn, noise[..., 0], never, never)
        return torch.where(noise.isnan().any(-1), torch.nan, value).to(_dtype(fn))

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """The key, and the Gumbels of the law's outcomes given that ``value`` won; (batch, 4 + outcome)."""
        key, value, window = _key(uniform), value.to(torch.float64), self._window(fn)
        own = log_masses(fn, value)
        peak = -torch.log(shared(key))
        outcomes = window.outcomes()
        table, others = self._masses(fn, outcomes), self._gumbels(key.unsqueeze(-1), outcomes)
        # the others arrive when the chosen one has, and a fresh time after
        others = torch.minimum(-torch.logaddexp(table - peak.unsqueeze(-1), -others), _below(peak, table))
        head = torch.broadcast_tensors(key, value, peak - own, outcomes[0])
        others = others.expand(*head[0].shape, others.shape[-1])
        noise = torch.cat([torch.stack(head, -1), others], -1)
        return torch.where((window.unknown | own.isnan()).unsqueeze(-1), torch.nan, noise)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """The key itself."""
        return uniform.to(torch.float64)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """The first to arrive in the other world, of what may win there and the value."""
        key, value = _key(uniform), value.to(torch.float64)
        before, after = log_masses(fn, value), log_masses(other, value)
        kept = shared(key) * _ratio(before, after)
        moved = self._first(other, key, kept, value.expand(kept.shape), fn)
        return torch.where(before.isnan(), torch.nan, moved).to(_dtype(other))

    def spread(self, fn: Any, noise: Tensor) -> Tensor:
        """Gumbels of the law's outcomes, fresh where the noise says nothing of them; (batch, outcome)."""
        return self._gumbels(noise, self._window(fn).outcomes())

    def cardinality(self, fn: Any) -> int | None:
        """``total_count + 1`` of a Binomial or BetaBinomial where it is one number."""
        return size(fn) if isinstance(fn, _TRIALS) else None

    def transition(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """The closed form over a table of both laws; (batch, category)."""
        before, after = _tables(fn, other)
        return transition_table(before, value.to(torch.int64), after)

    def transition_after(self, fn: Any, value: Tensor, middle: Any, at: Tensor, other: Any) -> Tensor:
        """The closed form over three worlds (:mod:`pcm.couplings.races`); (batch, category)."""
        first, second, third = _tables(fn, middle, other)
        return third_winner(transition_table, first, value.to(torch.int64), second, at.to(torch.int64), third)

    def probability(self, fn: Any, value: Tensor, other: Any, outcome: Tensor) -> Tensor:
        """Entry of the closed form; 0 of an outcome that does not race, and is next to impossible."""
        rows, outcomes = self._rows(fn, value, other)
        # where a law is NaN so is its whole row
        return torch.where((outcome.unsqueeze(-1) == outcomes) | rows.isnan(), rows, 0.0).sum(-1)

    def expectation(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """Mean outcome of the closed form; the broadcast shape."""
        rows, outcomes = self._rows(fn, value, other)
        return (rows * outcomes).sum(-1)

    # -- the race ------------------------------------------------------------------------------------------------------

    def _first(self, fn: Any, key: Tensor, best: Tensor, outcome: Tensor, before: Any = None) -> Tensor:
        """Who arrives first under a law, later by what the law ``before`` says; (batch)."""
        window = self._window(fn)
        for first, last in window.parts():
            outcomes = window.outcomes(first, last)
            table = self._masses(fn, outcomes)
            delay = torch.zeros_like(table) if before is None else _ratio(self._masses(before, outcomes), table)
            slowness, delay = (each.unflatten(-1, (-1, GROUP)) for each in (torch.exp(-table), delay))
            best, outcome = winner(key, window.start + first, slowness, delay, best, outcome)
        return torch.where(window.unknown, torch.nan, outcome)

    def _first_of_known(self, fn: Any, noise: Tensor) -> Tensor:
        """Who arrives first by noise that was pulled back; (batch)."""
        window, value = self._window(fn), noise[..., 1]
        best = noise[..., 2] + log_masses(fn, value)
        for first, last in window.parts():
            outcomes = window.outcomes(first, last)
            highest, place = (self._masses(fn, outcomes) + self._gumbels(noise, outcomes)).max(-1)
            value = torch.where(highest > best, outcomes[0] + place, value)
            best = torch.maximum(best, highest)
        return torch.where(window.unknown | best.isnan(), torch.nan, value)

    def _gumbels(self, noise: Tensor, outcomes: Tensor) -> Tensor:
        """Gumbels of outcomes (outcome, batch): those the noise knows, those of its key; (batch, outcome)."""
        outcomes = outcomes.movedim(0, -1)
        fresh = -torch.log(arrivals(noise[..., :1], outcomes))
        if noise.shape[-1] == 1:
            return fresh
        value, top, first, known = noise[..., 1:2], noise[..., 2:3], noise[..., 3:4], noise[..., _HEAD:]
        place = (outcomes - first).expand(fresh.shape)
        inside = (place >= 0) & (place < known.shape[-1])
        found = torch.gather(known.expand(*fresh.shape[:-1], -1), -1, torch.where(inside, place, 0.0).to(torch.int64))
        return torch.where(outcomes == value, top, torch.where(inside, found, fresh))

    # -- the closed form -----------------------------------------------------------------------------------------------

    def _rows(self, fn: Any, value: Tensor, other: Any) -> tuple[Tensor, Tensor]:
        """``P(x' = k | x = value)``, and the ``k``: what may win in the other world, then the value where it is not
        among them; (batch, outcome + 1)."""
        window, value = self._window(other), value.to(torch.float64)
        outcomes = window.outcomes()
        own_before, own_after = log_masses(fn, value), log_masses(other, value)
        before, after = self._masses(fn, outcomes), self._masses(other, outcomes)
        place = value - outcomes[0]
        inside = (place >= 0) & (place < len(outcomes))
        shape = torch.broadcast_shapes(before.shape[:-1], after.shape[:-1], own_before.shape, place.shape)
        before, after, outcomes = (
            torch.cat([table.expand(*shape, -1), own.expand(shape).unsqueeze(-1)], -1)
            for table, own in (
                (before, torch.where(inside, -torch.inf, own_before)),
                (after, torch.where(inside, -torch.inf, own_after)),
                (outcomes.movedim(0, -1), value),
            )
        )
        code = torch.where(inside, place, after.shape[-1] - 1.0).to(torch.int64).expand(shape)
        lost = window.unknown | own_before.isnan() | before.isnan().any(-1)
        return torch.where(lost.unsqueeze(-1), torch.nan, transition_table(before, code, after)), outcomes

    # -- the law -------------------------------------------------------------------------------------------------------

    def _masses(self, fn: Any, outcomes: Tensor) -> Tensor:
        """Log-probabilities; (batch, outcome)."""
        return log_masses(fn, outcomes).movedim(0, -1).to(torch.float64)

    def _window(self, fn: Any) -> Window:
        """The outcomes that can win."""
        window = window_of(fn)
        if window.groups * GROUP > MOST:
            raise self._refusal(fn, window.groups * GROUP)
        return window

    def _refusal(self, fn: Any, found: float) -> CouplingError:
        override = f"couplings={{'{self._site}': 'monotone'}}" if self._site else "'monotone'"
        spread = f"about {found:,.0f}" if found < 2.0**53 else "countless"
        return CouplingError(
            f"{registry.at_site(self._site)}the coupling 'gumbel_max' of a {type(fn).__name__}: a law spreads over "
            f"{spread} integers, and at most {MOST:,} race. Use {override}, which needs no table.",
            site=self._site,
            family=type(fn).__name__,
        )


def _tables(*fns: Any) -> list[Tensor]:
    """Log-probabilities of 0 … the largest total of any world; (batch, category) each."""
    if not all(isinstance(fn, _TRIALS) for fn in fns):
        raise TypeError(f"{type(fns[0]).__name__} has no table of all its outcomes")
    found = [log_table(fn) for fn in fns]
    most = max(each.shape[-1] for each in found)
    return [torch.nn.functional.pad(each, (0, most - each.shape[-1]), value=-torch.inf) for each in found]


def _ratio(before: Tensor, after: Tensor) -> Tensor:
    """``p / q`` from logarithms; an outcome impossible after arrives never, and impossible before as well (0 / 0)."""
    return torch.where(torch.isneginf(after), torch.inf, torch.exp(before - after))


def _below(peak: Tensor, table: Tensor) -> Tensor:
    """The highest that a Gumbel may be whose outcome did not win: rounding must not lift it, so a few ulps lower."""
    ceiling = peak.unsqueeze(-1) - table
    slack = 8.0 * torch.finfo(ceiling.dtype).eps * (peak.abs().unsqueeze(-1) + table.abs() + 1.0)
    return torch.where(torch.isneginf(table), torch.inf, ceiling - slack)


def _key(uniform: Tensor | None) -> Tensor:
    if uniform is None:
        raise TypeError("abducting a discrete value needs `uniform`: many noises give the same value")
    return uniform[..., 0].to(torch.float64)


def _dtype(fn: Any) -> torch.dtype:
    """Dtype of the values."""
    coupling = registry.resolve(fn)[0]
    return coupling.parameter(fn).dtype if isinstance(coupling, Integers) else fn.concentration1.dtype
