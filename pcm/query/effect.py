"""A number with its uncertainty: the draws of an effect, what they average, and what they rest on.

>>> import numpy as np
>>> effect = Effect(np.arange(0.0, 2.125, 0.125), label="ATE of qsmk on weight")
>>> effect
ATE of qsmk on weight: 1 [0.05, 1.95] (95 %, 17 draws)
>>> float(effect), effect.interval(0.5)
(1.0, (0.5, 1.5))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcm.arguments import check_probability
from pcm.errors import ArgumentError, QueryError
from pcm.notebook import Shown
from pcm.query.account import Account

if TYPE_CHECKING:
    from pcm.query.model import Model

__all__ = ["Asked", "Effect"]


@dataclass(frozen=True)
class Asked:
    """The question behind an effect: the model, treatment and outcome, and the options."""

    model: Model
    treatment: str
    outcome: str
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Effect(Shown):
    """Draws of an effect.

    Attributes
    ----------
    draws : numpy.ndarray, shape (draw,) or (draw, unit)
        One draw where nothing is uncertain.
    label : str
    account : Account
    index : pandas.Index or None
        Names of the units (or groups) of an effect with a value for each.
    exact_mean : numpy.ndarray or None
        The mean where it is known better than by averaging the draws.
    standard_error : float or None
        Monte-Carlo standard error of the mean from a finite number of fresh units; 0 where it is exact, by enumeration
        of every joint value of finite variables.
    by_unit : callable or None
        Makes the effect unit by unit, for :attr:`units`.
    rows : str
        What has a value each: ``"units"`` or ``"groups"``.
    diagnostics : pandas.DataFrame or None
        How well what given units lack was inferred, a row a unit, as :attr:`pcm.Counterfactual.diagnostics`; None where
        none lacks anything, and of effects whose average needs no posterior of it.
    asked : Asked or None
        What :func:`pcm.ate` was asked, by which :func:`pcm.sensitivity` goes on; a copy from a file does not know it.

    Examples
    --------
    >>> Effect(np.array([1.0, 2.0, 3.0])).mean
    2.0
    """

    draws: np.ndarray
    label: str = "effect"
    account: Account = field(default_factory=lambda: Account(rung=2))
    index: pd.Index | None = None
    exact_mean: np.ndarray | None = None
    standard_error: float | None = None
    rows: str = "units"
    by_unit: Callable[[], Effect] | None = field(default=None, repr=False)
    diagnostics: pd.DataFrame | None = field(default=None, repr=False)
    asked: Asked | None = field(default=None, repr=False, compare=False)

    @cached_property
    def units(self) -> Effect:
        """The effect unit by unit, of which this one is the average: draws ``(draw, unit)``, units by their names.

        Of given units, each one's expected effect given what was seen of it; of fresh ones, what is expected once its
        variables before the outcome are drawn. Draws are of the parameters and of what is missing.

        Raises
        ------
        QueryError
            The effect is no average over units.

        Examples
        --------
        >>> import pyro, pyro.distributions as dist, pcm
        >>> def trial():
        ...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...     t = pyro.sample("t", dist.Bernoulli(0.5))
        ...     pyro.sample("y", dist.Normal(z * t, 1.0))
        >>> people = {"z": [1.0, -2.0], "t": [0.0, 1.0], "y": [0.3, -1.5]}
        >>> pcm.ate(pcm.SCM(trial), "t", "y", data=people).units.mean.round(9).tolist()
        [1.0, -2.0]
        """
        if self.draws.ndim > 1 and self.by_unit is None:
            return self
        if self.by_unit is None:
            raise QueryError(f"{self.label} is no average over units.")
        return self.by_unit()

    @property
    def mean(self) -> Any:
        """Posterior mean: a float, or one a unit."""
        found = self.draws.mean(0) if self.exact_mean is None else self.exact_mean
        return float(found) if np.ndim(found) == 0 else found

    @property
    def sd(self) -> Any:
        """Standard deviation over the draws."""
        found = self.draws.std(0, ddof=1) if len(self.draws) > 1 else np.zeros(self.draws.shape[1:])
        return float(found) if np.ndim(found) == 0 else found

    def interval(self, prob: float = 0.95) -> Any:
        """Central interval over the draws: ``(low, high)``, or an array ``(unit, 2)``.

        Of one draw with a Monte-Carlo standard error, that error's: a normal's about the mean.

        >>> low, high = Effect(np.array([2.0]), standard_error=0.1).interval(0.95)
        >>> round(low, 3), round(high, 3)
        (1.804, 2.196)
        """
        check_probability(prob)
        if self.draws.shape == (1,) and self.standard_error:
            reach = NormalDist().inv_cdf((1 + prob) / 2) * self.standard_error
            return self.mean - reach, self.mean + reach
        low, high = np.quantile(self.draws, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
        return (float(low), float(high)) if np.ndim(low) == 0 else np.stack([low, high], -1)

    def plot(self, prob: float = 0.95, reference: float | None = None) -> Any:
        """Figure of the effect: the density of its draws, or a row a unit with its interval."""
        from pcm.figures import density, interval_rows

        if reference is not None and (isinstance(reference, bool) or not isinstance(reference, Real)):
            raise ArgumentError(f"reference={reference!r}: a number to compare with is needed.")
        if self.draws.ndim == 1 and len(self.draws) > 1:
            return density(self.draws, reference=reference, xlabel=self.label, prob=prob)
        if self.draws.ndim > 2:
            raise QueryError(f"{self.label} has several values a unit; plot takes one.")
        table = self.to_dataframe(prob)
        return interval_rows(
            table.index, table["mean"], table["low"], table["high"], reference=reference, xlabel=self.label
        )

    def to_dataframe(self, prob: float = 0.95) -> pd.DataFrame:
        """Mean and interval, a row a unit (one row for an average)."""
        if self.draws.ndim == 1:
            low, high = self.interval(prob)
            return pd.DataFrame({"mean": [self.mean], "low": [low], "high": [high]}, index=[self.label])
        bounds = self.interval(prob)
        if self.draws.ndim > 2:
            places = [",".join(map(str, place)) for place in np.ndindex(self.draws.shape[2:])]
            parts = {"mean": self.mean, "low": bounds[..., 0], "high": bounds[..., 1]}
            flat = {key: np.asarray(part).reshape(len(part), -1) for key, part in parts.items()}
            return pd.DataFrame(
                {f"{key}[{place}]": part[:, at] for at, place in enumerate(places) for key, part in flat.items()},
                index=self.index,
            )
        return pd.DataFrame({"mean": self.mean, "low": bounds[:, 0], "high": bounds[:, 1]}, index=self.index)

    def __float__(self) -> float:
        if self.draws.ndim > 1:
            raise QueryError(f"{self.label} has one value for each of {self.draws.shape[1]} {self.rows}; take .mean.")
        return float(self.mean)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.mean, dtype=dtype)

    def __len__(self) -> int:
        if self.draws.ndim == 1:
            raise TypeError(f"{self.label} is one number.")
        return self.draws.shape[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "by_unit": None, "asked": None}

    def __repr__(self) -> str:
        if self.draws.ndim > 1:
            means = np.asarray(self.mean)
            spread = f"mean {means.mean():.4g}, from {means.min():.4g} to {means.max():.4g}"
            return f"{self.label}: {means.shape[0]} {self.rows}, {spread}"
        low, high = self.interval(0.95)
        if len(self.draws) == 1:
            error = f" ± {self.standard_error:.2g} (Monte-Carlo s.e.)" if self.standard_error else ""
            error = " (exact)" if self.standard_error == 0 else error
            return f"{self.label}: {self.mean:.4g}{error}"
        return f"{self.label}: {self.mean:.4g} [{low:.3g}, {high:.3g}] (95 %, {len(self.draws)} draws)"
