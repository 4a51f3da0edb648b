"""The laws of a coupling: what ``push``, ``abduct``, ``fresh`` and the closed forms promise one another.

Nothing is assumed of a coupling but its interface (:class:`pcm.couplings.Coupling`). The reference is the distribution:
its ``sample`` for the law of values, and draws of noise for the closed forms. Statistical laws are seeded, and raise a
false alarm once in a million comparisons.

>>> import pyro.distributions as dist, torch
>>> from pcm.couplings import resolve
>>> two, three = (dist.Poisson(torch.full((4,), rate, dtype=torch.float64)) for rate in (2.0, 3.0))
>>> report = check_coupling(resolve(two)[0], [two, three])
>>> sorted(report.kept)[:3]
['calibration', 'closed forms', 'dtype and shapes']
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pyro.distributions.torch_distribution import ExpandedDistribution
from torch import Tensor

from pcm.couplings import Coupling, couplings_of, resolve, unwrap
from pcm.errors import ArgumentError
from pcm.testing.report import Report, same_law

__all__ = ["check_coupling"]

_ALARM = 1e-6
_COORDINATES = 16
"""Of long noise the first coordinates are compared, and all of them together in the projection."""
_EXTREMES = (1e-300, 2.0**-53, 0.5, 1.0 - 2.0**-53)


def check_coupling(
    coupling: Coupling,
    distributions: Sequence[Any],
    *,
    tolerance: float = 1e-6,
    exact: float = 1e-12,
    draws: int = 4_000,
    seed: int = 0,
) -> Report:
    """Run every law on a coupling.

    Parameters
    ----------
    coupling : Coupling
        Registered or not.
    distributions : sequence of Distribution
        At least two members of its families, of one batch shape ``(unit,)``: each is a world, and units travel from
        each to the next. Choose them far apart, and some units with extreme parameters.
    tolerance : float
        Largest error of a round trip, relative to ``max(1, |value|)``; a discrete value must come back itself.
    exact : float
        Largest error of closed forms against one another, and of ``vmap`` against a loop.
    draws : int
        Draws of noise behind each statistical comparison.
    seed : int

    Returns
    -------
    Report
        What was checked, with the worst found.

    Raises
    ------
    AssertionError
        Some law is broken: the message lists all of them with what was found.
    ArgumentError
        Fewer than two distributions, or batch shapes that differ.

    Examples
    --------
    >>> import pyro.distributions as dist, torch
    >>> from pcm.couplings import resolve
    >>> worlds = [dist.Exponential(torch.tensor([rate, 5.0], dtype=torch.float64)) for rate in (1.0, 3.0)]
    >>> check_coupling(resolve(worlds[0])[0], worlds).skipped["closed forms"]
    'values are continuous'
    """
    fns = [unwrap(fn)[0] for fn in distributions]
    if len(fns) < 2 or any(fn.batch_shape != fns[0].batch_shape or len(fn.batch_shape) != 1 for fn in fns):
        found = ", ".join(str(tuple(fn.batch_shape)) for fn in fns) or "none"
        raise ArgumentError(f"a coupling is checked on two or more distributions of one batch shape (unit,): {found}.")
    coupling = coupling.specialised(fns[0])
    report = Report(f"{type(coupling).__name__} '{coupling.name}', {len(fns)} distributions")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            laws = _Laws(coupling, fns, report, tolerance, exact, draws)
            laws.run()
    finally:
        torch.set_default_dtype(before)
    return report.settle()


class _Laws:
    def __init__(
        self, coupling: Coupling, fns: list[Any], report: Report, tolerance: float, exact: float, draws: int
    ) -> None:
        self.coupling, self.fns, self.report = coupling, fns, report
        self.tolerance, self.exact, self.draws = tolerance, exact, draws
        self.pairs = list(zip(fns, [*fns[1:], fns[0]], strict=True))
        self.point = coupling.invertible or coupling.name == "deterministic"

    def run(self) -> None:
        """Every law, each under its name."""
        laws = {
            "dtype and shapes": self.shapes,
            "round trip": self.round_trip,
            "same law, same value": self.same_law,
            "transport is push of abduct": self.transport,
            "law of fresh noise": self.fresh_law,
            "calibration": self.calibration,
            "rung 2 from rung 3": self.other_law,
            "tails": self.tails,
            "monotone": self.monotone,
            "vmap equals a loop": self.vmap,
            "wrappers": self.wrappers,
            "closed forms": self.closed_forms,
        }
        for name, check in laws.items():
            reason = self.exempt(name)
            if reason:
                self.report.skip(name, reason)
                continue
            with self.report.law(name):
                check()

    def exempt(self, name: str) -> str | None:
        """Why a law does not apply, or None."""
        if self.coupling.rung < 3 and name in ("round trip", "same law, same value", "tails"):
            return "rung 2: the noise does not carry over"
        if name == "monotone" and (self.coupling.name != "monotone" or self.fns[0].event_shape):
            return "not a monotone coupling of single numbers"
        if name == "monotone" and self.coupling.noise_event(self.fns[0]):
            return "the noise is not one number"
        if name == "closed forms" and not self.coupling.discrete:
            return "values are continuous"
        known = couplings_of(type(self.fns[0])).get(self.coupling.name)
        if name == "wrappers" and (known is None or known.specialised(self.fns[0]) is not self.coupling):
            return "the coupling is not registered for the family"
        return None

    # -- laws ----------------------------------------------------------------------------------------------------------

    def shapes(self) -> None:
        for fn in self.fns:
            value = fn.sample()
            uniform = self.uniform(fn)
            noise = self.coupling.abduct(fn, value, uniform)
            self.report.holds(f"noise is float64, found {noise.dtype}", noise.dtype == torch.float64)
            fresh = self.coupling.fresh(fn, uniform)
            pulled, new = (self.coupling.spread(fn, each) for each in (noise, fresh))
            wanted = uniform.shape if pulled is noise else new.shape
            found = tuple(pulled.shape)
            self.report.holds(f"noise has shape {tuple(wanted)}, found {found}", pulled.shape == wanted)
            self.report.holds(f"fresh noise has that shape, found {tuple(fresh.shape)}", fresh.shape == uniform.shape)
            pushed = self.coupling.push(fn, fresh)
            self.report.holds(f"values are {value.dtype}, found {pushed.dtype}", pushed.dtype == value.dtype)
            found = tuple(pushed.shape)
            self.report.holds(f"values have shape {tuple(value.shape)}, found {found}", pushed.shape == value.shape)
            if not self.point:
                try:
                    self.coupling.abduct(fn, value)
                except TypeError as error:
                    self.report.holds(f"the TypeError names `uniform`: {error}", "uniform" in str(error))
                else:
                    raise AssertionError("many noises give a value, but abduct does not ask for `uniform`")

    def round_trip(self) -> None:
        for fn in self.fns:
            value = fn.sample((50,))
            uniform = self.uniform(fn, 50)
            for place, level in enumerate(_EXTREMES):
                uniform[place] = level
            self.close("error", self.coupling.push(fn, self.coupling.abduct(fn, value, uniform)), value)

    def same_law(self) -> None:
        for fn in self.fns:
            value = fn.sample()
            self.close("error", self.coupling.transport(fn, value, fn, self.uniform(fn)), value, self.exact)

    def transport(self) -> None:
        for fn, other in self.pairs:
            value, uniform = fn.sample(), self.uniform(fn)
            moved = self.coupling.transport(fn, value, other, uniform)
            pushed = self.coupling.push(other, self.coupling.abduct(fn, value, uniform))
            self.report.holds(f"transport gives {value.dtype}, found {moved.dtype}", moved.dtype == value.dtype)
            self.close("difference", moved, pushed)

    def fresh_law(self) -> None:
        if self.coupling.name == "deterministic":
            return
        for fn in self.fns:
            pushed = self.coupling.push(fn, self.coupling.fresh(fn, self.uniform(fn, self.draws)))
            self.alike(pushed, fn.sample((self.draws,)), "values of fresh noise and of sample()")

    def calibration(self) -> None:
        """Noise pulled back from values of the law has the law of fresh noise: none of it is made up."""
        if self.coupling.name == "deterministic":
            return
        for fn in self.fns:
            value = fn.sample((self.draws,))
            pulled = self.coupling.abduct(fn, value, self.uniform(fn, self.draws))
            fresh = self.coupling.fresh(fn, self.uniform(fn, self.draws))
            first, second = (self.coupling.spread(fn, each) for each in (pulled, fresh))
            self.alike(first, second, "pulled and fresh noise")

    def other_law(self) -> None:
        if self.coupling.name == "deterministic":
            return
        for fn, other in self.pairs:
            value = fn.sample((self.draws,))
            moved = self.coupling.transport(fn, value, other, self.uniform(fn, self.draws))
            self.alike(moved, other.sample((self.draws,)), "values that travelled and values of the other law")

    def tails(self) -> None:
        for fn in self.fns:
            shape = self.uniform(fn).shape
            for level in _EXTREMES:
                value = self.coupling.push(fn, self.coupling.fresh(fn, torch.full(shape, level)))
                numbers = value.double()
                self.report.holds(f"push gives NaN at noise of uniform {level:g}", not bool(numbers.isnan().any()))
                usable = torch.isfinite(numbers) & (numbers.abs() < 1e300)
                uniform = torch.full(shape, level if not self.point else 0.5)
                back = self.coupling.push(fn, self.coupling.abduct(fn, value, uniform))
                self.close(f"error at uniform {level:g}", torch.where(usable, back, value), value)

    def monotone(self) -> None:
        grid = torch.cat(
            [torch.tensor([1e-300, 1e-30]), torch.linspace(1e-9, 1 - 1e-9, 500), torch.tensor([1 - 2**-53])]
        )
        for fn in self.fns:
            noise = self.coupling.fresh(fn, grid[:, None].expand(-1, *fn.batch_shape))
            value = self.coupling.push(fn, noise).double()
            slack = 1e-12 * value.abs().clamp(min=1.0)[:-1]
            rise = value[1:] - value[:-1]
            one_way = (rise >= -slack).all(0) | (rise <= slack).all(0)
            wrong = int((~one_way).sum())
            self.report.holds(f"values of {wrong} units rise and fall where the noise rises", wrong == 0)

    def vmap(self) -> None:
        for fn, other in self.pairs:
            values, uniforms = fn.sample((3,)), self.uniform(fn, 3)

            def move(value: Tensor, uniform: Tensor, fn: Any = fn, other: Any = other) -> Tensor:
                noise = self.coupling.abduct(fn, value, uniform)
                return self.coupling.push(other, noise) + self.coupling.transport(fn, value, other, uniform)

            mapped = torch.func.vmap(move)(values, uniforms)
            looped = torch.stack([move(*each) for each in zip(values, uniforms, strict=True)])
            self.close("difference", mapped, looped, self.exact)

    def wrappers(self) -> None:
        for fn in self.fns:
            value, uniform = fn.sample(), self.uniform(fn)
            expected = self.coupling.abduct(fn, value, uniform)
            for wrapped in (torch.distributions.Independent(fn, 1), _expanded(fn, fn.batch_shape)):
                found, bare = resolve(wrapped, self.coupling.name)
                self.report.holds(f"{type(wrapped).__name__} has another coupling", found is self.coupling)
                self.close("difference", found.abduct(bare, value, uniform), expected, self.exact)
            if callable(getattr(fn, "mask", None)):
                bare = resolve(fn.mask(False).to_event(1), self.coupling.name)[1]
                self.report.holds("mask and to_event hide the distribution", bare is fn)
            wide = _expanded(fn, (2, *fn.batch_shape))
            bare = resolve(wide, self.coupling.name)[1]
            twice = self.coupling.push(bare, torch.stack([expected, expected]))
            self.close("difference", twice, self.coupling.push(fn, expected).expand(twice.shape), self.exact)

    def closed_forms(self) -> None:
        noisy = bool(self.coupling.noise_event(self.fns[0]))
        for fn, other in self.pairs:
            value, count = fn.sample(), self.draws
            uniform = self.uniform(fn, count)
            slack = 5.5 * 0.5 / math.sqrt(count)
            if not noisy:
                # one number of noise: a grid, whose error is known
                grid = (torch.arange(count) + 0.5) / count
                uniform, slack = grid.reshape(-1, *[1] * (uniform.dim() - 1)).expand(uniform.shape), 1.5 / count
            moved = self.coupling.push(other, self.coupling.abduct(fn, value.expand(count, *value.shape), uniform))
            self.table(fn, value, other, moved.double(), slack)
            spread = (moved.double().amax(0) - moved.double().amin(0) + 1.0).max().item()
            expected = self.coupling.expectation(fn, value, other)
            error = (expected - moved.double().mean(0)).abs().max().item()
            self.report.within("error of the expectation, in ranges", error / spread, 2.0 * slack)

    def table(self, fn: Any, value: Tensor, other: Any, moved: Tensor, slack: float) -> None:
        """Transition and probability against draws of noise, and summed over the factual law."""
        kinds = self.coupling.cardinality(other)
        one_hot = kinds is not None and tuple(fn.event_shape) == (kinds,)
        if kinds is not None:
            rows = self.coupling.transition(fn, value, other)
            self.report.within("error of the rows' sums", (rows.sum(-1) - 1).abs().max().item(), self.exact)
        for k in range(min(kinds or 6, 50)):
            outcome = torch.eye(kinds)[k] if one_hot and kinds else torch.tensor(float(k))
            chance = self.coupling.probability(fn, value, other, outcome)
            seen = moved[..., k] if one_hot else (moved == k).double()
            self.report.within("error of a probability", (chance - seen.mean(0)).abs().max().item(), slack)
            if kinds is not None:
                apart = (chance - self.coupling.transition(fn, value, other)[..., k]).abs().max().item()
                self.report.within("transition against probability", apart, self.exact)

    # -- tools ---------------------------------------------------------------------------------------------------------

    def uniform(self, fn: Any, *lead: int) -> Tensor:
        shape = (*lead, *fn.batch_shape, *self.coupling.noise_event(fn))
        return torch.rand(shape, dtype=torch.float64).clamp(1e-16, 1 - 2.0**-53)

    def close(self, what: str, found: Tensor, expected: Tensor, limit: float | None = None) -> None:
        if self.coupling.discrete and found.dtype == expected.dtype and limit is None:
            wrong = int((found != expected).sum())
            self.report.holds(f"{wrong} of {expected.numel()} discrete values came back as others", wrong == 0)
            return
        found, expected = found.double(), expected.double()
        apart = torch.where(found == expected, 0.0, (found - expected).abs() / expected.abs().clamp(min=1.0))
        self.report.within(what, float("nan") if apart.isnan().any() else apart.max().item(), limit or self.tolerance)

    def alike(self, first: Tensor, second: Tensor, what: str) -> None:
        """Two samples (draw, …) of one law, along coordinates of the first units and one random projection."""
        first, second = (each.double().reshape(self.draws, self.fns[0].batch_shape[0], -1) for each in (first, second))
        for unit in range(min(first.shape[1], 3)):
            a, b = first[:, unit].numpy(), second[:, unit].numpy()
            columns = [(a[:, k], b[:, k]) for k in range(min(a.shape[1], _COORDINATES))]
            if a.shape[1] > 1:
                angles = np.random.default_rng(0).normal(size=a.shape[1])
                columns.append((a @ angles, b @ angles))
            for one, two in columns:
                pvalue = same_law(one, two)
                self.report.holds(f"{what} differ (unit {unit}, p = {pvalue:.1g})", pvalue > _ALARM)


def _expanded(fn: Any, shape: Any) -> Any:
    """``fn.expand(shape)``, also where the distribution's own fails (Pyro's ZeroInflated after a sample)."""
    try:
        return fn.expand(shape)
    except (ValueError, NotImplementedError):
        return ExpandedDistribution(fn, shape)
